"""The recorder: what is heard in training becomes records in the journal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..journal import (
    Artifact,
    Clock,
    Evaluation,
    Event,
    Histogram,
    JournalWriter,
    Rankings,
    Readings,
    Summary,
    Terms,
    now,
)
from ..journal.vocabulary import Role, Similarity, split_reading
from ..measures import Sample
from ._cadence import Cadence
from ._containment import Containment
from ._forces import TermForces
from ._heard import Heard, Step
from ._layout import Layout
from ._naming import Naming
from ._outbox import Outbox, floats
from ._rankings import Texts, keep_evaluation
from ._ranks import Ranks
from ._reader import StepReader
from ._reference_records import negatives_record, reference_records
from ._stacked import Stacking
from ._step_terms import StepTerms
from ._streams import StreamCoverage
from ._wishes import Wishes

_CLOCK = 1.0
"""Seconds between two records of the time, at least."""

_RANKS = "processes"


class Recorder:
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
        first_bad_step: First step with a loss that is not finite, as far as losses have been written.
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
        self.journal = journal
        self.cadence = cadence or Cadence()
        self.similarity: Similarity = similarity
        self.wishes = wishes or Wishes()
        self.containment = containment or Containment(self._journal_error)
        self.done = 0
        self.next_due = 1
        self.owed: set[str] = set()
        self.epoch: int | None = None
        self.first_bad_step: int | None = None
        self._naming = Naming()
        self._reader = StepReader(self._naming, self.wishes, similarity, first=first)
        self._forces = TermForces(self._say_no_force)
        self._no_force: set[str] = set()
        self._step = self._new_step()
        self._outbox = Outbox()
        self._terms = StepTerms()
        self._not_finite: set[str] = set()
        self._covered: dict[str, tuple[int, str]] = {}
        self._closed = False
        self._told_time = -math.inf
        self.first = first
        self.dimensions = tuple(sorted(dimensions, reverse=True))
        self.ranks = None if name is None else Ranks(name, first, self._say_of_ranks)

    # What is handed in

    @property
    def current(self) -> int:
        """The step in progress."""
        return self.done + 1

    @property
    def streams(self) -> dict[str, StreamCoverage]:
        """Name to what is known of a stream."""
        return self._naming.streams

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
        shares = due and self.ranks is not None and not self.containment.off(_RANKS) and self.ranks.connect()
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
            self.next_due = self.cadence.next(self.done)
        self.containment.run("writing", self._outbox.post)
        if self.ranks is not None and self.ranks.waiting:
            self._of_ranks(self.ranks.collect)

    def _tell_time(self) -> None:
        moment = time.monotonic()
        if moment - self._told_time >= _CLOCK:
            self._told_time = moment
            self.journal.write(Clock(step=self.done, time=now()))

    def _of_ranks(self, function: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Run what several processes do together; where it fails this one goes on alone."""
        self.containment.run(_RANKS, function, *args, **kwargs)
        if self.ranks is not None and self.containment.off(_RANKS):
            self.containment.run("leaving the processes", self.ranks.leave)

    def _say_of_ranks(self, name: str, message: str) -> None:
        self.event(name, message, subject=_RANKS)

    def window(self, *, epoch: int | None = None) -> None:
        """End a window of steps: write its summaries, histograms and coverage. Waits for the device.

        Args:
            epoch: The epoch that ended, from 1; None where windows are of steps.
        """
        self.flush()
        self.containment.run("window", self._write_window, epoch)
        self.containment.run("coverage", self.cover, epoch=epoch)

    def cover(self, *, epoch: int | None = None) -> None:
        """Write a coverage record of every stream that is known: once a step, and once more if it says why anew."""
        for name, stream in self.streams.items():
            said = (self.done, "" if stream.steps else stream.why)
            if self._covered.get(name) == said:
                continue
            self._covered[name] = said
            self.journal.write(stream.record(step=self.done, epoch=self.epoch if epoch is None else epoch))

    def flush(self) -> None:
        """Write what lies on the device. Waits for it."""
        self.containment.run("writing", self._outbox.flush)

    def reference(
        self,
        sample: Sample,
        *,
        raw: bool = False,
        part: bool = False,
        apart: bool = False,
        step: int | None = None,
        epoch: int | None = None,
    ) -> None:
        """Read reference pairs, in evaluation mode. Waits for the device.

        Args:
            sample: What the model made of them.
            raw: Through the encoder before any module of the user's.
            part: A part of the pairs, between full readings: spectra are left out.
            apart: Pairs that the loss moves apart: the negatives of the reference pairs.
            step: Optimiser steps done; those done now if None.
            epoch: Epochs done.
        """
        on = "raw" if raw else "reference"
        where: dict[str, Any] = {"on": on, "step": self.done if step is None else step}
        where["epoch"] = self.epoch if epoch is None else epoch
        if apart:
            self.journal.write(negatives_record(sample, where=where))
            return
        for record in reference_records(sample, self.wishes, part=part, where=where, dimensions=self.dimensions):
            self.journal.write(record)

    def evaluation(
        self,
        collection: str,
        metrics: Mapping[str, float],
        *,
        step: int | None = None,
        variant: str = "model",
        per_query: Mapping[str, Mapping[str, float]] | None = None,
        domain: str | None = None,
        ranked: tuple[Rankings, Texts] | None = None,
        **about: Any,
    ) -> None:
        """Write retrieval scores.

        Args:
            collection: What was searched.
            metrics: Metric to its mean over queries.
            step: Optimiser steps done; those done now if None.
            variant: What was scored; ``raw`` is the encoder before any module of the user's.
            per_query: Metric to query id to value.
            domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
            ranked: What was ranked, with the texts that it was made of.
            about: Further fields of the record.
        """
        step = self.done if step is None else step
        file = None
        if per_query:
            ids = list(next(iter(per_query.values())))
            content = {metric: [float(values[one]) for one in ids] for metric, values in per_query.items()}
            file = self.journal.attach(f"{collection}-step-{step}-{variant}", {"query_ids": ids, **content})
            about.setdefault("n_queries", len(ids))
            if ranked is not None:
                means = {metric: values for metric, values in per_query.items() if metric in metrics}
                kept = (self.journal, file, collection, variant, *ranked, means or per_query)
                self.containment.run("rankings", keep_evaluation, *kept)
        self.journal.write(
            Evaluation(
                collection=collection,
                step=step,
                epoch=self.epoch,
                metrics={name: float(value) for name, value in metrics.items()},
                variant=variant,
                domain=domain,
                per_query=file,
                time=now(),
                **about,
            )
        )

    def event(self, name: str, message: str = "", *, subject: str = "", step: int | None = None) -> None:
        """Write that something happened."""
        step = self.done if step is None else step
        self.journal.write(Event(name=name, message=message, subject=subject, step=step, epoch=self.epoch))

    def artifact(self, name: str, path: str) -> None:
        """Write that a file or folder of the run is complete."""
        self.journal.write(Artifact(name=name, path=path, step=self.done, epoch=self.epoch))

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

    # How it is written

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
        calls = self._naming.named(self._step.training(self._naming.sides))
        due = None if self.next_due <= self.done else self.owed
        read = self._reader.read(calls, due=due, ranks=self.ranks if shares else None)
        for shape, values in read.groups:
            self._outbox.put(values, self._writer(**shape))
        if self.first and self.dimensions and read.samples:
            self.containment.run("dimensions", self._read_cuts, read.samples)
        return read.heard

    def _read_cuts(self, samples: Sequence[Sample]) -> None:
        """Read the first columns of each micro-batch's embeddings."""
        for shape, values in self._reader.read_cuts(samples, self.dimensions):
            self._outbox.put(values, self._writer(**shape))

    def _writer(self, **shape: Any) -> Callable[..., None]:
        where: dict[str, Any] = {"step": self.done, "epoch": self.epoch, "dataset": self._terms.dataset, **shape}

        def write(values: dict[str, float], **known: Any) -> None:
            for name, value in values.items():
                if name.endswith("/finite_share"):
                    stream = split_reading(name)[0]
                    if stream in self.streams:
                        self.streams[stream].finite.append(value)
                    if value < 1:
                        self._say_not_finite(stream, where["step"])
            self.journal.write(Readings(values=values, **where, **known))

        return write

    def _write_terms(self) -> None:
        where: dict[str, Any] = {"step": self.done, "epoch": self.epoch, "dataset": self._terms.dataset}
        values = self._terms.values()
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        plain = {name: float(value) for name, value in values.items() if not isinstance(value, Tensor)}
        if self.epoch is not None:
            kept = {name: value for name, value in tensors.items() if name.startswith(("loss/", "grad"))}
            self._reader.summary.update(kept)

        def write(found: dict[str, float]) -> None:
            known = {**found, **plain}
            known = {name: known[name] for name in values}
            if self.ranks is None or not self.ranks.active:
                tell(known)
            else:
                look(known)  # what the others' terms make of it comes later
                self.ranks.hear_terms(where["step"], where["dataset"], known, tell)

        def look(known: dict[str, float]) -> None:
            for name, value in known.items():
                if not math.isfinite(value) and not name.startswith("monitor/"):
                    self._say_not_finite(name, where["step"])

        def tell(known: dict[str, float]) -> None:
            look(known)
            self.journal.write(Terms(values=known, **where))

        if tensors:
            self._outbox.put(tensors, write)
        else:
            write({})

    def _write_window(self, epoch: int | None) -> None:
        where: dict[str, Any] = {"step": self.done, "epoch": self.epoch if epoch is None else epoch}
        summary, histograms = self._reader.take_window()
        parts = summary.finish()
        if parts:
            flat = {f"{name}\n{part}": value for name, found in parts.items() for part, value in found.items()}
            values: dict[str, dict[str, float]] = {}
            for name, value in floats(flat).items():
                reading, part = name.split("\n")
                values.setdefault(reading, {})[part] = value
            self.journal.write(Summary(values=values, n=summary.rows or None, **where))

        def write(stream: str, counts: Tensor, rows: int) -> None:
            histogram, _, dimension = histograms[stream]
            content = histogram.as_dict(counts)
            self.journal.write(
                Histogram(name=f"{stream}/abs", on="batch", n=rows, dimension=dimension, **where, **content)  # type: ignore[arg-type]
            )

        found = {stream: (histogram.counts(), rows) for stream, (histogram, rows, _) in histograms.items()}
        if self.ranks is None:
            for stream, (counts, rows) in found.items():
                write(stream, counts, rows)
        elif found:
            self._of_ranks(self.ranks.hear_window, where["step"], found, write)

    def _say_not_finite(self, subject: str, step: int) -> None:
        if subject not in self._not_finite:
            self._not_finite.add(subject)
            if subject.startswith("loss/") and self.first_bad_step is None:
                self.first_bad_step = step
            self.event("not_finite", f"{subject} is not finite at step {step}", subject=subject, step=step)

    def _journal_error(self, probe: str, message: str) -> None:
        self.event("error", message, subject=probe)
