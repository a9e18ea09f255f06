"""Records in memory, indexed by kind and name: what a run on disk and a run in training have in common."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ._course import End, Event, Start
from ._fields import FieldError, decode_number, record_from
from ._kinds import KINDS, Record
from ._readings import Coverage, Readings, Summary, Terms

R = TypeVar("R")

_DAMAGES = 20
"""Damages that are kept in words; the rest is counted."""


@dataclass(frozen=True)
class Series:
    """One reading over a run, by step; empty where nothing was recorded.

    Attributes:
        reading: ``STREAM/MEASURE``.
        on: ``batch``, ``reference`` or ``raw``.
        dataset: Data set of the batches; None where there is one.
        steps: ``[K]`` optimiser steps, int64.
        values: ``[K]`` numbers, float64.
        n: ``[K]`` rows of each sample, int64; -1 where unknown.
        dimension: ``[K]`` columns, int64; -1 where unknown.
        epochs: ``[K]``, int64; -1 in a run without epochs.
        dtype: Element type of the latest sample.
    """

    reading: str
    on: str
    dataset: str | None
    steps: np.ndarray
    values: np.ndarray
    n: np.ndarray
    dimension: np.ndarray
    epochs: np.ndarray
    dtype: str | None = None

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> float | None:
        """The latest value; None where there is none."""
        return float(self.values[-1]) if len(self) else None

    @property
    def first(self) -> float | None:
        """The earliest value; None where there is none."""
        return float(self.values[0]) if len(self) else None

    def finite(self) -> Series:
        """Return the part of the series whose values are finite."""
        return self.where(np.isfinite(self.values))

    def where(self, kept: np.ndarray) -> Series:
        """Return the part of the series that a boolean ``[K]`` keeps."""
        columns = (self.steps, self.values, self.n, self.dimension, self.epochs)
        return Series(self.reading, self.on, self.dataset, *(column[kept] for column in columns), self.dtype)


Sample = tuple[int | None, int | None, int | None, str | None]
"""Rows, columns, epoch and element type of what was read: seldom another from one reading to the next."""


_NO_STEPS, _NO_VALUES = np.zeros(0, dtype=np.int64), np.zeros(0)


class Columns:
    """One reading's numbers as they come in; the sample is kept where it changes."""

    __slots__ = ("sample", "samples", "starts", "steps", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self.starts = array("q")
        self.samples = array("q")
        self.sample = -1

    def truncate(self, step: int) -> None:
        """Leave out what was recorded after a step."""
        kept = len(self.steps)
        while kept and self.steps[kept - 1] > step:
            kept -= 1
        del self.steps[kept:], self.values[kept:]
        while self.starts and self.starts[-1] >= kept:
            del self.starts[-1:], self.samples[-1:]
        self.sample = self.samples[-1] if self.samples else -1


def _is_reading(name: str) -> bool:
    stream, _, measure = name.rpartition("/")
    return bool(stream and measure) and not measure.startswith(".")


Key = tuple[str, str, str | None]


class Store:
    """Records of one run; what a resumption did again is left out.

    Attributes:
        damage: What is wrong with the journal, a line each; a damaged run is never called healthy.
        damages: How many such lines there would be.
        unknown: Kinds that this version does not know, and how many records of each.
        count: Records that were taken in.
        files: Per-query scores of a run that is kept in memory only.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.damage: list[str] = []
        self.damages = 0
        self.unknown: dict[str, int] = {}
        self.count = 0
        self.files: dict[str, dict[str, Any]] = {}
        self._columns: dict[Key, Columns] = {}
        self._tables: dict[tuple[str, str | None], dict[str, Columns]] = {}
        self._samples: dict[Sample, int] = {}
        self._known: list[Sample] = []
        self._records: dict[type, list[Any]] = {kind: [] for kind in KINDS.values()}

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of a kind in the order in which they were written.

        ``Readings``, ``Terms`` and ``Summary`` are kept as :meth:`series` alone.
        """
        return list(self._records[kind])

    @property
    def keys(self) -> list[Key]:
        """``(reading, on, dataset)`` of every series, in the order of their first appearance."""
        return [key for key, columns in self._columns.items() if columns.steps]

    @property
    def last_step(self) -> int:
        """The last step of which there is a reading; 0 where there is none."""
        return max((columns.steps[-1] for columns in self._columns.values() if columns.steps), default=0)

    def series(self, reading: str, *, on: str | None = None, dataset: str | None = None) -> Series:
        """Return one reading by step; empty where nothing was recorded.

        Args:
            reading: ``STREAM/MEASURE``, ``loss/TERM`` and so on; ``.mean``, ``.first``, ``.last`` and ``.max`` behind
                the name give the windows' summaries.
            on: ``batch``, ``reference`` or ``raw``; None takes the reference pairs if they have it, else the batches.
            dataset: Data set of the batches.
        """
        if on is None:
            on = "reference" if (reading, "reference", dataset) in self._columns else "batch"
        found = self._columns.get((reading, on, dataset))
        if found is None or not found.steps:
            # Most of what a diagnosis asks for was never recorded.
            return Series(reading, on, dataset, _NO_STEPS, _NO_VALUES, _NO_STEPS, _NO_STEPS, _NO_STEPS)
        steps, values = np.array(found.steps, dtype=np.int64), np.array(found.values, dtype=np.float64)
        lengths = np.diff(np.array([*found.starts, len(steps)], dtype=np.int64))
        samples = [self._known[one] for one in found.samples]
        whole = (
            np.repeat(np.array([-1 if one[at] is None else one[at] for one in samples], dtype=np.int64), lengths)
            for at in range(3)
        )
        return Series(reading, on, dataset, steps, values, *whole, samples[-1][3])

    def add(self, kind: str, content: Mapping[str, Any]) -> None:
        """Take in a line of the journal.

        Raises:
            FieldError: a field is missing, or of a wrong type.
        """
        if kind == "readings" or kind == "terms":
            self._add_readings(content)
        elif kind not in KINDS:
            self.unknown[kind] = self.unknown.get(kind, 0) + 1
        else:
            record = record_from(KINDS[kind], content)
            if isinstance(record, Coverage) and not record.stream:
                raise FieldError("stream is empty, where a name is needed")
            self.add_record(record)
            return
        self.count += 1

    def add_record(self, record: Record) -> None:
        """Take in a record."""
        self.count += 1
        if isinstance(record, Readings):
            sample = (record.n, record.dimension, record.epoch, record.dtype)
            self._extend(record.values, record.step, record.on, record.dataset, sample)
        elif isinstance(record, Terms):
            self._extend(record.values, record.step, "batch", record.dataset, (None, None, record.epoch, None))
        elif isinstance(record, Summary):
            values = {f"{name}.{part}": value for name, parts in record.values.items() for part, value in parts.items()}
            sample = (record.n, record.dimension, record.epoch, record.dtype)
            self._extend(values, record.step, record.on, None, sample)
        else:
            if isinstance(record, Event) and record.name == "resumed":
                self._supersede(record.step)
            self._records[type(record)].append(record)

    def note_damage(self, message: str) -> None:
        """Note something that is wrong with the journal."""
        self.damages += 1
        if len(self.damage) < _DAMAGES:
            self.damage.append(message)

    def _add_readings(self, content: Mapping[str, Any]) -> None:
        # Nine lines of ten are these: checked here, without an object each.
        step, values = content.get("step"), content.get("values")
        if type(step) is not int or not 0 <= step < 2**62:
            raise FieldError(f"step is {step!r:.40}, where a whole number of at least 0 is needed")
        if type(values) is not dict:
            raise FieldError(f"values is {values!r:.40}, where numbers by name are needed")
        on, dataset, dtype = content.get("on", "batch"), content.get("dataset"), content.get("dtype")
        if type(on) is not str or not (dataset is None or type(dataset) is str):
            raise FieldError("on or dataset is no text")
        if not (dtype is None or type(dtype) is str):
            raise FieldError(f"dtype is {dtype!r:.40}, where a text is needed")
        n, dimension, epoch = content.get("n"), content.get("dimension"), content.get("epoch")
        if not ((n is None or type(n) is int) and (dimension is None or type(dimension) is int)):
            name, value = ("dimension", dimension) if n is None or type(n) is int else ("n", n)
            raise FieldError(f"{name} is {value!r:.40}, where a whole number is needed")
        if not (epoch is None or type(epoch) is int):
            raise FieldError(f"epoch is {epoch!r:.40}, where a whole number is needed")
        for name, value in values.items():
            if type(value) is not float:
                values[name] = decode_number(value)
        self._extend(values, step, on, dataset, (n, dimension, epoch, dtype))

    def _extend(self, values: Mapping[str, float], step: int, on: str, dataset: str | None, sample: Sample) -> None:
        number = self._samples.get(sample)
        if number is None:
            number = self._sample(sample)
        table = self._tables.get((on, dataset))
        if table is None:
            table = self._tables[(on, dataset)] = {}
        for name, value in values.items():
            found = table.get(name)
            if found is None:
                found = table[name] = Columns()
                if _is_reading(name):
                    self._columns[(name, on, dataset)] = found
                else:
                    self.note_damage(f"{name!r:.60} is no reading, STREAM/MEASURE, and is left out")
            if found.sample != number:
                found.starts.append(len(found.steps))
                found.samples.append(number)
                found.sample = number
            found.steps.append(step)
            found.values.append(value)

    def _sample(self, sample: Sample) -> int:
        for name, one in zip(("n", "dimension", "epoch"), sample, strict=False):
            if type(one) is int and not -(2**62) < one < 2**62:
                raise FieldError(f"{name} is {one!r:.40}, where a whole number is needed")
        self._known.append(sample)
        self._samples[sample] = len(self._known) - 1
        return len(self._known) - 1

    def _supersede(self, step: int) -> None:
        """Leave out what was recorded before a resumption for later steps."""
        for columns in self._columns.values():
            columns.truncate(step)
        for kind, records in self._records.items():
            if kind is End:
                records.clear()
            elif kind is not Start:
                records[:] = [record for record in records if record.step <= step]
