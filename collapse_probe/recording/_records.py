"""What a recorder writes: the records of its journal, and in which order numbers that lie on the device get there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

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
from ..journal.vocabulary import split_reading
from ..measures import Sample
from ._containment import Containment
from ._naming import Naming
from ._outbox import Outbox, floats
from ._rankings import Texts, keep_evaluation
from ._ranks import Ranks
from ._reader import StepReader
from ._reference_records import negatives_record, reference_records
from ._step_terms import StepTerms
from ._streams import StreamCoverage
from ._wishes import Wishes

_CLOCK = 1.0
"""Seconds between two records of the time, at least."""

RANKS = "processes"
"""The probe that several processes of a training are."""


class Records:
    """The half of a recorder that writes; what is heard, and when, is the other half's.

    Attributes:
        first_bad_step: First step with a loss that is not finite, as far as losses have been written.
    """

    journal: JournalWriter
    wishes: Wishes
    containment: Containment
    done: int
    epoch: int | None
    dimensions: tuple[int, ...]
    ranks: Ranks | None
    first_bad_step: int | None = None
    _naming: Naming
    _reader: StepReader
    _outbox: Outbox
    _terms: StepTerms
    _told_time = -math.inf

    def __init__(self) -> None:
        self._not_finite: set[str] = set()
        self._covered: dict[str, tuple[int, str]] = {}

    @property
    def streams(self) -> dict[str, StreamCoverage]:
        """Name to what is known of a stream."""
        return self._naming.streams

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

    # What lies on the device is written later

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

    def _tell_time(self) -> None:
        moment = time.monotonic()
        if moment - self._told_time >= _CLOCK:
            self._told_time = moment
            self.journal.write(Clock(step=self.done, time=now()))

    def _of_ranks(self, function: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Run what several processes do together; where it fails this one goes on alone."""
        self.containment.run(RANKS, function, *args, **kwargs)
        if self.ranks is not None and self.containment.off(RANKS):
            self.containment.run("leaving the processes", self.ranks.leave)

    def _say_of_ranks(self, name: str, message: str) -> None:
        self.event(name, message, subject=RANKS)

    def _say_not_finite(self, subject: str, step: int) -> None:
        if subject not in self._not_finite:
            self._not_finite.add(subject)
            if subject.startswith("loss/") and self.first_bad_step is None:
                self.first_bad_step = step
            self.event("not_finite", f"{subject} is not finite at step {step}", subject=subject, step=step)

    def _journal_error(self, probe: str, message: str) -> None:
        self.event("error", message, subject=probe)
