"""Where the loss moves embeddings: what its descent does to own distances, to near others, and to length.

Each is a cosine between the descent, the negative gradient at the embeddings, and the gradient of a mean logarithm:
of the distance to the own document (pull: negative where own pairs come closer), of the distances to the five nearest
others of the batch (push: positive where they move apart), and of the norm (radial: negative where embeddings shrink).
On unit vectors, so that growing does not look like pushing. Forces suspect and decide nothing: a squared error's
descent raises d' almost as well as a softmax's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import matrix, nan_from, ratio, row_norms, unit_rows, widened

__all__ = ["pull", "push", "radial"]

NEAREST = 5
"""Others of the batch that count as near."""

_SMALLEST = 1e-12
"""Squared distance below which two unit vectors count as one: their logarithm has no gradient that says anything."""

_ROUNDING = 1e-5
"""Share of a gradient below which what is left of it is rounding."""

Force = tuple[Tensor, Tensor]
"""Gradients of the loss at the queries ``[Q, D]`` and at all documents ``[M, D]``; zeros where none arrived."""


def pull(query: Tensor, document: Tensor, force: Force, *, own: Tensor | None = None) -> Tensor:
    """Return how far the descent lies along the growth of own distances, on unit vectors.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        force: Gradients at both.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar in ``[-1, 1]``: below 0 own pairs come closer; 0 where no gradient arrived.

    Raises:
        ValueError: not ``[Q, D]`` and ``[M, D]``.

    >>> q, d = torch.eye(2), torch.eye(2).flip(0)
    >>> round(pull(q, d, (q - d, d - q)).item(), 6)
    -1.0
    """
    both, gradient, own = _joined("pull", query, document, force, own)
    rows = torch.arange(len(query), device=both.device)
    return _along(both, gradient, rows, own[:, None] + len(query))


def push(query: Tensor, document: Tensor, force: Force, *, own: Tensor | None = None) -> Tensor:
    """Return how far the descent lies along the growth of distances to the five nearest others, on unit vectors.

    Others are all queries and documents of the batch but the own ones: what is pushed away from elsewhere, such as a
    queue, is not seen. Over 60 trainings at most -.02 for losses that pull alone, and -.04 to .4 for a softmax.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        force: Gradients at both.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar in ``[-1, 1]``: above 0 near others move apart; 0 where no gradient arrived, or for one pair.

    Raises:
        ValueError: not ``[Q, D]`` and ``[M, D]``.

    >>> q = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> push(q, q, (q.flip(0), q.flip(0))).item() > 0.9
    True
    """
    both, gradient, own = _joined("push", query, document, force, own)
    rows = torch.arange(len(both), device=both.device)
    scores = (both @ both.T).fill_diagonal_(-torch.inf)
    own = own + len(query)
    scores[rows[: len(query)], own] = -torch.inf
    scores[own, rows[: len(query)]] = -torch.inf
    near = min(NEAREST, len(both) - 2)
    if near < 1:
        return nan_from(both, both.new_zeros(()))
    return _along(both, gradient, rows, scores.topk(near, dim=1).indices)


def radial(z: Tensor, gradient: Tensor) -> Tensor:
    """Return how far the descent lies along the growth of norms.

    Args:
        z: ``[N, D]``.
        gradient: ``[N, D]``, of the loss at them.

    Returns:
        A scalar in ``[-1, 1]``: -1 where the loss does nothing but shrink; 0 where no gradient arrived.

    Raises:
        ValueError: not ``[N, D]``.

    >>> round(radial(torch.eye(2), torch.eye(2)).item(), 6)
    -1.0
    """
    z, gradient = widened(matrix("radial", z)), widened(matrix("radial", gradient))
    norms = row_norms(z)[:, None]
    growth = z / norms.square().where(norms > 0, norms.new_ones(()))
    return _cosine(-gradient, growth)


def _joined(
    name: str, query: Tensor, document: Tensor, force: Force, own: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return unit vectors of both sides, the gradient at them, and each query's own row."""
    query, document = matrix(name, query), matrix(name, document)
    both = widened(torch.cat([query, document]))
    unit = unit_rows(both)
    gradient = row_norms(both)[:, None] * torch.cat([widened(one.to(both.device)) for one in force])
    tangent = gradient - unit * (unit * gradient).sum(dim=1, keepdim=True)
    # Of a force that is radial alone nothing but rounding is left.
    rest = torch.linalg.vector_norm(tangent) <= _ROUNDING * torch.linalg.vector_norm(gradient)
    tangent = torch.where(rest, torch.zeros_like(tangent), tangent)
    if own is None:
        own = torch.arange(len(query), device=both.device)
    return unit, tangent, own.to(both.device, torch.long)


def _along(unit: Tensor, gradient: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    """Return the cosine of the descent with the gradient of the mean log distance of rows ``[R]`` to ``[R, K]``."""
    gap = unit[rows][:, None, :] - unit[others]
    squared = gap.square().sum(dim=2, keepdim=True)
    pair = torch.where(squared < _SMALLEST, torch.zeros_like(gap), gap / squared.clamp(min=_SMALLEST))
    growth = torch.zeros_like(unit).index_add_(0, rows, pair.sum(dim=1))
    growth.index_add_(0, others.flatten(), -pair.flatten(0, 1))
    growth -= unit * (unit * growth).sum(dim=1, keepdim=True)
    return _cosine(-gradient, growth)


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    return ratio((left * right).sum(), torch.linalg.vector_norm(left) * torch.linalg.vector_norm(right))
