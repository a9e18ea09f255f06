"""Scale, mean and dead dimensions: the only family that sees scale collapse."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._checks import centred_squares, matrix, nan_from, norm, ratio, row_norms, scatter_trace, widened
from ._shared import shared

__all__ = [
    "common_share",
    "dead_dimensions",
    "dimension_std",
    "finite_share",
    "grand_mean_fraction",
    "norm_mean",
    "norm_median",
    "norm_spread",
    "scale_drift",
    "spread",
    "std_mean",
    "std_min",
]

SCALE_FLOOR = -38.0
"""What :func:`scale_drift` returns for a norm of 0: about the smallest positive float32."""


def norm_mean(z: Tensor) -> Tensor:
    """Return the mean L2 norm of the rows, in embedding units.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar of at least 0; towards 0 at scale collapse, which no rank or cosine shows.

    Raises:
        ValueError: not ``[N, D]``.

    >>> norm_mean(torch.tensor([[3.0, 4.0]])).item()
    5.0
    """
    return row_norms(matrix("norm_mean", z)).mean()


def norm_median(z: Tensor) -> Tensor:
    """Return the median L2 norm of the rows, in embedding units; the lower one of two in the middle.

    One exploded row moves the mean and not this.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> norm_median(torch.tensor([[1.0], [2.0], [1e9]])).item()
    2.0
    """
    return row_norms(matrix("norm_median", z)).median()


def norm_spread(z: Tensor) -> Tensor:
    """Return the coefficient of variation of the row norms (population standard deviation over mean).

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar of at least 0; 0 for unit vectors, and where all norms are 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> norm_spread(torch.tensor([[1.0], [3.0]])).item()
    0.5
    """
    norms = row_norms(matrix("norm_spread", z))
    return ratio(norms.std(correction=0), norms.mean())


@shared
def dimension_std(z: Tensor) -> Tensor:
    """Return the standard deviation of every dimension (divided by N - 1), in embedding units.

    Args:
        z: ``[N, D]``.

    Returns:
        ``[D]``; zeros for one row, and exactly 0 where a dimension does not vary.

    Raises:
        ValueError: not ``[N, D]``.

    >>> dimension_std(torch.tensor([[1.0, 5.0], [-1.0, 5.0]]))[1].item()
    0.0
    """
    z = matrix("dimension_std", z)
    return (centred_squares(z).sum(dim=0) / max(len(z) - 1, 1)).sqrt().to(z.dtype)


def spread(z: Tensor) -> Tensor:
    """Return tr(C) / D, the variance about the mean a dimension, in squared embedding units.

    A norm that holds while this dies is a cone: the squared norm is D times this plus the mean's.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar of at least 0; exactly 0 at total collapse, and for one row.

    Raises:
        ValueError: not ``[N, D]``.

    >>> spread(torch.tensor([[1.0, 5.0], [-1.0, 5.0]])).item()
    1.0
    """
    z = matrix("spread", z)
    return scatter_trace(z) / (max(len(z) - 1, 1) * z.shape[1])


def common_share(z: Tensor) -> Tensor:
    """Return ||mean||^2 / mean ||z||^2, the share of the squared norm that all rows have in common.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar in ``[0, 1]``: 1 where all rows are equal, about 1 / N where they have nothing in common; 0 where
        all are 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> round(common_share(torch.ones(5, 3)).item(), 6), common_share(torch.tensor([[1.0], [-1.0]])).item()
    (1.0, 0.0)
    """
    z = matrix("common_share", z)
    return (ratio(norm(z.mean(dim=0)), norm(z)).square() * len(z)).clamp(max=1.0)


def std_mean(z: Tensor) -> Tensor:
    """Return the mean over dimensions of their standard deviation, in embedding units.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar of at least 0; a unit-norm isotropic encoder has about 1 / sqrt(D), N(0, I) has 1.

    Raises:
        ValueError: not ``[N, D]``.

    >>> std_mean(torch.ones(4, 3)).item()
    0.0
    """
    return dimension_std(z).mean()


def std_min(z: Tensor) -> Tensor:
    """Return the smallest standard deviation of a dimension, in embedding units.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> std_min(torch.tensor([[1.0, 5.0], [-1.0, 5.0]])).item()
    0.0
    """
    return dimension_std(z).min()


def scale_drift(norm: Tensor, reference: Tensor) -> Tensor:
    """Return log10(norm / reference): 0 is no drift, -1 a tenth of the reference.

    Args:
        norm: A scalar of at least 0.
        reference: A scalar of at least 0, of step 0 or of the raw encoder on the same texts.

    Returns:
        A scalar; -38 for a norm of 0, and 0 where the reference is 0.

    >>> round(scale_drift(torch.tensor(0.1), torch.tensor(1.0)).item(), 6)
    -1.0
    """
    share = ratio(widened(norm), widened(reference))
    floored = share.clamp(min=10.0**SCALE_FLOOR).log() / math.log(10)
    return torch.where(reference == 0, torch.zeros_like(floored), floored)


def grand_mean_fraction(z: Tensor) -> Tensor:
    """Return the share of the mean embedding that lies along the all-ones vector, |<m, 1>| / (||m|| sqrt D).

    Detects the drift to z = c * 1, which the founding isotropy term leaves free. A mean of norm near zero
    makes it meaningless: read the mean cosine beside it.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar in ``[0, 1]``; 0 where the mean is 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> round(grand_mean_fraction(torch.full((5, 4), 0.3)).item(), 6)
    1.0
    """
    mean = matrix("grand_mean_fraction", z).mean(dim=0)
    return ratio(mean.sum().abs(), norm(mean) * math.sqrt(len(mean))).clamp(max=1.0)


def dead_dimensions(z: Tensor) -> Tensor:
    """Return the share of dimensions with a standard deviation below 1 % of the median of those alive.

    Alive is above a millionth of the largest: the plain median dies with every second dimension. Own definition.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar in ``[0, 1]``; 1 where no dimension varies (total collapse).

    Raises:
        ValueError: not ``[N, D]``.

    >>> dead_dimensions(torch.tensor([[1.0, 5.0, 5.0], [-1.0, 5.0, 5.0]])).item() > 0.6
    True
    """
    return dead_share(dimension_std(z))


def dead_share(std: Tensor) -> Tensor:
    """Return what :func:`dead_dimensions` does from the deviations ``[D]``."""
    largest = std.max()
    alive = torch.where(std > 1e-6 * largest, std, torch.full_like(std, torch.nan)).nanmedian()
    dead = torch.where(largest > 0, std < 0.01 * alive, torch.ones_like(std, dtype=torch.bool))
    return nan_from(std, dead.to(std.dtype).mean())


def finite_share(values: Tensor) -> Tensor:
    """Return the share of entries that are neither NaN nor infinite.

    Args:
        values: Any shape.

    Returns:
        A scalar in ``[0, 1]``; 1 where there is no entry.

    >>> finite_share(torch.tensor([1.0, float("nan")])).item()
    0.5
    """
    if not values.numel():
        return torch.ones((), device=values.device)
    if values.is_floating_point():  # a fraction of the time of isfinite, and the same
        return (values.numel() - (values * 0).count_nonzero()) / values.numel()
    return torch.isfinite(values).float().mean()
