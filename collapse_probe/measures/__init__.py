"""Measures: plain functions from tensors to numbers. No hooks, no state, no input or output.

None of them waits for a device: what comes back is a tensor on the input's device. Only those that decompose
a matrix (`singular_values`, `effective_rank`, `stable_rank`) may wait inside the solver: not for training steps.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ._angles import mean_cosine, uniformity
from ._equilibrium import explained_residual, penalty_ratio, ridge_correction, shrinkage
from ._pairs import in_batch_accuracy, in_batch_margin, pair_cosine, pair_distance
from ._residual import (
    alignment_above_chance,
    constancy,
    identity_gain,
    max_abs,
    mean_abs,
    mean_norm,
    relative_size,
    saturation,
)
from ._scale import (
    dead_dimensions,
    dimension_std,
    finite_share,
    grand_mean_fraction,
    mean_vector,
    norm_mean,
    norm_spread,
    rms,
    scale_drift,
    std_mean,
    std_min,
)
from ._spectrum import (
    covariance,
    effective_rank,
    effective_rank_of_spectrum,
    isoscore,
    participation_ratio,
    participation_ratio_corrected,
    participation_ratio_uncentred,
    singular_values,
    stable_rank,
    total_variance,
)

MEASURES: dict[str, Callable[..., Tensor]] = {
    measure.__name__: measure
    for measure in (
        alignment_above_chance,
        constancy,
        covariance,
        dead_dimensions,
        dimension_std,
        effective_rank,
        effective_rank_of_spectrum,
        finite_share,
        grand_mean_fraction,
        identity_gain,
        in_batch_accuracy,
        in_batch_margin,
        isoscore,
        max_abs,
        mean_abs,
        mean_cosine,
        mean_norm,
        mean_vector,
        norm_mean,
        norm_spread,
        pair_cosine,
        pair_distance,
        participation_ratio,
        participation_ratio_corrected,
        participation_ratio_uncentred,
        relative_size,
        rms,
        saturation,
        scale_drift,
        singular_values,
        stable_rank,
        std_mean,
        std_min,
        total_variance,
        uniformity,
    )
}
"""Every measure of embeddings by its name; what :mod:`_equilibrium` forecasts of a training run is none."""

__all__ = [
    "MEASURES",
    "alignment_above_chance",
    "constancy",
    "covariance",
    "dead_dimensions",
    "dimension_std",
    "effective_rank",
    "effective_rank_of_spectrum",
    "explained_residual",
    "finite_share",
    "grand_mean_fraction",
    "identity_gain",
    "in_batch_accuracy",
    "in_batch_margin",
    "isoscore",
    "max_abs",
    "mean_abs",
    "mean_cosine",
    "mean_norm",
    "mean_vector",
    "norm_mean",
    "norm_spread",
    "pair_cosine",
    "pair_distance",
    "participation_ratio",
    "participation_ratio_corrected",
    "participation_ratio_uncentred",
    "penalty_ratio",
    "relative_size",
    "ridge_correction",
    "rms",
    "saturation",
    "scale_drift",
    "shrinkage",
    "singular_values",
    "stable_rank",
    "std_mean",
    "std_min",
    "total_variance",
    "uniformity",
]
