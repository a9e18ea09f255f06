"""What a residual predictor adds: its size, its use, and whether it depends on the query."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import matrix, nan_from, norm, pair, ratio, row_norms, unit_rows


def mean_abs(delta: Tensor) -> Tensor:
    """Return the mean absolute entry, in embedding units.

    Not scale-free: an untrained predictor has about 0.0135 at D = 768, and passes the founding document's
    "above 0.01". Read :func:`relative_size` beside it.

    Args:
        delta: ``[N, D]``.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> mean_abs(torch.tensor([[1.0, -3.0]])).item()
    2.0
    """
    return matrix("mean_abs", delta).abs().mean()


def max_abs(delta: Tensor) -> Tensor:
    """Return the largest absolute entry, in embedding units; it grows with N.

    Args:
        delta: ``[N, D]``.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> max_abs(torch.tensor([[1.0, -3.0]])).item()
    3.0
    """
    return matrix("max_abs", delta).abs().amax()


def mean_norm(delta: Tensor) -> Tensor:
    """Return the mean L2 norm of the rows, in embedding units.

    Args:
        delta: ``[N, D]``.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> mean_norm(torch.tensor([[3.0, 4.0]])).item()
    5.0
    """
    return row_norms(matrix("mean_norm", delta)).mean()


def relative_size(correction: Tensor, reference: Tensor) -> Tensor:
    """Return sqrt(E||c||^2 / E||r||^2), the size of a correction in units of what it corrects.

    With r = d - q this is the useful one: 1 could close the gap, 0 is the identity.

    Args:
        correction: ``[N, D]``.
        reference: ``[N, D]``.

    Returns:
        A scalar of at least 0; 0 where the reference is all zero.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> relative_size(torch.ones(2, 3), 4 * torch.ones(2, 3)).item()
    0.25
    """
    correction, reference = pair("relative_size", correction, reference)
    return ratio(norm(correction), norm(reference))


def identity_gain(query: Tensor, correction: Tensor, document: Tensor) -> Tensor:
    """Return G = 1 - E||q + c - d||^2 / E||q - d||^2, the share of the squared gap that is removed.

    Args:
        query: ``[N, D]``.
        correction: ``[N, D]``.
        document: ``[N, D]``.

    Returns:
        A scalar of at most 1: 0 is the identity, below 0 the correction does harm; 0 where q = d.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> identity_gain(torch.zeros(1, 2), torch.ones(1, 2), 2 * torch.ones(1, 2)).item()
    0.75
    """
    query, document = pair("identity_gain", query, document)
    query, correction = pair("identity_gain", query, correction)
    gap = norm(query - document)
    left = norm(query + correction - document)
    return torch.where(gap == 0, gap.new_zeros(()), 1 - ratio(left, gap).square())


def alignment_above_chance(delta: Tensor, query: Tensor, document: Tensor, *, shifts: int = 8) -> Tensor:
    """Return the mean cos(delta_i, d_i - q_i) minus its mean over other documents, cos(delta_i, d_j - q_i).

    The baseline has to go: delta = -c q has a positive cosine with d - q for any document at all. The other
    documents are cyclic shifts of the rows, spread evenly: always the same ones, and no permutation is drawn.

    Args:
        delta: ``[N, D]``.
        query: ``[N, D]``.
        document: ``[N, D]``; row i is query i's positive.
        shifts: Mismatched documents for each query; all N - 1 where N is not larger.

    Returns:
        A scalar in ``[-2, 2]``: 0 says that delta knows nothing of its own document; 0 for one pair.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> alignment_above_chance(-torch.eye(2), torch.eye(2), torch.zeros(2, 2)).item()
    0.0
    """
    delta, query = pair("alignment_above_chance", delta, query)
    query, document = pair("alignment_above_chance", query, document)
    n = len(delta)
    if n < 2:
        return delta.new_zeros(())
    unit = unit_rows(delta)
    count = min(shifts, n - 1)
    others = [_mean_cosine_to(unit, document.roll(1 + k * (n - 1) // count, dims=0) - query) for k in range(count)]
    return _mean_cosine_to(unit, document - query) - torch.stack(others).mean()


def _mean_cosine_to(unit: Tensor, target: Tensor) -> Tensor:
    return ratio((unit * target).sum(dim=1), row_norms(target)).mean()


def constancy(delta: Tensor) -> Tensor:
    """Return ||E delta||^2 / E||delta||^2, the share of delta that is the same for every query.

    At default initialisation most of delta is one bias vector, so an untrained predictor reads about 0.8.

    Args:
        delta: ``[N, D]``.

    Returns:
        A scalar in ``[0, 1]``: 1 is an input-independent bias; 0 where delta is all zero.

    Raises:
        ValueError: not ``[N, D]``.

    >>> round(constancy(torch.ones(5, 3)).item(), 6)
    1.0
    """
    delta = matrix("constancy", delta)
    return (ratio(norm(delta.mean(dim=0)), norm(delta)).square() * len(delta)).clamp(max=1.0)


def saturation(delta: Tensor, *, threshold: float = 0.97) -> Tensor:
    """Return the share of entries with an absolute value above a threshold, where tanh passes no gradient.

    Args:
        delta: ``[N, D]``, after the tanh.
        threshold: In (0, 1).

    Returns:
        A scalar in ``[0, 1]``.

    Raises:
        ValueError: not ``[N, D]``.

    >>> saturation(torch.tensor([[0.99, -0.99, 0.5, 0.0]])).item()
    0.5
    """
    size = matrix("saturation", delta).abs()
    return nan_from(size, (size > threshold).float().mean())
