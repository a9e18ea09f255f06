"""Rank and spectrum. All of these are blind to scale: read :mod:`_scale` beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import centred, matrix, ratio, square


def covariance(z: Tensor) -> Tensor:
    """Return the centred sample covariance, computed in float64.

    Centring comes before squaring: E[x^2] - E[x]^2 in float32 goes negative at mean/std = 1e4, and a
    collapsing encoder is exactly there.

    Args:
        z: ``[N, D]``.

    Returns:
        ``[D, D]``, float64; zeros for one row.

    Raises:
        ValueError: not ``[N, D]``.

    >>> covariance(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    rows = centred(matrix("covariance", z))
    return rows.T @ rows / max(len(rows) - 1, 1)


def total_variance(covariance: Tensor) -> Tensor:
    """Return tr(C), the variance summed over dimensions, in squared embedding units.

    Args:
        covariance: ``[D, D]``.

    Returns:
        A scalar of at least 0; 0 at total collapse.

    Raises:
        ValueError: not square.

    >>> total_variance(torch.eye(3)).item()
    3.0
    """
    return square("total_variance", covariance).trace()


def participation_ratio(covariance: Tensor) -> Tensor:
    """Return tr(C)^2 / ||C||_F^2, the Renyi-2 effective dimension (Bretherton et al. 1999).

    Biased low at small N: about N D / (N + D) at N(0, I). Use :func:`participation_ratio_corrected` where N
    is below 5 D, and never compare values at different N.

    Args:
        covariance: ``[D, D]``, symmetric.

    Returns:
        A scalar in ``[1, D]``; 0 where the covariance is all zero (total collapse, not an error).

    Raises:
        ValueError: not square.

    >>> participation_ratio(torch.eye(4)).item()
    4.0
    """
    c = _scaled(square("participation_ratio", covariance))
    return ratio(c.trace().square(), c.square().sum())


def participation_ratio_corrected(covariance: Tensor, *, n: int) -> Tensor:
    """Return the participation ratio with numerator and denominator corrected for N Gaussian samples.

    ``||C||_F^2`` is replaced by ``v^2 / ((v - 1)(v + 2)) (||C||_F^2 - tr(C)^2 / v)`` with v = N - 1, its
    unbiased estimate under normality (the trace-only correction of Srivastava 2005).

    Args:
        covariance: ``[D, D]``, centred sample covariance.
        n: Rows that it was computed from.

    Returns:
        A scalar in ``[1, D]`` (clamped); 0 at total collapse. The uncorrected value where N < 3.

    Raises:
        ValueError: not square.

    >>> z = torch.randn(128, 768, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> plain, corrected = participation_ratio(torch.cov(z.T)), participation_ratio_corrected(torch.cov(z.T), n=128)
    >>> 100 < plain < 120, 700 < corrected <= 768
    (tensor(True), tensor(True))
    """
    c = _scaled(square("participation_ratio_corrected", covariance))
    v = n - 1
    if v < 2:
        return participation_ratio(covariance)
    trace_squared = c.trace().square()
    frobenius = c.square().sum()
    unbiased = v**2 / ((v - 1) * (v + 2)) * (frobenius - trace_squared / v)
    # A sample cannot resolve more than D dimensions: an estimate at or below that floor is clamped to it.
    floor = trace_squared / c.shape[0]
    value = ratio(trace_squared, torch.maximum(unbiased, floor))
    return torch.where(trace_squared > 0, value.clamp(min=1.0), value)


def participation_ratio_uncentred(z: Tensor) -> Tensor:
    """Return the participation ratio of the uncentred second moment ``z^T z / N``, not corrected for N.

    Falls towards 1 where a common mean takes over, which the centred ratio does not see: read both.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar in ``[1, min(N, D)]``; 0 for all-zero embeddings.

    Raises:
        ValueError: not ``[N, D]``.

    >>> participation_ratio_uncentred(torch.ones(5, 3)).item()
    1.0
    """
    z = matrix("participation_ratio_uncentred", z).double()
    return participation_ratio(z.T @ z / len(z))


def isoscore(covariance: Tensor) -> Tensor:
    """Return IsoScore, which equals (PR - 1) / (D - 1) exactly (Rudman et al., Findings of ACL 2022).

    Args:
        covariance: ``[D, D]``.

    Returns:
        A scalar in ``[0, 1]``; 0 at total collapse and for D = 1.

    Raises:
        ValueError: not square.

    >>> isoscore(torch.eye(4)).item()
    1.0
    """
    c = square("isoscore", covariance)
    return ((participation_ratio(c) - 1) / max(c.shape[0] - 1, 1)).clamp(min=0)


def singular_values(z: Tensor, *, centre: bool = True) -> Tensor:
    """Return the singular values in descending order, in embedding units times sqrt(N).

    Args:
        z: ``[N, D]``.
        centre: Subtract the mean row first.

    Returns:
        ``[min(N, D)]``, float64.

    Raises:
        ValueError: not ``[N, D]``.

    >>> [round(s, 6) for s in singular_values(torch.diag(torch.tensor([3.0, 2.0])), centre=False).tolist()]
    [3.0, 2.0]
    """
    z = matrix("singular_values", z)
    return torch.linalg.svdvals(centred(z) if centre else z.double())


def effective_rank_of_spectrum(spectrum: Tensor) -> Tensor:
    """Return exp(H(p)) for p proportional to given singular values (Roy & Vetterli 2007).

    Args:
        spectrum: ``[K]``, of at least 0.

    Returns:
        A scalar in ``[1, K]``; 0 where all are zero.

    Raises:
        ValueError: not a vector.

    >>> round(effective_rank_of_spectrum(torch.ones(4)).item(), 6)
    4.0
    """
    if spectrum.ndim != 1:
        raise ValueError(f"effective_rank_of_spectrum needs [K], got {tuple(spectrum.shape)}: pass singular values")
    total = spectrum.sum()
    p = ratio(spectrum, total)
    entropy = -torch.xlogy(p, p).sum()
    return torch.where(total == 0, entropy.new_zeros(()), entropy.exp())


def effective_rank(z: Tensor) -> Tensor:
    """Return the effective rank of centred embeddings (Roy & Vetterli 2007, on singular values).

    Biased low at small N, and not comparable with RankMe, which does not centre and adds an epsilon.

    Args:
        z: ``[N, D]``.

    Returns:
        A scalar in ``[1, min(N, D)]``; 0 at total collapse.

    Raises:
        ValueError: not ``[N, D]``.

    >>> effective_rank(torch.ones(5, 3)).item()
    0.0
    """
    return effective_rank_of_spectrum(singular_values(z))


def stable_rank(covariance: Tensor) -> Tensor:
    """Return tr(C) / lambda_1, the effective dimension of the strongest direction.

    Args:
        covariance: ``[D, D]``, symmetric.

    Returns:
        A scalar in ``[1, D]``, at most the participation ratio; 0 at total collapse.

    Raises:
        ValueError: not square.

    >>> stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))).item()
    2.0
    """
    c = square("stable_rank", covariance)
    return ratio(c.trace(), torch.linalg.eigvalsh(c)[-1])


def _scaled(c: Tensor) -> Tensor:
    """Divide by the largest entry, so that squares of a collapsed covariance do not underflow."""
    return ratio(c, c.abs().max())
