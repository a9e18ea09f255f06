"""Snapshots: the fixed probe set's spectra, scale and distances, before training and after every epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .. import measures
from ..journal import FoundingWriter
from ._accumulators import LinearHistogram, LogHistogram
from ._declarations import Probe
from ._names import EMBEDDING_MEASURES
from ._readings import (
    DELTA_BINS,
    IN_BATCH,
    PAIR_READINGS,
    RESIDUAL_READINGS,
    Sample,
    dtype_name,
    embedding_readings,
    scalars,
)


class Snapshots:
    """Records a fixed set of pairs, always the same ones, through the model in evaluation mode.

    Spectral readings come from here and never from a training batch: a rank of 64 rows says more about their
    number than about the model.

    Args:
        journal: Where records go.
        probes: The declarations that say what is recorded.
        reference_norms: Mean norms at step 0 (``query``, ``document``) and of the raw encoder (``raw_query``,
            ``raw_document``), of an earlier part of a resumed run.
    """

    def __init__(
        self,
        journal: FoundingWriter,
        *,
        probes: Sequence[Probe],
        reference_norms: Mapping[str, float] | None = None,
    ) -> None:
        self._journal = journal
        self._reference_norms = dict(reference_norms or {})
        self._wanted = {name for probe in probes for name in probe.readings}
        self._wanted_histograms = {name for probe in probes for name in probe.histograms}

    def record_raw(self, *, query: Tensor, document: Tensor) -> None:
        """Record the raw encoder's embeddings, ``[N, D]`` each, as the reference of every epoch."""
        for tap, embeddings in (("raw_query", query), ("raw_document", document)):
            self._embeddings(tap, embeddings, step=0, epoch=0)

    def record(self, sample: Sample, *, step: int, epoch: int) -> None:
        """Record the set through the model.

        Args:
            sample: What the model made of the set in evaluation mode.
            step: Optimiser steps done.
            epoch: Epochs done; 0 before training.
        """
        for tap, embeddings in (("query", sample.query), ("document", sample.document)):
            self._embeddings(tap, embeddings, step=step, epoch=epoch)
        # In-batch readings are of a batch: over the whole set their n would be another, and their cost its square.
        readings = {name: read for name, read in PAIR_READINGS.items() if name not in IN_BATCH}
        if sample.delta is not None:
            readings |= {name.replace("delta/", "delta_eval/"): read for name, read in RESIDUAL_READINGS.items()}
        values = scalars({name: read(sample) for name, read in readings.items() if name in self._wanted})
        self._write(values, sample.query, step=step, epoch=epoch)
        if epoch == 0:
            self._untrained_delta(sample, step=step, epoch=epoch)
        for suffix, documents in (("", sample.document), ("_random", measures.mismatched(sample.document))):
            self._pair_histograms(sample.query, documents, suffix=suffix, step=step, epoch=epoch)

    def _embeddings(self, tap: str, embeddings: Tensor, *, step: int, epoch: int) -> None:
        if not any(f"{tap}/{measure}" in self._wanted for measure in EMBEDDING_MEASURES):
            return
        readings, singular = embedding_readings(embeddings)
        values = {f"{tap}/{measure}": value for measure, value in scalars(readings).items()}
        wanted = {name: value for name, value in values.items() if name in self._wanted}
        wanted |= self._drifts(tap, values[f"{tap}/norm_mean"], step=step)
        self._write(wanted, embeddings, step=step, epoch=epoch)
        spectrum = singular.tolist()
        if all(math.isfinite(value) for value in spectrum):
            n, dimension = embeddings.shape
            where = {"name": f"{tap}/singular_values", "step": step, "epoch": epoch, "values": spectrum}
            self._journal.append("spectrum", {**where, "n": n, "dimension": dimension, "dtype": dtype_name(embeddings)})

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

    def _untrained_delta(self, sample: Sample, *, step: int, epoch: int) -> None:
        if sample.delta is None or "delta/abs" not in self._wanted_histograms:
            return
        histogram = LogHistogram(**DELTA_BINS)
        histogram.update(sample.delta)
        n, dimension = sample.delta.shape
        where = {"name": "delta/abs", "step": step, "epoch": epoch}
        self._journal.append("histogram", {**where, **histogram.as_dict(), "n": n, "dimension": dimension})

    def _pair_histograms(self, query: Tensor, document: Tensor, *, suffix: str, step: int, epoch: int) -> None:
        distances = measures.pair_distance(query, document)
        farthest = max(float(distances.max()) * 1.001, 1e-30)
        if not math.isfinite(farthest):
            return
        kinds = {
            f"pairs/distance{suffix}": (distances, LinearHistogram(low=0.0, high=farthest, bins=60)),
            f"pairs/cosine{suffix}": (
                measures.pair_cosine(query, document),
                LinearHistogram(low=-1.0, high=1.0, bins=60),
            ),
        }
        for name, (values, histogram) in kinds.items():
            if name in self._wanted_histograms:
                histogram.update(values)
                where = {"name": name, "step": step, "epoch": epoch}
                self._journal.append("histogram", {**where, **histogram.as_dict(), "n": len(values), "dimension": 1})

    def _write(self, values: Mapping[str, float], sample: Tensor, *, step: int, epoch: int) -> None:
        n, dimension = sample.shape
        dtype = dtype_name(sample)
        self._journal.readings(values, step=step, epoch=epoch, n=n, dimension=dimension, dtype=dtype)
