"""Rank and spectrum. All of these are blind to scale: read :mod:`_scale` beside them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ._checks import centred, matrix, ratio, spectrum_of, square, wide, widened
from ._shared import shared

__all__ = [
    "covariance",
    "effective_rank",
    "isoscore_corrected",
    "participation_ratio",
    "participation_ratio_corrected",
    "participation_ratio_uncentred",
    "scatter",
    "spectrum",
    "top_share",
]


def covariance(z: Tensor) -> Tensor:
    """Return the centred sample covariance, in float64 where the device has it.

    Centring comes before squaring: E[x^2] - E[x]^2 in float32 goes negative at mean/std = 1e4, and a
    collapsing encoder is exactly there.

    Args:
        z: ``[N, D]``.

    Returns:
        ``[D, D]``; zeros for one row.

    Raises:
        ValueError: not ``[N, D]``.

    >>> covariance(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    rows = centred(matrix("covariance", z))
    return rows.T @ rows / max(len(rows) - 1, 1)


@shared
def scatter(z: Tensor) -> Tensor:
    """Return the covariance, or where N is below D the centred rows' Gram matrix over N - 1.

    Both have the same trace, norm and eigenvalues other than 0: 512 rows of 4,096 dimensions cost a 64th.

    Args:
        z: ``[N, D]``.

    Returns:
        ``[min(N, D), min(N, D)]``, in the widest type; zeros for one row.

    Raises:
        ValueError: not ``[N, D]``.

    >>> scatter(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    rows = centred(matrix("scatter", z))
    product = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return product / max(len(rows) - 1, 1)


def participation_ratio(covariance: Tensor) -> Tensor:
    """Return tr(C)^2 / ||C||_F^2, the Renyi-2 effective dimension (Bretherton et al. 1999).

    Biased low at small N: about N D / (N + D) at N(0, I). Use :func:`participation_ratio_corrected` where N
    is below 5 D, and never compare values at different N.

    Args:
        covariance: ``[D, D]``, symmetric, or the Gram matrix of :func:`scatter`.

    Returns:
        A scalar in ``[1, D]``; 0 where the covariance is all zero (total collapse, not an error).

    Raises:
        ValueError: not square.

    >>> participation_ratio(torch.eye(4)).item()
    4.0
    """
    c = _scaled(square("participation_ratio", covariance))
    return ratio(c.trace().square(), c.square().sum())


def participation_ratio_corrected(covariance: Tensor, *, n: int, dimension: int | None = None) -> Tensor:
    """Return the participation ratio with numerator and denominator corrected for N Gaussian samples.

    ``||C||_F^2`` is replaced by ``v^2 / ((v - 1)(v + 2)) (||C||_F^2 - tr(C)^2 / v)`` with v = N - 1, its
    unbiased estimate under normality (the trace-only correction of Srivastava 2005).

    Args:
        covariance: ``[D, D]``, centred sample covariance, or the Gram matrix of :func:`scatter`.
        n: Rows that it was computed from.
        dimension: D; the matrix's size where it is not given.

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
    floor = trace_squared / (dimension or len(c))
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
    z = matrix("participation_ratio_uncentred", z)
    # z = rows + mean, and the rows add up to 0: the moment of z is the rows' and that of the mean.
    mean = widened(z).mean(dim=0)
    moment = scatter(z) * ((len(z) - 1) / len(z))
    trace = moment.trace() + mean.square().sum()
    # Divided by the trace before anything is squared again: squares of a collapsed moment underflow.
    moment, mean = ratio(moment, trace), ratio(mean, trace.sqrt())
    across = ratio(((widened(z) @ mean) - mean.square().sum() * trace.sqrt()).square().mean(), trace)
    squares = moment.square().sum() + 2 * across + mean.square().sum().square()
    value = ratio(torch.ones_like(squares), squares)
    return torch.where(trace > 0, value.clamp(min=1.0), value)


def isoscore_corrected(covariance: Tensor, *, n: int, dimension: int | None = None) -> Tensor:
    """Return (PR - 1) / (D - 1) of the corrected participation ratio.

    IsoScore is this exactly, of the uncorrected one (Rudman et al., Findings of ACL 2022).

    Args:
        covariance: ``[D, D]``, or the Gram matrix of :func:`scatter`.
        n: Rows that it was computed from.
        dimension: D; the matrix's size where it is not given.

    Returns:
        A scalar in ``[0, 1]``; 0 at total collapse and for D = 1.

    Raises:
        ValueError: not square.

    >>> isoscore_corrected(torch.eye(4), n=10**9).item()
    1.0
    """
    ranks = participation_ratio_corrected(covariance, n=n, dimension=dimension)
    return ((ranks - 1) / max((dimension or len(covariance)) - 1, 1)).clamp(min=0)


def spectrum(covariance: Tensor, *, n: int) -> Tensor:
    """Return the centred sample's singular values, descending; waits for the device.

    From float64 eigenvalues: one below 1e-16 of the largest is rounding, and so is the root of one.

    Args:
        covariance: ``[D, D]``, or the Gram matrix of :func:`scatter`.
        n: Rows that it was computed from.

    Returns:
        ``[min(N, D)]``, in embedding units times sqrt(N); NaN where the matrix is not finite.

    Raises:
        ValueError: not square.

    >>> [round(s, 6) for s in spectrum(torch.diag(torch.tensor([1.0, 4.0])), n=10).tolist()]
    [6.0, 3.0]
    """
    c = square("spectrum", covariance)
    count = min(n, len(c))
    if not torch.isfinite(c).all():
        return torch.full((count,), torch.nan, dtype=c.dtype, device=c.device)
    if c.device.type in ("cpu", "mps"):
        # Apple's devices have no such solver, and torch's own waits for its threads ten times as long as it computes.
        solved = torch.from_numpy(np.linalg.eigvalsh(c.detach().cpu().double().numpy()))
    else:
        solved = torch.linalg.eigvalsh(widened(c))
    return (solved.flip(0).clamp(min=0)[:count] * (n - 1)).sqrt().to(c.device, wide(c.device))


def effective_rank(spectrum: Tensor) -> Tensor:
    """Return exp(H(p)) for p proportional to the singular values (Roy & Vetterli 2007).

    Biased low at small N, and not comparable with RankMe, which does not centre and adds an epsilon.

    Args:
        spectrum: ``[K]``, of at least 0; of centred embeddings by :func:`spectrum`.

    Returns:
        A scalar in ``[1, K]``; 0 where all are zero (total collapse).

    Raises:
        ValueError: not a vector.

    >>> round(effective_rank(torch.ones(4)).item(), 6)
    4.0
    """
    values = spectrum_of("effective_rank", spectrum)
    total = values.sum()
    p = ratio(values, total)
    entropy = -torch.xlogy(p, p).sum()
    return torch.where(total == 0, entropy.new_zeros(()), entropy.exp())


def top_share(spectrum: Tensor) -> Tensor:
    """Return the share of the variance along the first principal component, 1 / stable rank.

    Args:
        spectrum: ``[K]``, singular values, descending; of centred embeddings by :func:`spectrum`.

    Returns:
        A scalar in ``[1 / K, 1]``; 0 where all are zero (total collapse).

    Raises:
        ValueError: not a vector.

    >>> round(top_share(torch.tensor([2.0, 1.0, 1.0])).item(), 6)
    0.666667
    """
    values = spectrum_of("top_share", spectrum)
    shares = ratio(values, values[0]).square()
    return ratio(shares[0], shares.sum())


def _scaled(c: Tensor) -> Tensor:
    """Divide by the largest entry, so that squares of a collapsed covariance do not underflow."""
    return ratio(c, c.abs().max())
