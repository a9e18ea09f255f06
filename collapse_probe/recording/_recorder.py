"""The recorder: what is heard in training becomes records in the journal."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from .. import measures
from ..journal import (
    Artifact,
    Clock,
    Evaluation,
    Event,
    Histogram,
    JournalWriter,
    Rankings,
    Readings,
    Spectrum,
    Summary,
    Terms,
    now,
)
from ..journal.vocabulary import MEASURES, Role, Similarity, split_reading
from ..measures import Sample
from ._accumulators import LogHistogram, pair_histograms
from ._cadence import Cadence
from ._containment import Containment
from ._forces import ADDED, EMBEDDED, TermForces
from ._handed import scalar
from ._heard import Heard, Step
from ._layout import Layout
from ._merging import dtype_of
from ._outbox import Outbox, stack
from ._rankings import Texts, keep_evaluation
from ._ranks import Ranks
from ._stacked import Stacking
from ._streams import StreamCoverage
from ._window import WindowSummary

_BINS = {"low": 1e-8, "high": 10.0, "bins": 90}
"""Log-spaced bins of a stream's absolute entries: ten a decade."""

_CLOCK = 1.0
"""Seconds between two records of the time, at least."""

_RANKS = "processes"

_MICRO = 4
"""Micro-batches of a step that are read; the others are counted."""


@dataclass(frozen=True)
class Wishes:
    """What is read of which streams; the defaults read everything that the streams' roles allow.

    Attributes:
        batch: Names of readings on batches; None for all.
        reference: Names of readings on reference pairs; None for all.
        every_step: Streams that are read on every step, for the summaries of a window.
        histograms: Streams whose absolute entries are counted over a window, where they are read, and of the reference
            pairs ``pairs/distance``, ``pairs/cosine``, ``pairs/distance_random``, ``pairs/cosine_random``.
    """

    batch: Collection[str] | None = None
    reference: Collection[str] | None = None
    every_step: Collection[str] = ()
    histograms: Collection[str] = ()


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

    Attributes:
        done: Optimiser steps done.
        next_due: The next step whose streams are read.
        containment: What contains failures.
        first: Whether this process writes; others read what goes to the first one alone.
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
        self.streams: dict[str, StreamCoverage] = {}
        self.layout = Layout()
        self._split: dict[str, dict[str, tuple[int, bool]]] = {}
        self._stacked: dict[str, Stacking] = {}
        self._forces = TermForces(self._say_no_force)
        self._no_force: set[str] = set()
        self._roles: dict[str, Role | None] = {}
        self._step = self._new_step()
        self._outbox = Outbox()
        self._terms: dict[str, list[Tensor | float]] = {}
        self._scalars: dict[str, Tensor | float] = {}
        self._datasets: set[str] = set()
        self._rates: dict[str, float] = {}
        self._not_finite: set[str] = set()
        self._summary = WindowSummary()
        self._histograms: dict[str, tuple[LogHistogram, int, int]] = {}
        self._covered: dict[str, tuple[int, str]] = {}
        self._closed = False
        self._told_time = -math.inf
        self.first = first
        self.ranks = None if name is None else Ranks(name, first, self._say_of_ranks)

    # What is handed in

    @property
    def current(self) -> int:
        """The step in progress."""
        return self.done + 1

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
        known = self.streams.setdefault(stream, StreamCoverage(stream))
        for name, value in about.items():
            if value is not None:
                setattr(known, name, value)
        return known

    def observe(
        self,
        stream: str,
        tensor: Tensor,
        *,
        role: Role | None = None,
        by_hand: bool = True,
        confirmed_by: Tensor | None = None,
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
        """
        if stream not in self._split:
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
        )

    @property
    def _with_gradient(self) -> bool:
        return self.next_due <= self.done + 1 or self.layout.asks or bool(self.owed)

    @property
    def heard(self) -> list[Heard]:
        """The calls of the step in progress, to be chosen among."""
        return self._step.calls

    def hear(self, key: str, tensor: Tensor, *, confirmed_by: Tensor | None = None) -> Heard:
        """Hear something that may be a stream, if a backward comes through it, or through what it is a part of."""
        return self._step.hear(key, tensor, confirmed_by=confirmed_by, with_gradient=self._with_gradient)

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
        found = {str(name): one for name, one in terms.items() if _has_graph(one)}
        found = {name: one for name, one in found.items() if _weight(weights.get(name, 1.0)) is not None}
        if len(found) < 2:
            return
        calls = [(one, self._role_of(one.stream)) for one in self._step.calls]
        calls = [(one, role) for one, role in calls if role is not False]
        points = {place: (one.point, role) for place, (one, role) in enumerate(calls) if one.point is not None}
        if not any(role not in ADDED for _, role in points.values()):
            if calls and self._step.after_backward:
                self._say_no_force("terms came after the backward: hand them over before it")
            elif any(role not in ADDED for _, role in calls):
                self._say_no_force("no embedding that was heard before the terms is in the graph of the loss")
            return
        self._step.forces_done = True
        scales = {name: _weight(weights.get(name, 1.0)) for name in found}
        taken = self._forces.take(found, scales, points)  # type: ignore[arg-type]
        self._step.release()
        for name, gradients in taken.items():
            for place, gradient in gradients.items():
                calls[place][0].by_term[name] = gradient

    def _role_of(self, key: str) -> Role | bool | None:
        """Return the role of a tap's calls where forces are read at them, False where not."""
        for stream in self.streams_of(key):
            known = self.streams.get(stream)
            if known is not None and (known.role in (*EMBEDDED, *ADDED) or stream == "embedding"):
                return known.role
        return False

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
        weighted = []
        for name, value in terms.items():
            number = scalar(f"term {name!r}", value)
            weight = 1.0 if weights is None else weights.get(name, 1.0)
            plain = not isinstance(weight, Tensor) and weight == 1.0
            weighted.append(number if plain else weight * number)
            self._add(f"loss/{name}", number)
            if weights is not None:
                self._add(f"loss/{name}_weighted", weighted[-1])
        explained = sum(weighted[1:], weighted[0]) if weighted else None
        if total is not None:
            whole = scalar("total", total)
            self._add("loss/total", whole)
            if explained is not None and "rest" not in terms:
                self._add("loss/rest", whole - explained)
        elif explained is not None and whole:
            self._add("loss/total", explained)

    def scalars(self, values: Mapping[str, Tensor | float]) -> None:
        """Hear scalars of the step in progress under their full names, such as ``gradient/norm``."""
        for name, value in values.items():
            self._scalars[name] = scalar(name, value)

    def rates(self, values: Mapping[str, float]) -> None:
        """Hear learning rates and weight decays under their full names; those that changed are written."""
        changed = {name: value for name, value in values.items() if self._rates.get(name) != value}
        self._rates.update(changed)
        self.scalars(changed)

    def streams_of(self, key: str) -> tuple[str, ...]:
        """Return the streams that a tap's calls are."""
        return tuple(self._split.get(key, (key,)))

    def split(
        self, key: str, streams: Mapping[str, tuple[int, bool]], *, roles: Mapping[str, Role | None] | None = None
    ) -> None:
        """Make one tap's calls of a micro-batch several streams.

        Args:
            key: The tap.
            streams: Stream to the call that it is, from 0, and whether it is the calls after that one, too.
            roles: Stream to its role, from when it is first heard: not every batch has further documents.
        """
        self._split[key] = dict(streams)
        self._roles.update(roles or {})

    def unstack(self, key: str, stacking: Stacking, sides: Mapping[str, Role]) -> None:
        """Read one tap's matrix as the two sides that it holds; one with an odd number of rows is left out.

        Args:
            key: The tap.
            stacking: How it holds them.
            sides: The streams, in their order, with their roles.
        """
        self._stacked[key] = stacking
        self.split(key, dict.fromkeys(sides, (0, True)), roles=dict(sides))

    def go_on(self, rates: Mapping[str, float]) -> None:
        """Go on with a run that was stopped after :attr:`done` steps, with the learning rates that it has."""
        self._rates = dict(rates)
        self.next_due = self.cadence.next(self.done)

    def forget(self) -> None:
        """Forget what was heard of the step in progress, as where nobody ends it."""
        self._step.close()
        self._step = self._new_step()
        self._terms = {}

    def rewind(self, step: int) -> None:
        """Go back to where a training begins again, after ``step`` steps; the step in progress is forgotten."""
        self.flush()
        self.done = step
        self._step = self._new_step()
        self._terms, self._scalars = {}, {}
        self._datasets.clear()
        self.next_due = self.cadence.next(step)
        self.event("resumed", f"the trainer began again after {step} steps", step=step)

    def dataset(self, name: str | None) -> None:
        """Hear which data set the batch in progress is of."""
        if name is not None:
            self._datasets.add(name)

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
        if self._terms or self._scalars:
            self.containment.run("terms", self._write_terms)
        if shares and self.ranks is not None:
            norm = self._scalars.get("gradient/norm")
            about = {"step": self.done, "dataset": self._dataset(), "norm": norm if isinstance(norm, Tensor) else None}
            how = {"wanted": self.wishes.batch, "write": self._writer(), "contain": self._of_ranks}
            self._of_ranks(self.ranks.share, self._outbox, **about, **how)
        self._terms, self._scalars = {}, {}
        self._datasets.clear()
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
        step: int | None = None,
        epoch: int | None = None,
    ) -> None:
        """Read reference pairs, in evaluation mode. Waits for the device.

        Args:
            sample: What the model made of them.
            raw: Through the encoder before any module of the user's.
            part: A part of the pairs, between full readings: spectra are left out.
            step: Optimiser steps done; those done now if None.
            epoch: Epochs done.
        """
        on = "raw" if raw else "reference"
        where: dict[str, Any] = {"on": on, "step": self.done if step is None else step}
        where["epoch"] = self.epoch if epoch is None else epoch
        values = measures.read(sample, on="reference", wanted=self._wanted(sample, part=part))
        for tensors, found in _by_sample(values, sample):
            self.journal.write(Readings(values=_floats(found), **where, **_shape(tensors)))
        if part:
            return
        self._pair_histograms(sample, where)
        for name, tensor in sample.streams.items():
            spectrum = self._spectrum(sample, name)
            if spectrum is not None:
                reading = f"{name}/singular_values"
                self.journal.write(Spectrum(name=reading, values=spectrum, **where, **_shape(tensor)))

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

    def _add(self, name: str, value: Tensor | float) -> None:
        self._terms.setdefault(name, []).append(value)

    def _named(self, calls: Sequence[Heard]) -> list[Heard]:
        """Return the calls under their streams' names, counted anew within each micro-batch."""
        named, count = [], Counter[tuple[str, int, bool]]()
        for one in calls:
            key = (one.stream, one.micro, one.by_hand)
            place = count[key]
            count[key] += 1
            parts = self._unstacked(one)
            for at, (stream, (first, further)) in enumerate(
                self._split.get(one.stream, {one.stream: (0, True)}).items()
            ):
                if parts and (place == first or (further and place > first)):
                    named.append(replace(parts[at % len(parts)], stream=stream, index=place - first))
        # What the user hands over is the stream, whatever else was taken for it.
        handed = {one.stream for one in named if one.by_hand}
        return [one for one in named if one.by_hand or one.stream not in handed]

    def _unstacked(self, one: Heard) -> list[Heard]:
        """Return a call, or each side of its matrix; none where it holds no two of one length."""
        stacking = self._stacked.get(one.stream)
        if stacking is None:
            return [one]
        return (
            [stacking.part(one, which) for which in (0, 1)] if one.tensor.ndim == 2 and len(one.tensor) % 2 == 0 else []
        )

    def _sides(self, key: str) -> int:
        """Return how many sides of a pair a tap's calls are: those of a chunked batch are put together again."""
        if key in self._split and key not in self._stacked:
            return 2
        known = self.streams.get(key)
        return 1 if known is not None and known.role in (Role.query, Role.document) else 0

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
        calls = self._named(self._step.training(self._sides))
        micros = [[one for one in calls if one.micro == micro] for micro in sorted({one.micro for one in calls})]
        for one in calls:
            tensor = one.tensor
            rows, dimension = (tensor.shape[0], tensor.shape[-1]) if tensor.ndim else (1, 1)
            known = self.streams.get(one.stream) or self.declare(one.stream, role=self._roles.get(one.stream))
            known.hear(rows=rows, dimension=dimension, dtype=dtype_of(tensor))
        heard = {one.stream for one in calls}
        for stream in heard:
            self.streams[stream].steps += 1
        due = heard if self.next_due <= self.done else heard & self.owed
        kept = [self._sample(micro) for micro in micros[:_MICRO]]
        samples = [one for one in (self._only(sample, due) for sample in kept) if one.streams]
        with measures.sharing():
            together = self.ranks.keep(samples) if shares and self.ranks is not None else ()
            values = _mean([self._readings(sample, without=together) for sample in samples]) if self.first else {}
            if self.first and any(one.by_term for one in calls):
                values |= self._term_readings(kept[0], [one for one in micros[0] if one.by_term])
        alone = {name: value for name, value in values.items() if name not in together}
        for tensors, part in _by_sample(alone, samples[0]) if alone else ():
            self._outbox.put(part, self._writer(**_shape(tensors)))
        if due != heard and self.first:
            values |= _mean([self._every_step(sample) for sample in kept])
        if values or (not self.first and (samples or heard & set(self.wishes.every_step))):
            self._keep(values, kept)
        return heard

    def _sample(self, calls: Sequence[Heard]) -> Sample:
        streams: dict[str, Tensor] = {}
        roles: dict[str, Role] = {}
        gradients: dict[str, Tensor] = {}
        for one in calls:
            name = _numbered(one)
            streams[name] = one.tensor
            if one.gradient is not None:
                gradients[name] = one.gradient
            if (role := self.streams[one.stream].role) is not None:
                roles[name] = role
        sample = Sample(streams=streams, roles=roles, similarity=self.similarity, gradients=gradients)
        return self.layout.apply(sample)

    def _only(self, sample: Sample, streams: set[str]) -> Sample:
        """Return what a sample has of some streams: of their further calls, which have a number, too."""
        kept = {
            name: tensor
            for name, tensor in sample.streams.items()
            if name in streams or (name not in self.streams and name.rpartition(".")[0] in streams)
        }
        return sample if len(kept) == len(sample.streams) else replace(sample, streams=kept)

    @torch.inference_mode()  # a tenth less time: none of these tensors has a graph
    def _readings(self, sample: Sample, *, without: Collection[str]) -> dict[str, Tensor]:
        wanted = self.wishes.batch
        if without and self.wishes.every_step:  # the window's summary is of this process
            without = {name for name in without if split_reading(name)[0] not in self.wishes.every_step}
        if wanted is not None:
            wanted = {*wanted, *(f"{stream}/finite_share" for stream in sample.streams)}
        return measures.read(sample, on="batch", wanted=wanted, without=without)

    @torch.inference_mode()
    def _term_readings(self, sample: Sample, calls: Sequence[Heard]) -> dict[str, Tensor]:
        """Return what each term does to the first micro-batch, on which alone that is read."""
        forces: dict[str, dict[str, Tensor]] = {}
        for one in calls:
            for term, gradient in one.by_term.items():
                forces.setdefault(term, {})[_numbered(one)] = gradient
        added: dict[str, list[str]] = {}
        for one in calls:
            if self.streams[one.stream].role in ADDED:
                added.setdefault(one.stream, []).append(_numbered(one))
        return measures.read_terms(sample, forces, added=added)

    @torch.inference_mode()
    def _every_step(self, sample: Sample) -> dict[str, Tensor]:
        wanted = {
            f"{stream}/{measure.name}"
            for stream in sample.streams
            if stream in self.wishes.every_step
            for measure in MEASURES.values()
            if measure.every_step
        }
        return measures.read(sample, on="batch", wanted=wanted) if wanted else {}

    def _keep(self, values: Mapping[str, Tensor], samples: Sequence[Sample]) -> None:
        """Keep for the window what is read on every step."""
        streams = self.wishes.every_step
        kept = {}
        for name, value in values.items():
            stream, measure = split_reading(name)
            if stream in streams and MEASURES[measure].every_step:
                kept[name] = value
        if kept:
            rows = sum(max(_shape(tensor)["n"] for tensor in sample.streams.values()) for sample in samples)
            self._summary.update(kept, n=rows)
        for sample in samples:
            for stream in self.wishes.histograms:
                if stream in sample.streams:
                    histogram, rows, _ = self._histograms.get(stream, (LogHistogram(**_BINS), 0, 0))
                    tensor = sample.streams[stream]
                    histogram.update(tensor)
                    shape = _shape(tensor)
                    self._histograms[stream] = (histogram, rows + shape["n"], shape["dimension"])

    def _writer(self, **shape: Any) -> Callable[..., None]:
        where: dict[str, Any] = {"step": self.done, "epoch": self.epoch, "dataset": self._dataset(), **shape}

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
        where: dict[str, Any] = {"step": self.done, "epoch": self.epoch, "dataset": self._dataset()}
        means = {name: _average(values) for name, values in self._terms.items()}
        values = {**means, **self._scalars}
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        plain = {name: float(value) for name, value in values.items() if not isinstance(value, Tensor)}
        if self.epoch is not None:
            self._summary.update({name: value for name, value in tensors.items() if name.startswith(("loss/", "grad"))})

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
        parts = self._summary.finish()
        if parts:
            flat = {f"{name}\n{part}": value for name, found in parts.items() for part, value in found.items()}
            values: dict[str, dict[str, float]] = {}
            for name, value in _floats(flat).items():
                reading, part = name.split("\n")
                values.setdefault(reading, {})[part] = value
            self.journal.write(Summary(values=values, n=self._summary.rows or None, **where))
        histograms, self._histograms = self._histograms, {}
        self._summary = WindowSummary()

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

    def _wanted(self, sample: Sample, *, part: bool) -> Collection[str] | None:
        wanted = self.wishes.reference
        if not part:
            return wanted
        cheap = [one.name for one in MEASURES.values() if not {"covariance", "spectrum", "neighbours"} & set(one.needs)]
        names = {f"{stream}/{name}" for stream in (*sample.streams, "pairs") for name in cheap}
        return {name for name in names if "reference" in MEASURES[split_reading(name)[1]].on} & set(wanted or names)

    def _pair_histograms(self, sample: Sample, where: Mapping[str, Any]) -> None:
        wanted = [name for name in self.wishes.histograms if name.startswith("pairs/")]
        named = {role: sample.streams[name] for name, role in sample.roles.items()}
        if not wanted or where["on"] == "raw" or not {Role.query, Role.document} <= set(named):
            return
        for name, histogram, n in pair_histograms(named[Role.query], named[Role.document]):
            if name in wanted:
                self.journal.write(Histogram(name=name, n=n, dimension=1, **where, **histogram.as_dict()))  # type: ignore[arg-type]

    def _spectrum(self, sample: Sample, name: str) -> list[float] | None:
        wanted = self.wishes.reference
        if wanted is not None and not any(one.startswith(f"{name}/") for one in wanted):
            return None
        if sample.streams[name].ndim != 2 or sample.roles.get(name) in (Role.gate, Role.correction):
            return None
        values = measures.singular_values(sample, name)
        found = [] if values is None else values.tolist()
        return found if found and all(math.isfinite(value) for value in found) else None

    def _say_not_finite(self, subject: str, step: int) -> None:
        if subject not in self._not_finite:
            self._not_finite.add(subject)
            if subject.startswith("loss/") and self.first_bad_step is None:
                self.first_bad_step = step
            self.event("not_finite", f"{subject} is not finite at step {step}", subject=subject, step=step)

    def _dataset(self) -> str | None:
        return " + ".join(sorted(self._datasets)) or None

    def _journal_error(self, probe: str, message: str) -> None:
        self.event("error", message, subject=probe)


def _numbered(one: Heard) -> str:
    """Return the name of a call of a micro-batch among its streams: further calls have a number."""
    return one.stream if one.index == 0 else f"{one.stream}.{one.index + 1}"


def _has_graph(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.grad_fn is not None and not value.is_complex()


def _weight(value: Any) -> Tensor | float | None:
    """Return a weight as something to multiply with, without its graph; None where it is none."""
    if isinstance(value, Tensor):
        return value.detach().reshape(()) if value.numel() == 1 else None
    return float(value) if isinstance(value, Real) else None


def _average(values: Sequence[Tensor | float]) -> Tensor | float:
    return values[0] if len(values) == 1 else sum(values[1:], values[0]) / len(values)


def _mean(read: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each reading over the micro-batches that have it."""
    if len(read) < 2:
        return dict(read[0]) if read else {}
    names = dict.fromkeys(name for values in read for name in values)
    return {name: torch.stack([v[name] for v in read if name in v]).mean(dim=0) for name in names}


def _by_sample(values: Mapping[str, Tensor], sample: Sample) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Return readings by the tensor that they were taken of: those of one shape and type together."""
    groups: dict[Any, tuple[Tensor, dict[str, Tensor]]] = {}
    first = next(iter(sample.streams.values()))
    query = next((sample.streams[name] for name, role in sample.roles.items() if role is Role.query), first)
    for name, value in values.items():
        tensor = sample.streams.get(split_reading(name)[0], query)
        key = (tensor.shape, tensor.dtype)
        groups.setdefault(key, (tensor, {}))[1][name] = value
    return list(groups.values())


def _floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return scalars as floats; one wait for the device for all of them."""
    if not values:
        return {}
    return dict(zip(values, stack(values).tolist(), strict=True))


def _shape(tensor: Tensor) -> dict[str, Any]:
    rows, dimension = (len(tensor), tensor.shape[-1]) if tensor.ndim else (1, 1)
    return {"n": rows, "dimension": dimension, "dtype": dtype_of(tensor)}
