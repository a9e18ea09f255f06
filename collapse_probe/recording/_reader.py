"""What was heard in a step becomes readings, and what is kept of it for a window of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .. import measures
from ..journal.vocabulary import MEASURES, Role, Similarity, at_dimension, reading_name, split_dimension, split_reading
from ..measures import Sample
from ..measures._sample import PAIRS
from ._accumulators import LogHistogram
from ._cuts import cuts_of, dimension_of, read_cut
from ._forces import ADDED
from ._heard import Heard
from ._layout import Layout
from ._merging import dtype_of
from ._naming import Naming
from ._ranks import Ranks
from ._window import WindowSummary
from ._wishes import Wishes

_BINS = {"low": 1e-8, "high": 10.0, "bins": 90}
"""Log-spaced bins of a stream's absolute entries: ten a decade."""

_SELDOM = tuple(measure.name for measure in MEASURES.values() if measure.seldom)

_MICRO = 4
"""Micro-batches of a step that are read; the others are counted."""


@dataclass
class StepReadings:
    """What was read of one step.

    Attributes:
        heard: Streams that were heard.
        groups: What this process writes: the shape of what was read, and readings of that shape.
        samples: What was read of each micro-batch.
    """

    heard: set[str]
    groups: list[tuple[dict[str, Any], dict[str, Tensor]]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class StepReader:
    """Reads the streams of a step. Stays on the device and waits for nothing.

    Args:
        naming: Which streams there are.
        wishes: What is read of them.
        similarity: How queries are compared with documents.
        first: Whether this process writes; others keep what the first one merges.

    Attributes:
        layout: Which document is whose.
        summary: What is kept of every step until the window ends.
    """

    def __init__(self, naming: Naming, wishes: Wishes, similarity: Similarity, *, first: bool) -> None:
        self.layout = Layout()
        self.summary = WindowSummary()
        self._naming = naming
        self._wishes = wishes
        self._similarity: Similarity = similarity
        self._first = first
        self._histograms: dict[str, tuple[LogHistogram, int, int]] = {}
        self._times: Counter[frozenset[str]] = Counter()

    def take_window(self) -> tuple[WindowSummary, dict[str, tuple[LogHistogram, int, int]]]:
        """Return what a window kept, its summary and histograms with their rows and columns, and begin another."""
        kept = self.summary, self._histograms
        self.summary, self._histograms = WindowSummary(), {}
        return kept

    def read(
        self, calls: Sequence[Heard], *, due: Collection[str] | None, ranks: Ranks | None, early: bool
    ) -> StepReadings:
        """Read the calls of a step that were training.

        Args:
            calls: The calls, under their streams' names.
            due: The streams that are read; None for all.
            ranks: Keeps what follows from all processes' rows, which is then read of them together; None where this
                process is read alone.
            early: Whether it is one of the first steps, of which everything is read.
        """
        micros = [[one for one in calls if one.micro == micro] for micro in sorted({one.micro for one in calls})]
        heard = self._count(calls)
        read = heard if due is None else heard & set(due)
        kept = [self._sample(micro) for micro in micros[:_MICRO]]
        samples = [one for one in (self._only(sample, read) for sample in kept) if one.streams]
        with measures.sharing():
            together = ranks.keep(samples) if ranks is not None else ()
            left = together if early or self._is_full(read) else {*together, *self._seldom(samples)}
            values = _mean([self._readings(sample, without=left) for sample in samples]) if self._first else {}
            if self._first and any(one.by_term for one in calls):
                values |= self._term_readings(kept[0], [one for one in micros[0] if one.by_term])
        alone = {name: value for name, value in values.items() if name not in together}
        found = StepReadings(heard, samples=samples)
        if alone:
            found.groups = [(shape_of(tensor), part) for tensor, part in by_sample(alone, samples[0])]
        if read != heard and self._first:
            values |= _mean([self._every_step(sample) for sample in kept])
        if values or (not self._first and (samples or heard & set(self._wishes.every_step))):
            self._keep(values, kept)
        return found

    def read_cuts(
        self, samples: Sequence[Sample], dimensions: Sequence[int]
    ) -> list[tuple[dict[str, Any], dict[str, Tensor]]]:
        """Read the first columns of each micro-batch's embeddings, and return them as groups of a step's readings."""
        by_dimension: dict[int | None, list[Sample]] = {}
        for sample in samples:
            for cut in cuts_of(sample, dimensions):
                by_dimension.setdefault(dimension_of(cut), []).append(cut)
        groups = []
        for cuts in by_dimension.values():
            values = _mean([read_cut(cut, on="batch", wanted=self._wishes.batch) for cut in cuts])
            groups += [(shape_of(tensor), part) for tensor, part in by_sample(values, cuts[0])]
        return groups

    def _is_full(self, streams: set[str]) -> bool:
        """Return whether this time everything is read of some streams, as the first time and every second one."""
        key = frozenset(streams)
        self._times[key] += 1
        return self._times[key] % 2 == 1

    def _seldom(self, samples: Sequence[Sample]) -> set[str]:
        """Return the readings that every second due step goes without."""
        subjects = {PAIRS, *(stream for sample in samples for stream in sample.streams)}
        return {reading_name(one, name) for one in subjects for name in _SELDOM} - set(self._wishes.asked)

    def _count(self, calls: Sequence[Heard]) -> set[str]:
        """Count the calls of each stream, and return which streams were heard."""
        for one in calls:
            rows, dimension = _size(one.tensor)
            self._naming.first_heard(one.stream).hear(rows=rows, dimension=dimension, dtype=dtype_of(one.tensor))
        heard = {one.stream for one in calls}
        for stream in heard:
            self._naming.streams[stream].steps += 1
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
            if (role := self._naming.streams[one.stream].role) is not None:
                roles[name] = role
        sample = Sample(streams=streams, roles=roles, similarity=self._similarity, gradients=gradients)
        return self.layout.apply(sample)

    def _only(self, sample: Sample, streams: set[str]) -> Sample:
        """Return what a sample has of some streams: of their further calls, which have a number, too."""
        kept = {
            name: tensor
            for name, tensor in sample.streams.items()
            if name in streams or (name not in self._naming.streams and _first_call(name) in streams)
        }
        return sample if len(kept) == len(sample.streams) else replace(sample, streams=kept)

    @torch.inference_mode()  # a tenth less time: none of these tensors has a graph
    def _readings(self, sample: Sample, *, without: Collection[str]) -> dict[str, Tensor]:
        wanted = self._wishes.batch
        if without and self._wishes.every_step:  # the window's summary is of this process
            without = {name for name in without if split_reading(name)[0] not in self._wishes.every_step}
        if wanted is not None:
            wanted = {*wanted, *(f"{stream}/finite_share" for stream in sample.streams)}
        if dimension_of(sample) is not None:  # heard of some columns alone
            return read_cut(sample, on="batch", wanted=wanted)
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
            if self._naming.streams[one.stream].role in ADDED:
                added.setdefault(one.stream, []).append(_numbered(one))
        return measures.read_terms(sample, forces, added=added)

    @torch.inference_mode()
    def _every_step(self, sample: Sample) -> dict[str, Tensor]:
        wanted = {
            f"{stream}/{measure.name}"
            for stream in sample.streams
            if stream in self._wishes.every_step
            for measure in MEASURES.values()
            if measure.every_step
        }
        return measures.read(sample, on="batch", wanted=wanted) if wanted else {}

    def _keep(self, values: Mapping[str, Tensor], samples: Sequence[Sample]) -> None:
        """Keep for the window what is read on every step."""
        streams = self._wishes.every_step
        kept = {}
        for name, value in values.items():
            stream, measure = split_reading(name)
            if stream in streams and MEASURES[measure].every_step:
                kept[name] = value
        if kept:
            rows = sum(max(shape_of(tensor)["n"] for tensor in sample.streams.values()) for sample in samples)
            self.summary.update(kept, n=rows)
        for sample in samples:
            for stream in self._wishes.histograms:
                if stream in sample.streams:
                    histogram, rows, _ = self._histograms.get(stream, (LogHistogram(**_BINS), 0, 0))
                    tensor = sample.streams[stream]
                    histogram.update(tensor)
                    shape = shape_of(tensor)
                    self._histograms[stream] = (histogram, rows + shape["n"], shape["dimension"])


def by_sample(values: Mapping[str, Tensor], sample: Sample) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Return readings by the tensor that they were taken of: those of one shape and type together."""
    groups: dict[Any, tuple[Tensor, dict[str, Tensor]]] = {}
    first = next(iter(sample.streams.values()))
    query = next((sample.streams[name] for name, role in sample.roles.items() if role is Role.query), first)
    for name, value in values.items():
        tensor = sample.streams.get(split_reading(name)[0], query)
        key = (tensor.shape, tensor.dtype)
        groups.setdefault(key, (tensor, {}))[1][name] = value
    return list(groups.values())


def shape_of(tensor: Tensor) -> dict[str, Any]:
    """Return rows, columns and element type of what was read, as records have them."""
    rows, dimension = _size(tensor)
    return {"n": rows, "dimension": dimension, "dtype": dtype_of(tensor)}


def _size(tensor: Tensor) -> tuple[int, int]:
    return (tensor.shape[0], tensor.shape[-1]) if tensor.ndim else (1, 1)


def _numbered(one: Heard) -> str:
    """Return the name of a call of a micro-batch among its streams: further calls have a number."""
    if one.index == 0:
        return one.stream
    stream, dimension = split_dimension(one.stream)
    further = f"{stream}.{one.index + 1}"
    return further if dimension is None else at_dimension(further, dimension)


def _first_call(further: str) -> str:
    """Return the stream of a further call, as :func:`_numbered` names one.

    >>> _first_call("document.2"), _first_call("document.2@128")
    ('document', 'document@128')
    """
    name, dimension = split_dimension(further)
    stream = name.rpartition(".")[0]
    return stream if dimension is None else at_dimension(stream, dimension)


def _mean(read: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each reading over the micro-batches that have it."""
    if len(read) < 2:
        return dict(read[0]) if read else {}
    names = dict.fromkeys(name for values in read for name in values)
    return {name: torch.stack([v[name] for v in read if name in v]).mean(dim=0) for name in names}
