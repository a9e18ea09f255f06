"""Which measure makes which reading: from a sample of pairs to named scalars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from .. import measures


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
    similarity: Literal["euclidean", "cosine", "dot"]

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
    "delta/norm": lambda s: measures.mean_norm(_delta(s)),
    "delta/alpha": lambda s: s.query.new_zeros(()) if s.alpha is None else s.alpha.reshape(()),
    "delta/correction_mean_abs": lambda s: measures.mean_abs(s.correction),
    "delta/correction_max_abs": lambda s: measures.max_abs(s.correction),
    "delta/correction_over_query": lambda s: measures.relative_size(s.correction, s.query),
    "delta/correction_over_residual": lambda s: measures.relative_size(s.correction, s.document - s.query),
    "delta/identity_gain": lambda s: measures.identity_gain(s.query, s.correction, s.document),
    "delta/cosine_above_chance": lambda s: measures.alignment_above_chance(_delta(s), s.query, s.document),
    "delta/constancy": lambda s: measures.constancy(_delta(s)),
    "delta/tanh_saturation": lambda s: measures.saturation(_delta(s)),
}
"""Readings of the tap ``delta``."""

PAIR_READINGS: dict[str, Callable[[Sample], Tensor]] = {
    "pairs/distance_mean": lambda s: measures.pair_distance(s.query, s.document).mean(),
    "pairs/cosine_mean": lambda s: measures.pair_cosine(s.query, s.document).mean(),
    "pairs/distance_random_mean": lambda s: measures.pair_distance(s.query, mismatched(s.document)).mean(),
    "pairs/cosine_random_mean": lambda s: measures.pair_cosine(s.query, mismatched(s.document)).mean(),
    "pairs/margin": lambda s: measures.in_batch_margin(s.query, s.document, similarity=s.similarity),
    "pairs/accuracy": lambda s: measures.in_batch_accuracy(s.query, s.document, similarity=s.similarity),
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


def mismatched(documents: Tensor) -> Tensor:
    """Return the documents shifted by half of their number: every query meets another's document.

    The same pairs every time, so that two epochs are compared on the same mismatches.
    """
    return documents.roll(max(1, len(documents) // 2), dims=0)


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
    z = embeddings.float()
    n, dimension = z.shape
    covariance = measures.covariance(z)
    corrected = measures.participation_ratio_corrected(covariance, n=n)
    singular = _singular_values(covariance, n=n)
    values = {
        "norm_mean": measures.norm_mean(z),
        "norm_spread": measures.norm_spread(z),
        "std_mean": measures.std_mean(z),
        "std_min": measures.std_min(z),
        "mean_cosine": measures.mean_cosine(z),
        "participation_ratio": corrected,
        "participation_ratio_uncentred": measures.participation_ratio_uncentred(z),
        "effective_rank": measures.effective_rank_of_spectrum(singular),
        "isoscore": ((corrected - 1) / max(dimension - 1, 1)).clamp(min=0),
        "grand_mean_fraction": measures.grand_mean_fraction(z),
        "dead_dimensions": measures.dead_dimensions(z),
        "uniformity": measures.uniformity(z),
    }
    return values, singular


def _singular_values(covariance: Tensor, *, n: int) -> Tensor:
    """Return the centred sample's singular values from its covariance, min(n, D) of them, descending.

    In float64: an eigenvalue below 1e-16 of the largest is rounding, and so is the square root of one. NaN for a
    covariance that is not finite, which the solver would refuse.
    """
    if not torch.isfinite(covariance).all():
        return torch.full((min(n, len(covariance)),), torch.nan, dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh(covariance.double()).flip(0).clamp(min=0)
    return (eigenvalues[: min(n, len(eigenvalues))] * (n - 1)).sqrt()


def scalars(readings: Mapping[str, Tensor]) -> dict[str, float]:
    """Return readings as floats; one wait for the device for all of them."""
    if not readings:
        return {}
    stacked = torch.stack([value.double().reshape(()) for value in readings.values()])
    return dict(zip(readings, stacked.tolist(), strict=True))
