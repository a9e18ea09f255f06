"""What a module adds to a query, and its gate: the size, the use, and whether it depends on the query."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import at_least_float32, matrix, nan_from, norm, pair, ratio, unit_rows, widened
from ._scale import common_share

__all__ = [
    "alignment_above_chance",
    "constancy",
    "correction_max_abs",
    "correction_mean_abs",
    "correction_over_query",
    "correction_over_residual",
    "identity_gain",
    "max_abs",
    "mean_abs",
    "pass_through",
    "saturation",
    "value",
]

_TOGETHER = 2**19
"""Entries of a correction up to which several shifts are compared at once: small tensors cost their calls."""


def mean_abs(correction: Tensor) -> Tensor:
    """Return the mean absolute entry, in embedding units.

    Not scale-free: an untrained predictor has about 0.0135 at D = 768, and passes the founding document's
    "above 0.01". Read :func:`correction_over_residual` beside it.

    Args:
        correction: ``[N, D]``.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> mean_abs(torch.tensor([[1.0, -3.0]])).item()
    2.0
    """
    return matrix("mean_abs", correction).abs().mean()


def max_abs(correction: Tensor) -> Tensor:
    """Return the largest absolute entry, in embedding units; it grows with N.

    Args:
        correction: ``[N, D]``.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> max_abs(torch.tensor([[1.0, -3.0]])).item()
    3.0
    """
    return matrix("max_abs", correction).abs().amax()


def correction_mean_abs(applied: Tensor) -> Tensor:
    """Return the mean absolute entry of what is added to a query, in embedding units.

    Args:
        applied: ``[N, D]``, the gate times the correction.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> correction_mean_abs(0.5 * torch.tensor([[1.0, -3.0]])).item()
    1.0
    """
    return matrix("correction_mean_abs", applied).abs().mean()


def correction_max_abs(applied: Tensor) -> Tensor:
    """Return the largest absolute entry of what is added to a query, in embedding units.

    Args:
        applied: ``[N, D]``, the gate times the correction.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: not ``[N, D]``.

    >>> correction_max_abs(0.5 * torch.tensor([[1.0, -3.0]])).item()
    1.5
    """
    return matrix("correction_max_abs", applied).abs().amax()


def correction_over_query(applied: Tensor, query: Tensor) -> Tensor:
    """Return sqrt(E||c||^2 / E||q||^2), the size of what is added in units of the queries.

    Args:
        applied: ``[N, D]``, the gate times the correction.
        query: ``[N, D]``.

    Returns:
        A scalar of at least 0; 0 where the queries are all zero.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> correction_over_query(torch.ones(2, 3), 4 * torch.ones(2, 3)).item()
    0.25
    """
    applied, query = pair("correction_over_query", applied, query)
    return ratio(norm(applied), norm(query))


def correction_over_residual(applied: Tensor, query: Tensor, document: Tensor) -> Tensor:
    """Return sqrt(E||c||^2 / E||d - q||^2), the size of what is added in units of the gap to close.

    Args:
        applied: ``[N, D]``, the gate times the correction.
        query: ``[N, D]``.
        document: ``[N, D]``; row i is query i's own.

    Returns:
        A scalar of at least 0: 0 is the identity, 1 could close the gap; 0 where q = d.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> correction_over_residual(torch.ones(1, 2), torch.ones(1, 2), 3 * torch.ones(1, 2)).item()
    0.5
    """
    applied, query = pair("correction_over_residual", applied, query)
    query, document = pair("correction_over_residual", query, document)
    return ratio(norm(applied), norm(document - query))


def identity_gain(applied: Tensor, query: Tensor, document: Tensor) -> Tensor:
    """Return G = 1 - E||q + c - d||^2 / E||q - d||^2, the share of the squared gap that is removed.

    Args:
        applied: ``[N, D]``, the gate times the correction.
        query: ``[N, D]``.
        document: ``[N, D]``; row i is query i's own.

    Returns:
        A scalar of at most 1: 0 is the identity, below 0 the correction does harm; 0 where q = d.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> identity_gain(torch.ones(1, 2), torch.zeros(1, 2), 2 * torch.ones(1, 2)).item()
    0.75
    """
    query, document = pair("identity_gain", query, document)
    query, applied = pair("identity_gain", query, applied)
    gap = norm(query - document)
    left = norm(query + applied - document)
    return torch.where(gap == 0, gap.new_zeros(()), 1 - ratio(left, gap).square())


def alignment_above_chance(correction: Tensor, query: Tensor, document: Tensor, *, shifts: int = 8) -> Tensor:
    """Return the mean cos(delta_i, d_i - q_i) minus its mean over other documents, cos(delta_i, d_j - q_i).

    The baseline has to go: delta = -c q has a positive cosine with d - q for any document at all. The other
    documents are cyclic shifts of the rows, spread evenly: always the same ones, and no permutation is drawn.

    Args:
        correction: ``[N, D]``.
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
    correction, query = pair("alignment_above_chance", correction, query)
    query, document = pair("alignment_above_chance", query, document)
    n = len(correction)
    if n < 2:
        return nan_from(correction + query + document, correction.new_zeros(()))
    unit = unit_rows(correction)
    count = min(shifts, n - 1)
    shift = torch.tensor([1 + k * (n - 1) // count for k in range(count)], device=document.device)
    others = (torch.arange(n, device=document.device) - shift[:, None]).remainder(n)
    together = max(1, _TOGETHER // unit.numel())
    chance = torch.cat([_cosines_to(unit, document[rows] - query) for rows in others.split(together)])
    return _cosines_to(unit, document - query).mean() - chance.mean()


def _cosines_to(unit: Tensor, target: Tensor) -> Tensor:
    """Return the cosines ``[..., N]`` of unit rows with the rows of ``[..., N, D]``."""
    return ratio((unit * target).sum(dim=-1), torch.linalg.vector_norm(widened(target), dim=-1))


def constancy(correction: Tensor) -> Tensor:
    """Return ||E delta||^2 / E||delta||^2, the share of the correction that is the same for every query.

    At default initialisation most of it is one bias vector, so an untrained predictor reads about 0.8.

    Args:
        correction: ``[N, D]``.

    Returns:
        A scalar in ``[0, 1]``: 1 is an input-independent bias; 0 where all is zero.

    Raises:
        ValueError: not ``[N, D]``.

    >>> round(constancy(torch.ones(5, 3)).item(), 6)
    1.0
    """
    return common_share(matrix("constancy", correction))


def saturation(correction: Tensor, *, threshold: float = 0.97) -> Tensor:
    """Return the share of a tanh's entries with an absolute value above a threshold, where it passes no gradient.

    Args:
        correction: ``[N, D]``, after the tanh.
        threshold: In (0, 1).

    Returns:
        A scalar in ``[0, 1]``; 0 where an entry is beyond 1, so that no tanh bounds it.

    Raises:
        ValueError: not ``[N, D]``.

    >>> saturation(torch.tensor([[0.99, -0.99, 0.5, 0.0]])).item()
    0.5
    """
    size = matrix("saturation", correction).abs()
    share = (size > threshold).float().mean()
    return nan_from(size, torch.where(size.amax() <= 1, share, torch.zeros_like(share)))


def pass_through(z: Tensor) -> Tensor:
    """Return the mean of 1 - z^2, the share of a gradient that a tanh lets through.

    Args:
        z: ``[N, D]``, after the tanh.

    Returns:
        A scalar in ``[0, 1]``: 1 is a tanh at 0, 0 a saturated one; 1 where an entry is beyond 1, so that no tanh
        bounds it.

    Raises:
        ValueError: not ``[N, D]``.

    >>> pass_through(torch.tensor([[1.0, 0.0]])).item()
    0.5
    """
    z = matrix("pass_through", z)
    share = (1 - z.square()).mean()
    return nan_from(z, torch.where(z.abs().amax() <= 1, share, torch.ones_like(share)))


def value(gate: Tensor) -> Tensor:
    """Return the gate's value, the mean of one of several entries.

    Args:
        gate: Any shape.

    Returns:
        A scalar, of any sign.

    Raises:
        ValueError: no entry.

    >>> value(torch.tensor([0.1, 0.3])).item()
    0.2...
    """
    if gate.numel() == 0:
        raise ValueError(f"value needs a gate of at least one entry, got {tuple(gate.shape)}: pass alpha")
    return at_least_float32(gate).mean()
