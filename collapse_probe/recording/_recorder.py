"""The recorder: what is heard in training becomes records in the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..journal import JournalWriter
from ..journal.vocabulary import Role, Similarity
from ..measures import Sample
from ._cadence import Cadence, Sparing
from ._containment import Containment
from ._exchange import processes
from ._forces import TermForces
from ._heard import Heard, Step
from ._layout import Layout
from ._naming import Naming
from ._outbox import Outbox
from ._ranks import Ranks
from ._reader import StepReader
from ._records import RANKS, Records
from ._stacked import Stacking
from ._step_terms import StepTerms
from ._streams import StreamCoverage
from ._wishes import Wishes


class Recorder(Records):
    """Turns what is heard in training into a journal; knows no model, no trainer and no file but its journal.

    Steps count from 1. What is handed in before :meth:`step` belongs to the step in progress. On a training step
    nothing waits for the device: numbers are gathered there and written some steps later.

    Args:
        journal: Where records go.
        cadence: Which steps are due.
        similarity: How queries are compared with documents.
        wishes: What is read.
        containment: What runs code that may fail; a new one that journals failures if None.
        name: The model's, by which the processes of a training that has several find each other's readings; None where
            this one is read alone.
        first: Whether this process is the one that writes.
        dimensions: Numbers of first columns of the embeddings that are read by themselves, too.

    Attributes:
        done: Optimiser steps done.
        next_due: The next step whose streams are read.
        containment: What contains failures.
        first: Whether this process writes; others read what goes to the first one alone.
        dimensions: Numbers of first columns that are read by themselves, the most first.
        ranks: What goes between the processes of a training; None where it is read alone.
        owed: Streams that were silent on the latest due step: they are read when they are next heard.
        epoch: Epoch of the step in progress, from 1; None in a run without epochs.
    """

    def __init__(
        self,
        journal: JournalWriter,
        *,
        cadence: Cadence | None = None,
        similarity: Similarity = "cosine",
        wishes: Wishes | None = None,
        containment: Containment | None = None,
        name: str | None = None,
        first: bool = True,
        dimensions: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.journal = journal
        self.cadence = cadence or Cadence()
        self.similarity: Similarity = similarity
        self.wishes = wishes or Wishes()
        self.containment = containment or Containment(self._journal_error)
        self._sparing = Sparing(self.cadence, lambda: self.containment.cost)
        self.done = 0
        self.next_due = 1
        self.owed: set[str] = set()
        self.epoch: int | None = None
        self._naming = Naming()
        self._reader = StepReader(self._naming, self.wishes, similarity, first=first)
        self._forces = TermForces(self._say_no_force)
        self._no_force: set[str] = set()
        self._step = self._new_step()
        self._outbox = Outbox()
        self._terms = StepTerms()
        self._closed = False
        self.first = first
        self.dimensions = tuple(sorted(dimensions, reverse=True))
        self.ranks = None if name is None else Ranks(name, first, self._say_of_ranks)

    # What is handed in

    @property
    def current(self) -> int:
        """The step in progress."""
        return self.done + 1

    @property
    def layout(self) -> Layout:
        """Which document is whose, where there are more of them than queries."""
        return self._reader.layout

    @property
    def due(self) -> bool:
        """Whether the streams of the step in progress are read."""
        return self.next_due <= self.done + 1

    def wants(self, stream: str) -> bool:
        """Return whether a stream, or one of a tap's, is read in the step in progress."""
        if self.next_due <= self.done + 1 or stream in self.wishes.every_step:
            return True
        return bool(self.owed) and not self.owed.isdisjoint(self.streams_of(stream))

    def declare(self, stream: str, **about: Any) -> StreamCoverage:
        """Make a stream known, or more known: its role, where it comes from, by which rule."""
        return self._naming.declare(stream, **about)

    def observe(
        self,
        stream: str,
        tensor: Tensor,
        *,
        role: Role | None = None,
        by_hand: bool = True,
        confirmed_by: Tensor | None = None,
        gradient_as: Callable[[Tensor], Tensor] | None = None,
    ) -> Heard | None:
        """Hear a stream of the step in progress: hooks and users come through the same door.

        Args:
            stream: Its name.
            tensor: Its value, ``[N, D]``, or a gate's of any shape; copied, so that what happens to it later is not
                read.
            role: Its role.
            by_hand: Given by the user; False waits for a backward to come through it.
            confirmed_by: What a backward has to come through, where the tensor itself is not in the graph: the output
                of the call whose input, or change, it is.
            gradient_as: Makes its gradient of that of ``confirmed_by``.
        """
        if not self._naming.is_split(stream):
            self.declare(stream, role=role)
        if not self.wants(stream):
            return None
        return self._step.hear(
            stream,
            tensor,
            by_hand=by_hand,
            confirmed_by=confirmed_by,
            with_gradient=self._with_gradient,
            with_graph=self.due and not self._step.forces_done,
            gradient_as=gradient_as,
        )

    @property
    def _with_gradient(self) -> bool:
        return self.next_due <= self.done + 1 or self._reader.layout.asks or bool(self.owed)

    @property
    def heard(self) -> list[Heard]:
        """The calls of the step in progress, to be chosen among."""
        return self._step.calls

    def hear(
        self,
        key: str,
        tensor: Tensor,
        *,
        confirmed_by: Tensor | None = None,
        gradient_as: Callable[[Tensor], Tensor] | None = None,
    ) -> Heard:
        """Hear something that may be a stream, if a backward comes through it, or through what it is a part of."""
        about = {"confirmed_by": confirmed_by, "gradient_as": gradient_as}
        return self._step.hear(key, tensor, with_gradient=self._with_gradient, **about)

    def repeat(self, stream: str, shape: torch.Size) -> None:
        """Hear that a call without a graph was computed again inside of a backward."""
        self._step.repeat(stream, shape)

    @property
    def takes_forces(self) -> bool:
        """Whether a gradient of single terms is being taken: no backward of the training."""
        return self._forces.active

    def forces(self, terms: Mapping[str, Any], *, weights: Mapping[str, Any] | None = None) -> None:
        """Take the gradients of several terms at the streams, once in a step that is due; waits for no device.

        Args:
            terms: Name to scalar, with its graph; before its weight. What has no graph has no force.
            weights: Weights of the terms; 1 for those that have none.
        """
        if self.due and not self._step.forces_done:
            self.containment.run("forces", self._take_forces, terms, weights or {})

    def _take_forces(self, terms: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
        step = self._step
        about = {"role_of": self._naming.role_of_force, "after_backward": step.after_backward}
        if self._forces.take_from(step.calls, terms, weights, **about):
            step.forces_done = True
            step.release()

    def _say_no_force(self, why: str) -> None:
        if why not in self._no_force:
            self._no_force.add(why)
            self.event("note", why, subject="forces")

    def _new_step(self) -> Step:
        return Step(deaf=lambda: self._forces.active, contained=self.containment.run)

    def terms(
        self,
        terms: Mapping[str, Tensor | float],
        *,
        weights: Mapping[str, Tensor | float] | None = None,
        total: Any = None,
        whole: bool = True,
    ) -> None:
        """Hear what adds up to the loss, once a micro-batch; each is averaged over the micro-batches of a step.

        Args:
            terms: Name to scalar, before its weight.
            weights: Weights of the terms; 1 for those that have none.
            total: The loss; the sum of the weighted terms if None. What the terms leave of it is ``loss/rest``.
            whole: Whether the terms are all that there are and their weights are known; without it there is no total.
        """
        self._terms.add(terms, weights, total, whole=whole)

    def scalars(self, values: Mapping[str, Tensor | float]) -> None:
        """Hear scalars of the step in progress under their full names, such as ``gradient/norm``."""
        self._terms.set(values)

    def rates(self, values: Mapping[str, float]) -> None:
        """Hear learning rates and weight decays under their full names; those that changed are written."""
        self._terms.set_rates(values)

    def streams_of(self, key: str) -> tuple[str, ...]:
        """Return the streams that a tap's calls are."""
        return self._naming.of(key)

    def split(
        self, key: str, streams: Mapping[str, tuple[int, bool]], *, roles: Mapping[str, Role | None] | None = None
    ) -> None:
        """Make one tap's calls of a micro-batch several streams.

        Args:
            key: The tap.
            streams: Stream to the call that it is, from 0, and whether it is the calls after that one, too.
            roles: Stream to its role, from when it is first heard: not every batch has further documents.
        """
        self._naming.split(key, streams, roles)

    def unstack(self, key: str, stacking: Stacking, sides: Mapping[str, Role]) -> None:
        """Read one tap's matrix as the sides that it holds; one that cannot be divided into them is left out.

        Args:
            key: The tap.
            stacking: How it holds them.
            sides: The streams, in their order, with their roles.
        """
        self._naming.unstack(key, stacking, sides)

    def go_on(self, rates: Mapping[str, float]) -> None:
        """Go on with a run that was stopped after :attr:`done` steps, with the learning rates that it has."""
        self._terms.rates = dict(rates)
        self.next_due = self.cadence.next(self.done)

    def forget(self) -> None:
        """Forget what was heard of the step in progress, as where nobody ends it."""
        self._step.close()
        self._step = self._new_step()
        self._terms.terms = {}

    def rewind(self, step: int) -> None:
        """Go back to where a training begins again, after ``step`` steps; the step in progress is forgotten."""
        self.flush()
        self.done = step
        self._step = self._new_step()
        self._terms.clear()
        self.next_due = self.cadence.next(step)
        self.event("resumed", f"the trainer began again after {step} steps", step=step)

    def dataset(self, name: str | None) -> None:
        """Hear which data set the batch in progress is of."""
        if name is not None:
            self._terms.datasets.add(name)

    def backward(self) -> None:
        """Hear that a backward came: what is called from here on is another micro-batch."""
        self._step.backward()

    # What ends something

    def step(self) -> None:
        """End the step in progress: one optimiser step is done. Waits for no device."""
        self.done += 1
        due = self.next_due <= self.done
        shares = due and self.ranks is not None and not self.containment.off(RANKS) and self.ranks.connect()
        read = self.containment.run("streams", self._read_streams, shares) if self._step.calls else None
        self._owe(read or set())
        self._step.close()
        self._step = self._new_step()
        if self._terms:
            self.containment.run("terms", self._write_terms)
        if shares and self.ranks is not None:
            norm = self._terms.scalars.get("gradient/norm")
            about = {
                "step": self.done,
                "dataset": self._terms.dataset,
                "norm": norm if isinstance(norm, Tensor) else None,
            }
            how = {"wanted": self.wishes.batch, "write": self._writer(), "contain": self._of_ranks}
            self._of_ranks(self.ranks.share, self._outbox, **about, **how)
        self._terms.clear()
        if due:
            self._tell_time()
            self.next_due = self._next_due()
        self.containment.run("writing", self._outbox.post)
        if self.ranks is not None and self.ranks.waiting:
            self._of_ranks(self.ranks.collect)

    def _next_due(self) -> int:
        if processes() > 1:
            return self.cadence.next(self.done)
        before, found = self._sparing.times, self._sparing.next(self.done)
        if before == 1 < self._sparing.times:
            message = f"reading takes more than half of the time, so it is read more seldom from step {self.done} on"
            self.event("note", message, subject="cadence")
        return found

    def window(self, *, epoch: int | None = None) -> None:
        """End a window of steps: write its summaries, histograms and coverage. Waits for the device.

        Args:
            epoch: The epoch that ended, from 1; None where windows are of steps.
        """
        self.flush()
        self.containment.run("window", self._write_window, epoch)
        self.containment.run("coverage", self.cover, epoch=epoch)

    def close(self, status: str = "completed", message: str = "") -> None:
        """Write the open window and the end record, and close the journal; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self.window(epoch=self.epoch)
        if self.ranks is not None:
            self._of_ranks(self.ranks.close, failed=status != "completed")
        end = {"step": self.done, "epoch": self.epoch, "message": message, "cost": self.containment.cost}
        self._step.release()
        self.containment.run("end", self.journal.end, status, **end)
        self.containment.run("closing", self.journal.close)

    # How it is read

    def _owe(self, heard: set[str]) -> None:
        """Note which streams are to be read as soon as they are heard: due steps may all be those of other parts."""
        if self.next_due <= self.done:
            self.owed.update(name for name, stream in self.streams.items() if stream.steps)
        self.owed -= heard

    def _read_streams(self, shares: bool) -> set[str]:
        """Read what was heard, and return which streams that was.

        Args:
            shares: Whether what follows from all processes' rows is read of them together.
        """
        calls = self._naming.named(self._step.training(self._naming.sides, self._naming.needed))
        due = None if self.next_due <= self.done else self.owed
        about = {"ranks": self.ranks if shares else None, "early": self.done <= self.cadence.dense}
        read = self._reader.read(calls, due=due, **about)
        for shape, values in read.groups:
            self._outbox.put(values, self._writer(**shape))
        if self.first and self.dimensions and read.samples:
            self.containment.run("dimensions", self._read_cuts, read.samples)
        return read.heard

    def _read_cuts(self, samples: Sequence[Sample]) -> None:
        """Read the first columns of each micro-batch's embeddings."""
        for shape, values in self._reader.read_cuts(samples, self.dimensions):
            self._outbox.put(values, self._writer(**shape))
