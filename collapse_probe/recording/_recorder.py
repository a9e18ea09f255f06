"""The recorder: what the taps keep becomes readings in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from .. import measures
from ..journal import JournalWriter
from ._accumulators import LinearHistogram, LogHistogram
from ._declarations import Probe
from ._names import EMBEDDING_MEASURES
from ._readings import (
    IN_BATCH,
    PAIR_READINGS,
    RESIDUAL_READINGS,
    SUMMARISED,
    Sample,
    embedding_readings,
    mismatched,
    scalars,
)
from ._running import RunningValues
from ._taps import OpenTaps, Tap

DELTA_BINS = {"low": 1e-8, "high": 10.0, "bins": 90}
"""Log-spaced bins of |delta|: ten a decade."""

_STREAMS = {"query": "embeddings", "document": "embeddings", "delta": "delta", "loss/total": "loss"}
"""What coverage looks at, and the tap that it comes from; the tap of the embeddings fires once for each of two."""

_FLUSH_AT = 16


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


class Recorder:
    """Turns taps into readings, histograms, spectra and coverage.

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
        reference_norms: Mean norms at step 0 (``query``, ``document``) and of the raw encoder (``raw_query``,
            ``raw_document``), of an earlier part of a resumed run.
    """

    def __init__(
        self,
        journal: JournalWriter,
        *,
        probes: Sequence[Probe],
        taps: Sequence[Tap],
        similarity: Any,
        reference_norms: Mapping[str, float] | None = None,
    ) -> None:
        self._journal = journal
        self._probes = tuple(probes)
        self._open_taps = OpenTaps(taps)
        self._similarity = similarity
        self._reference_norms = dict(reference_norms or {})
        self._wanted = {name for probe in probes for name in probe.readings}
        self._wanted_histograms = {name for probe in probes for name in probe.histograms}
        self._watches_coverage = any(probe.name == "coverage" for probe in probes)
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
        losses = {name: value.double() for name, value in kept.items() if name.startswith("loss/")}
        if gradient_norm is not None:
            losses["loss/gradient_norm"] = gradient_norm.detach().double()
        self._watch_finite(losses.get("loss/total"), step)
        sample = self._sample(kept)
        summarised = self._summarised(sample)
        self._record_losses(losses, kept, step=step, epoch=epoch)
        if summarised and sample is not None:
            names = tuple(summarised)
            self._delta_summary.update(names, torch.stack(list(summarised.values())), n=len(sample.query))
        if sample is not None:
            self._record_sample(sample, kept, already=summarised, step=step, epoch=epoch)
        if len(self._pending) >= _FLUSH_AT and (self._pending[-1].values.device.type == "cpu" or self._overdue):
            self.flush()

    @property
    def _overdue(self) -> bool:
        return len(self._pending) >= 16 * _FLUSH_AT

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
            self._journal.readings(
                values,
                step=entry.step,
                epoch=entry.epoch,
                n=entry.n,
                dimension=entry.dimension,
                dtype=entry.dtype,
            )

    def end_epoch(self, *, step: int, epoch: int) -> None:
        """Write the epoch's summaries, its histogram of delta and the coverage, and start anew.

        Args:
            step: Optimiser steps done.
            epoch: The epoch that ended, from 1.
        """
        self.flush()
        for running, dimension in ((self._loss_summary, 1), (self._delta_summary, self._dimension)):
            values = {
                f"{name}.{part}": value for name, parts in running.summary().items() for part, value in parts.items()
            }
            self._journal.readings(
                values, step=step, epoch=epoch, n=running.rows, dimension=dimension, dtype=self._dtype
            )
        if self._delta_histogram_rows:
            rows = self._delta_histogram_rows
            self._write_histogram("delta/abs", self._delta_histogram, step=step, epoch=epoch, n=rows)
        self._write_coverage(step=step, epoch=epoch)
        self._start_epoch()

    def snapshot_raw(self, *, query: Tensor, document: Tensor) -> None:
        """Record the raw encoder's embeddings of the probe set, as the reference of every epoch."""
        for tap, embeddings in (("raw_query", query), ("raw_document", document)):
            self._snapshot_embeddings(tap, embeddings, step=0, epoch=0)

    def snapshot(self, sample: Sample, *, step: int, epoch: int) -> None:
        """Record a fixed probe set: spectra, scale and drift, pair distances, and delta before training.

        Args:
            sample: The probe set through the model in evaluation mode.
            step: Optimiser steps done.
            epoch: Epochs done; 0 before training.
        """
        for tap, embeddings in (("query", sample.query), ("document", sample.document)):
            self._snapshot_embeddings(tap, embeddings, step=step, epoch=epoch)
        # In-batch readings are of a batch: over the whole set their n would be another, and their cost its square.
        pairs = {name: read for name, read in PAIR_READINGS.items() if name not in IN_BATCH}
        readings = {name: read(sample) for name, read in pairs.items() if name in self._wanted}
        if sample.delta is not None:
            evaluated = {name.replace("delta/", "delta_eval/"): read for name, read in RESIDUAL_READINGS.items()}
            readings |= {name: read(sample) for name, read in evaluated.items() if name in self._wanted}
        self._write(scalars(readings), sample.query, step=step, epoch=epoch)
        self._snapshot_histograms(sample, step=step, epoch=epoch)

    def _start_epoch(self) -> None:
        self._loss_summary = RunningValues()
        self._delta_summary = RunningValues()
        self._delta_histogram = LogHistogram(**DELTA_BINS)
        self._delta_histogram_rows = 0
        self._finite: dict[str, tuple[Tensor, int, str]] = {}
        self._dimension = 1
        self._dtype = "float32"
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

    def _record_losses(
        self, losses: Mapping[str, Tensor], kept: Mapping[str, Tensor], *, step: int, epoch: int
    ) -> None:
        if not losses:
            return
        names = tuple(losses)
        values = torch.stack([value.reshape(()) for value in losses.values()])
        rows = len(kept["query"]) if "query" in kept else 1
        self._loss_summary.update(names, values, n=rows)
        self._dtype = "float32"
        wanted = [index for index, name in enumerate(names) if name in self._wanted]
        if wanted and any(probe.schedule(step) for probe in self._probes if "loss/total" in probe.readings):
            chosen = values if len(wanted) == len(names) else values[wanted]
            self._pending.append(
                _Pending(
                    step=step,
                    epoch=epoch,
                    names=tuple(names[i] for i in wanted),
                    values=chosen,
                    n=rows,
                    dimension=1,
                    dtype="float32",
                )
            )

    def _record_sample(
        self,
        sample: Sample,
        kept: Mapping[str, Tensor],
        *,
        already: Mapping[str, Tensor],
        step: int,
        epoch: int,
    ) -> None:
        self._dimension = sample.query.shape[1]
        due = {name for probe in self._probes if probe.schedule(step) for name in probe.readings}
        readings: dict[str, Tensor] = {}
        if sample.delta is not None:
            residual = [name for name in RESIDUAL_READINGS if name in due]
            readings |= {
                name: already[name] if name in already else RESIDUAL_READINGS[name](sample) for name in residual
            }
        readings |= {name: PAIR_READINGS[name](sample) for name in IN_BATCH if name in due}
        if not readings:
            return
        stream = kept["delta"] if "delta" in kept else kept["query"]
        self._pending.append(
            _Pending(
                step=step,
                epoch=epoch,
                names=tuple(readings),
                values=torch.stack([value.double().reshape(()) for value in readings.values()]),
                n=len(sample.query),
                dimension=self._dimension,
                dtype=_dtype_name(stream),
            )
        )
        if sample.delta is not None and "delta/abs" in self._wanted_histograms:
            self._delta_histogram.update(sample.delta)
            self._delta_histogram_rows += len(sample.delta)
        self._watch_coverage(kept)

    def _watch_coverage(self, kept: Mapping[str, Tensor]) -> None:
        if not self._watches_coverage:
            return
        for name in _STREAMS:
            if name in kept:
                tensor = kept[name].reshape(-1, kept[name].shape[-1]) if kept[name].ndim else kept[name].reshape(1, 1)
                finite, rows, _ = self._finite.get(name, (tensor.new_zeros((), dtype=torch.float64), 0, ""))
                share = measures.finite_share(tensor).double() * len(tensor)
                self._finite[name] = (finite + share, rows + len(tensor), _dtype_name(tensor))

    def _write_coverage(self, *, step: int, epoch: int) -> None:
        if not self._watches_coverage:
            return
        for stream, tap in _STREAMS.items():
            if tap not in self._open_taps.calls:
                continue
            finite, rows, dtype = self._finite.get(stream, (None, 0, "not seen"))
            share = None if finite is None else float(finite) / rows
            calls = self._open_taps.calls[tap]
            fields = {"tap": stream, "step": step, "epoch": epoch, "calls": calls, "dtype": dtype}
            self._journal.append("coverage", {**fields, "finite_share": share, "n": rows})

    def _snapshot_embeddings(self, tap: str, embeddings: Tensor, *, step: int, epoch: int) -> None:
        names = [f"{tap}/{measure}" for measure in EMBEDDING_MEASURES]
        if not any(name in self._wanted for name in names):
            return
        readings, singular = embedding_readings(embeddings)
        values = {f"{tap}/{measure}": value for measure, value in scalars(readings).items()}
        wanted = {name: value for name, value in values.items() if name in self._wanted}
        wanted |= self._drifts(tap, values[f"{tap}/norm_mean"], step=step)
        self._write(wanted, embeddings, step=step, epoch=epoch)
        spectrum = {
            "name": f"{tap}/singular_values",
            "step": step,
            "epoch": epoch,
            "values": singular.tolist(),
            "n": embeddings.shape[0],
            "dimension": embeddings.shape[1],
            "dtype": _dtype_name(embeddings),
        }
        if all(torch.isfinite(singular).tolist()):
            self._journal.append("spectrum", spectrum)

    def _drifts(self, tap: str, norm: float, *, step: int) -> dict[str, float]:
        if step == 0:
            self._reference_norms[tap] = norm
        references = {
            f"{tap}/scale_drift": self._reference_norms.get(tap),
            f"{tap}/scale_drift_raw": self._reference_norms.get(f"raw_{tap}"),
        }
        return {
            name: float(measures.scale_drift(torch.tensor(norm), torch.tensor(reference)))
            for name, reference in references.items()
            if reference is not None and name in self._wanted
        }

    def _snapshot_histograms(self, sample: Sample, *, step: int, epoch: int) -> None:
        if epoch == 0 and sample.delta is not None and "delta/abs" in self._wanted_histograms:
            untrained = LogHistogram(**DELTA_BINS)
            untrained.update(sample.delta)
            rows, dimension = sample.delta.shape
            self._write_histogram("delta/abs", untrained, step=step, epoch=epoch, n=rows, dimension=dimension)
        other = mismatched(sample.document)
        for suffix, documents in (("", sample.document), ("_random", other)):
            distances = measures.pair_distance(sample.query, documents)
            cosines = measures.pair_cosine(sample.query, documents)
            for name, values in (("distance", distances), ("cosine", cosines)):
                full = f"pairs/{name}{suffix}"
                if full not in self._wanted_histograms:
                    continue
                low, high = (-1.0, 1.0) if name == "cosine" else (0.0, max(float(distances.max()) * 1.001, 1e-30))
                if not torch.isfinite(torch.tensor([low, high])).all():
                    continue
                histogram = LinearHistogram(low=low, high=high, bins=60)
                histogram.update(values)
                self._write_histogram(full, histogram, step=step, epoch=epoch, n=len(values), dimension=1)

    def _write_histogram(
        self,
        name: str,
        histogram: LogHistogram | LinearHistogram,
        *,
        step: int,
        epoch: int,
        n: int,
        dimension: int | None = None,
    ) -> None:
        below, *counts, above = histogram.counts().tolist()
        record = {"name": name, "step": step, "epoch": epoch, "edges": histogram.edges.tolist(), "counts": counts}
        sample = {"below": below, "above": above, "n": n, "dimension": dimension or self._dimension}
        self._journal.append("histogram", {**record, **sample})

    def _write(self, values: Mapping[str, float], sample: Tensor, *, step: int, epoch: int) -> None:
        n, dimension = sample.shape
        dtype = _dtype_name(sample)
        self._journal.readings(dict(values), step=step, epoch=epoch, n=n, dimension=dimension, dtype=dtype)


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
