"""The recorder: what the taps keep on training steps becomes readings in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from ..journal import FoundingWriter
from ._accumulators import LogHistogram
from ._coverage import Coverage
from ._declarations import Probe
from ._founding_taps import FoundingTap, OpenTaps
from ._readings import DELTA_BINS, IN_BATCH, PAIR_READINGS, RESIDUAL_READINGS, SUMMARISED, Sample, dtype_name
from ._running import RunningValues
from ._schedule import any_due

_FLUSH_AT = {"cpu": 16, "cuda": 256}
"""Scheduled readings that are gathered before they are copied out, which waits for a GPU."""


@dataclass(frozen=True)
class _Pending:
    """Readings of one step that still lie on the device."""

    step: int
    epoch: int
    names: tuple[str, ...]
    values: Tensor
    n: int
    dimension: int
    dtype: str


class FoundingRecorder:
    """Turns what taps keep on training steps into readings, histograms and coverage.

    It observes: hooks are open inside its ``with`` block only, it draws no random number, and on a training
    step it waits for no device. Readings are gathered on the device and copied out some steps later, so a
    kill loses the last few of them. Steps are counted from 0: a reading of step s was taken when s optimiser
    steps had been done; ``epoch`` counts from 1.

    The taps leave under these names: ``query``, ``document`` (``[N, D]``), ``delta``, ``alpha`` where there is
    a residual predictor, and ``loss/NAME`` for every raw term, ``loss/NAME_weighted`` and ``loss/total``.

    Args:
        journal: Where records go.
        probes: The declarations that say what is recorded.
        taps: What to listen to.
        similarity: How the recipe scores.
    """

    def __init__(
        self, journal: FoundingWriter, *, probes: Sequence[Probe], taps: Sequence[FoundingTap], similarity: Any
    ) -> None:
        self._journal = journal
        self._probes = tuple(probes)
        self._open_taps = OpenTaps(taps)
        self._similarity = similarity
        self._wanted = {name for probe in probes for name in probe.readings}
        self._wants_histogram = any("delta/abs" in probe.histograms for probe in probes)
        self._wants_coverage = any(probe.name == "coverage" for probe in probes)
        self._pending: list[_Pending] = []
        self._first_bad: Tensor | None = None
        self._start_epoch()

    def __enter__(self) -> Self:
        self._open_taps.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_taps.close()
        self.flush()

    def after_step(self, *, step: int, epoch: int, gradient_norm: Tensor | None = None) -> None:
        """Record one training step from what the taps kept; waits for no device.

        Args:
            step: Optimiser steps done before this one.
            epoch: The step's epoch, from 1.
            gradient_norm: Total gradient norm before clipping, a scalar tensor.
        """
        kept = dict(self._open_taps.kept)
        self._open_taps.kept.clear()
        losses = {name: value.reshape(()).double() for name, value in kept.items() if name.startswith("loss/")}
        if gradient_norm is not None:
            losses["loss/gradient_norm"] = gradient_norm.detach().reshape(()).double()
        sample = self._sample(kept)
        summarised = self._summarised(sample)
        self._watch_finite(losses.get("loss/total"), step)
        self._summarise(losses, summarised, kept)
        if any_due((probe.schedule for probe in self._probes), step):
            self._record_due(losses, summarised, sample, kept, step=step, epoch=epoch)
        if self._pending and len(self._pending) >= _FLUSH_AT.get(self._pending[-1].values.device.type, 16):
            self.flush()

    def first_bad_step(self) -> int | None:
        """Return the first step whose total loss was not finite, or None; waits for the device."""
        if self._first_bad is None:
            return None
        step = int(self._first_bad)
        return None if step < 0 else step

    def flush(self) -> None:
        """Copy what lies on the device into the journal."""
        pending, self._pending = self._pending, []
        for entry in pending:
            values = dict(zip(entry.names, entry.values.tolist(), strict=True))
            where = {"step": entry.step, "epoch": entry.epoch}
            self._journal.readings(values, **where, n=entry.n, dimension=entry.dimension, dtype=entry.dtype)

    def end_epoch(self, *, step: int, epoch: int) -> None:
        """Write the epoch's summaries, its histogram of delta and the coverage, and start anew.

        Args:
            step: Optimiser steps done.
            epoch: The epoch that ended, from 1.
        """
        self.flush()
        self._write_summary(self._loss_summary, step=step, epoch=epoch, dimension=1, dtype="float32")
        self._write_summary(
            self._delta_summary, step=step, epoch=epoch, dimension=self._dimension, dtype=self._delta_dtype
        )
        if self._histogram_rows:
            where = {"name": "delta/abs", "step": step, "epoch": epoch}
            sample = {"n": self._histogram_rows, "dimension": self._dimension}
            self._journal.append("histogram", {**where, **self._histogram.as_dict(), **sample})
        if self._wants_coverage:
            for record in self._coverage.records(self._open_taps.calls):
                self._journal.append("coverage", {**record, "step": step, "epoch": epoch})
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._loss_summary = RunningValues()
        self._delta_summary = RunningValues()
        self._histogram = LogHistogram(**DELTA_BINS)
        self._histogram_rows = 0
        self._coverage = Coverage()
        self._dimension = 1
        self._delta_dtype = "float32"
        self._open_taps.reset_calls()

    def _watch_finite(self, total: Tensor | None, step: int) -> None:
        if total is None:
            return
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, dtype=torch.long, device=total.device)
        now = torch.full_like(self._first_bad, step)
        new = ~torch.isfinite(total) & (self._first_bad < 0)
        self._first_bad = torch.where(new, now, self._first_bad)

    def _sample(self, kept: Mapping[str, Tensor]) -> Sample | None:
        if "query" not in kept or "document" not in kept:
            return None
        delta = kept.get("delta")
        return Sample(
            query=kept["query"].float(),
            document=kept["document"].float(),
            delta=None if delta is None else delta.float(),
            alpha=kept.get("alpha"),
            similarity=self._similarity,
        )

    def _summarised(self, sample: Sample | None) -> dict[str, Tensor]:
        if sample is None or sample.delta is None:
            return {}
        names = [name for name in SUMMARISED if name in self._wanted]
        return {name: RESIDUAL_READINGS[name](sample).double() for name in names}

    def _summarise(
        self, losses: Mapping[str, Tensor], summarised: Mapping[str, Tensor], kept: Mapping[str, Tensor]
    ) -> None:
        rows = len(kept["query"]) if "query" in kept else 1
        if losses:
            self._loss_summary.update(tuple(losses), torch.stack(list(losses.values())), n=rows)
        if summarised:
            self._delta_summary.update(tuple(summarised), torch.stack(list(summarised.values())), n=rows)
            self._dimension = kept["delta"].shape[1]
            self._delta_dtype = dtype_name(kept["delta"])

    def _record_due(
        self,
        losses: Mapping[str, Tensor],
        summarised: Mapping[str, Tensor],
        sample: Sample | None,
        kept: Mapping[str, Tensor],
        *,
        step: int,
        epoch: int,
    ) -> None:
        due = {name for probe in self._probes if probe.schedule(step) for name in probe.readings}
        rows = len(kept["query"]) if "query" in kept else 1
        found = {name: value for name, value in losses.items() if name in due}
        self._remember(found, step=step, epoch=epoch, n=rows, dimension=1, dtype="float32")
        if self._wants_coverage:
            self._coverage.watch(kept)
        if sample is None:
            return
        readings = {name: PAIR_READINGS[name](sample) for name in IN_BATCH if name in due}
        if sample.delta is not None:
            residual = {name: read for name, read in RESIDUAL_READINGS.items() if name in due}
            readings |= {
                name: summarised[name] if name in summarised else read(sample) for name, read in residual.items()
            }
        stream = kept.get("delta", kept["query"])
        n, dimension = sample.query.shape
        self._remember(readings, step=step, epoch=epoch, n=n, dimension=dimension, dtype=dtype_name(stream))
        if sample.delta is not None and self._wants_histogram:
            self._histogram.update(sample.delta)
            self._histogram_rows += n
            self._dimension = dimension

    def _remember(
        self, readings: Mapping[str, Tensor], *, step: int, epoch: int, n: int, dimension: int, dtype: str
    ) -> None:
        if readings:
            values = torch.stack([value.double().reshape(()) for value in readings.values()])
            self._pending.append(_Pending(step, epoch, tuple(readings), values, n, dimension, dtype))

    def _write_summary(self, running: RunningValues, *, step: int, epoch: int, dimension: int, dtype: str) -> None:
        values = {f"{name}.{part}": v for name, parts in running.summary().items() for part, v in parts.items()}
        self._journal.readings(values, step=step, epoch=epoch, n=running.rows, dimension=dimension, dtype=dtype)
