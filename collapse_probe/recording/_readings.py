"""Which measure makes which reading: from a sample of pairs to named scalars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .. import measures
from ..journal.vocabulary import Role, Similarity, modern_reading, reading_name
from ._names import EMBEDDING_MEASURES


@dataclass(frozen=True)
class Sample:
    """What the model made of some pairs; tensors are float32 ``[N, D]`` on one device.

    Attributes:
        query: Query embeddings before any predictor.
        document: Document embeddings, row by row the queries' positives.
        delta: delta(q); None without a residual predictor.
        alpha: Alpha, a scalar tensor; None without a residual predictor.
        similarity: How the recipe scores.
    """

    query: Tensor
    document: Tensor
    delta: Tensor | None
    alpha: Tensor | None
    similarity: Similarity

    @cached_property
    def correction(self) -> Tensor:
        """alpha * delta, ``[N, D]``; zeros without a residual predictor."""
        if self.delta is None or self.alpha is None:
            return torch.zeros_like(self.query)
        return self.alpha * self.delta


def _delta(sample: Sample) -> Tensor:
    if sample.delta is None or sample.alpha is None:
        raise ValueError("residual readings need a sample of a residual predictor")
    return sample.delta


RESIDUAL_READINGS: dict[str, Callable[[Sample], Tensor]] = {
    "delta/mean_abs": lambda s: measures.mean_abs(_delta(s)),
    "delta/max_abs": lambda s: measures.max_abs(_delta(s)),
    "delta/norm": lambda s: measures.norm_mean(_delta(s)),
    "delta/alpha": lambda s: s.query.new_zeros(()) if s.alpha is None else measures.value(s.alpha),
    "delta/correction_mean_abs": lambda s: measures.correction_mean_abs(s.correction),
    "delta/correction_max_abs": lambda s: measures.correction_max_abs(s.correction),
    "delta/correction_over_query": lambda s: measures.correction_over_query(s.correction, s.query),
    "delta/correction_over_residual": lambda s: measures.correction_over_residual(s.correction, s.query, s.document),
    "delta/identity_gain": lambda s: measures.identity_gain(s.correction, s.query, s.document),
    "delta/cosine_above_chance": lambda s: measures.alignment_above_chance(_delta(s), s.query, s.document),
    "delta/constancy": lambda s: measures.constancy(_delta(s)),
    "delta/tanh_saturation": lambda s: measures.saturation(_delta(s)),
}
"""Readings of the tap ``delta``."""

PAIR_READINGS: dict[str, Callable[[Sample], Tensor]] = {
    "pairs/distance_mean": lambda s: measures.distance_mean(s.query, s.document),
    "pairs/cosine_mean": lambda s: measures.cosine_mean(s.query, s.document),
    "pairs/distance_random_mean": lambda s: measures.distance_random_mean(s.query, s.document),
    "pairs/cosine_random_mean": lambda s: measures.cosine_random_mean(s.query, s.document),
    "pairs/margin": lambda s: measures.margin(s.query, s.document, similarity=s.similarity),
    "pairs/accuracy": lambda s: measures.accuracy(s.query, s.document, similarity=s.similarity),
}
"""Readings of the pairs."""

IN_BATCH = ("pairs/margin", "pairs/accuracy")
"""Readings of the pairs that are taken on training batches; the others are of the fixed probe set."""

SUMMARISED = (
    "delta/mean_abs",
    "delta/max_abs",
    "delta/norm",
    "delta/alpha",
    "delta/correction_mean_abs",
    "delta/correction_max_abs",
)
"""Cheap residual readings that are taken on every step, for the summaries of an epoch."""


DELTA_BINS = {"low": 1e-8, "high": 10.0, "bins": 90}
"""Log-spaced bins of |delta|: ten a decade."""


def dtype_name(tensor: Tensor) -> str:
    """Return an element type as the journal names it, such as ``bfloat16``."""
    return str(tensor.dtype).removeprefix("torch.")


def embedding_readings(embeddings: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return every embedding measure of one sample, and its singular values.

    The covariance and the spectrum are computed once for all of them. The participation ratio and the
    IsoScore are of the finite-sample corrected, centred covariance; their uncentred partner stands beside
    them. They are comparable between samples of the same texts only.

    Args:
        embeddings: ``[N, D]``.

    Returns:
        Measure name to scalar, and the centred sample's singular values, descending.
    """
    sample = measures.Sample(streams={"query": embeddings.float()}, roles={"query": Role.query})
    modern = {measure: modern_reading(reading_name("query", measure))[0] for measure in EMBEDDING_MEASURES}
    values = measures.read(sample, on="reference", wanted=modern.values())
    singular = measures.singular_values(sample, "query")
    if singular is None:
        raise ValueError(f"embeddings need [N, D], got {tuple(embeddings.shape)}")
    return {measure: values[name] for measure, name in modern.items()}, singular


def scalars(readings: Mapping[str, Tensor]) -> dict[str, float]:
    """Return readings as floats; one wait for the device for all of them."""
    if not readings:
        return {}
    stacked = torch.stack([value.double().reshape(()) for value in readings.values()])
    return dict(zip(readings, stacked.tolist(), strict=True))
