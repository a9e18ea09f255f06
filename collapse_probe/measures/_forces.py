"""Where the loss moves embeddings: what its descent does to own distances, to near others, and to length.

Each is a cosine between the descent, the negative gradient at the embeddings, and the gradient of a mean logarithm:
of the distance to the own document (pull: negative where own pairs come closer), of the distances to the five nearest
others of the batch (push: positive where they move apart), and of the norm (radial: negative where embeddings shrink).
On unit vectors, so that growing does not look like pushing; of a large batch, on its first rows. Forces suspect and
decide nothing: a squared error's descent raises d' almost as well as a softmax's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._checks import matrix, nan_from, ratio, row_norms, unit_rows, widened
from ._shared import shared

__all__ = ["pull", "push", "push_all", "radial", "teaching"]

NEAREST = 5
"""Others of the batch that count as near."""

_ROUNDING = 1e-5
"""Share of a gradient below which what is left of it is rounding."""

MOST = 512
"""Rows of a batch, queries and documents together, that are looked at: the time goes with their square (own choice)."""

_FAINT = 0.01
"""Share of a batch's largest gradient below which a row teaches nothing (own choice)."""

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
    query, document, force, own = _first(query, document, force, own)
    growth = _apart(query, document, own)
    return growth.along(_descent(query, document, force, own))


def push(query: Tensor, document: Tensor, force: Force, *, own: Tensor | None = None) -> Tensor:
    """Return how far the descent lies along the growth of distances to the five nearest others, on unit vectors.

    Others are all queries and documents of the batch but the own ones: what is pushed away from elsewhere, such as a
    queue, is not seen. Over 60 trainings at most -.02 for losses that pull alone, and -.04 to .4 for a softmax.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``; without rows the queries stand alone, and have no own documents.
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
    query, document, force, own = _first(query, document, force, own)
    growth = _away(query, document, own)
    if growth is None:
        plane = _plane(query, document, own)
        return nan_from(plane.squared, plane.squared.new_zeros(()))
    return growth.along(_descent(query, document, force, own))


def push_all(query: Tensor, document: Tensor, force: Force, *, own: Tensor | None = None) -> Tensor:
    """Return how far the descent lies along the growth of squared distances to all rows, on unit vectors.

    A softmax at too high a temperature pushes all others alike, and hardly the nearest: :func:`push` does not see it.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``; without rows the queries stand alone.
        force: Gradients at both.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar in ``[-1, 1]``: above 0 the batch spreads; 0 where no gradient arrived.

    Raises:
        ValueError: not ``[Q, D]`` and ``[M, D]``.

    >>> q = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> push_all(q, q, (q.flip(0), q.flip(0))).item() > 0.9
    True
    """
    query, document, force, own = _first(query, document, force, own)
    plane, descent = _plane(query, document, own), _descent(query, document, force, own)
    # Squared distances to all others grow along what each row has beside the mean of all.
    radial = plane.products.diagonal() + plane.centre @ plane.mean
    length = (plane.products.diagonal() - radial.square()).clamp(min=0).sum().sqrt()
    return ratio(-descent.products.diagonal().sum(), descent.length * length)


def pulls_and_pushes(
    query: Tensor, document: Tensor, force: Force, *, own: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return :func:`pull` and :func:`push` of ``K`` forces at once, ``[K]`` each.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        force: Gradients at both, ``[K, Q, D]`` and ``[K, M, D]``.
        own: ``[Q]``, the row of each query's own document; None: row i.
    """
    query, document, force, own = _first(query, document, force, own)
    descent = _descent(query, document, force, own)
    near, far = _apart(query, document, own), _away(query, document, own)
    pulls = near.along(descent)
    return pulls, torch.full_like(pulls, torch.nan) if far is None else far.along(descent)


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
    z, gradient = matrix("radial", z), matrix("radial", gradient)
    norms = row_norms(z)
    # The mean logarithm of the norms grows along each row's own direction, by the inverse of its norm.
    growth = ratio(norms.new_ones(()), norms)
    length = torch.linalg.vector_norm(row_norms(gradient)) * torch.linalg.vector_norm(growth)
    return ratio(-(_outward(z, gradient) * growth).sum(), length)


def teaching(z: Tensor, gradient: Tensor) -> Tensor:
    """Return the share of rows that still teach: whose gradient is above a hundredth of the batch's largest.

    Args:
        z: ``[N, D]``.
        gradient: ``[N, D]``, of the loss at them.

    Returns:
        A scalar in ``[0, 1]``; 0 where no gradient arrived.

    Raises:
        ValueError: not ``[N, D]``.

    >>> teaching(torch.eye(4), torch.diag(torch.tensor([1.0, 0.5, 0.001, 0.0]))).item()
    0.5
    """
    norms = row_norms(matrix("teaching", gradient))
    largest = norms.max()
    return nan_from(largest, (norms > _FAINT * largest).to(norms.dtype).mean())


@dataclass(frozen=True)
class _Plane:
    """The embeddings on their sphere, by products of rows alone: ``B`` rows, queries first.

    Attributes:
        mean: ``[D]``, of all unit vectors.
        centre: ``[B, D]``, unit vectors without it.
        norms: ``[B]``.
        products: ``[B, B]``, of unit vectors without their mean.
        squared: ``[B, B]``, squared distances.
        rows: ``[Q]``, rows of the queries.
        own: ``[Q]``, rows of their own documents.
    """

    mean: Tensor
    centre: Tensor
    norms: Tensor
    products: Tensor
    squared: Tensor
    rows: Tensor
    own: Tensor


@dataclass(frozen=True)
class _Descent:
    """A gradient along the sphere: its products with unit vectors without their mean ``[B, B]``, and its norm.

    The norm is 0 where nothing but rounding is left, and so is every cosine with it. Of several gradients at once both
    have one more dimension before these.
    """

    products: Tensor
    length: Tensor


@dataclass(frozen=True)
class _Growth:
    """How a sum of log distances grows: weights of the unit vectors ``[B, B]``, and its norm along the sphere."""

    weights: Tensor
    length: Tensor

    def along(self, descent: _Descent) -> Tensor:
        """Return the cosine of a descent with the growth, or of several descents."""
        return ratio(-(self.weights * descent.products).sum(dim=(-2, -1)), descent.length * self.length)


@shared
def _plane(query: Tensor, document: Tensor, own: Tensor | None) -> _Plane:
    # Side by side: small tensors stay below what torch hands to several threads, whose waking costs more than they do.
    sides = [widened(matrix("a force", z)) for z in (query, document) if len(z) or z is query]
    units = [unit_rows(z) for z in sides]
    norms = torch.cat([row_norms(z) for z in sides])
    mean = torch.stack([unit.sum(dim=0) for unit in units]).sum(dim=0) / len(norms)
    centre = torch.cat([unit - mean for unit in units])
    products = centre @ centre.T
    sizes = products.diagonal()
    # Rows of one side alone have no own ones on the other.
    rows = torch.arange(min(len(query), len(document)), device=centre.device)
    return _Plane(
        mean=mean,
        centre=centre,
        norms=norms,
        products=products,
        squared=(sizes[:, None] + sizes - 2 * products).clamp_(min=0),
        rows=rows,
        own=(rows if own is None else own.to(centre.device, torch.long)) + len(query),
    )


@shared
def _first(
    query: Tensor, document: Tensor, force: Force, own: Tensor | None
) -> tuple[Tensor, Tensor, Force, Tensor | None]:
    """Return the first queries of a large batch, their own documents and some others, with what belongs to each."""
    rows = len(query) + len(document)
    if rows <= MOST or not len(query):
        return query, document, force, own
    kept = max(1, MOST * len(query) // rows)
    limit = min(len(document), max(kept, kept * len(document) // len(query)))
    at_query, at_document = (one.narrow(-2, 0, n) for one, n in zip(force, (kept, limit), strict=True))
    if own is None:
        return query[:kept], document[:limit], (at_query, at_document), None
    places = torch.arange(len(document), device=document.device)
    own = own.to(document.device, torch.long)[:kept]
    # Own documents first; nothing here waits for a device.
    order = places.index_add(0, own, torch.full_like(own, -len(document))).argsort()
    place = torch.empty_like(order).scatter_(0, order, places)
    chosen = order[:limit]
    at_document = force[1].index_select(-2, chosen.to(force[1].device))
    return query[:kept], document[chosen], (at_query, at_document), place[own]


@shared
def _outward(z: Tensor, gradient: Tensor) -> Tensor:
    """Return the part of each row's gradient along the row itself, ``[N]``, or ``[K, N]`` of ``K`` gradients."""
    return (unit_rows(widened(z)) * widened(gradient)).sum(dim=-1)


@shared
def _descent(query: Tensor, document: Tensor, force: Force, own: Tensor | None) -> _Descent:
    plane = _plane(query, document, own)
    sides = [one.to(plane.centre.device) for one in force[: 2 if len(document) else 1]]
    radial = torch.cat([_outward(z, one) for z, one in zip((query, document), sides, strict=False)], dim=-1)
    gradients = [widened(one) for one in sides]
    along = torch.cat(gradients, dim=-2) @ plane.centre.T
    along = along - radial[..., None] * (plane.products + plane.centre @ plane.mean)
    whole = torch.cat([row_norms(one) for one in sides], dim=-1)
    length = torch.linalg.vector_norm(plane.norms * (whole.square() - radial.square()).clamp(min=0).sqrt(), dim=-1)
    # Of a force that is radial alone nothing but rounding is left.
    rest = length <= _ROUNDING * torch.linalg.vector_norm(plane.norms * whole, dim=-1)
    return _Descent(products=plane.norms[:, None] * along, length=length.masked_fill(rest, 0.0))


@shared
def _apart(query: Tensor, document: Tensor, own: Tensor | None) -> _Growth:
    """Return the growth of own distances."""
    plane = _plane(query, document, own)
    weights = torch.zeros_like(plane.squared)
    weights[plane.rows, plane.own] = _inverse(plane.squared[plane.rows, plane.own])
    return _growth(plane, weights)


@shared
def _away(query: Tensor, document: Tensor, own: Tensor | None) -> _Growth | None:
    """Return the growth of the distances to the nearest others; None where there are none."""
    plane = _plane(query, document, own)
    near = min(NEAREST, len(plane.squared) - 2)
    if near < 1:
        return None
    others = plane.squared.clone().fill_diagonal_(torch.inf)
    others[plane.rows, plane.own] = others[plane.own, plane.rows] = torch.inf
    nearest = others.topk(near, dim=1, largest=False)
    return _growth(plane, torch.zeros_like(others).scatter_(1, nearest.indices, _inverse(nearest.values)))


def _growth(plane: _Plane, weights: Tensor) -> _Growth:
    """Return the growth of a sum of log distances.

    At row i it is the sum over j of w_ij (u_i - u_j): row i leaves row j as j leaves i.

    Args:
        plane: The embeddings.
        weights: ``[B, B]``, 1 / squared distance where row j is one that row i is held against, else 0.
    """
    weights = weights + weights.T
    growth = weights.sum(dim=1).diag() - weights
    radial = (weights * plane.squared).sum(dim=1) / 2
    rows, columns = plane.centre.shape
    # Two ways to one number: the shorter one, since of large batches rows x rows x rows would take minutes.
    whole = (growth @ plane.centre).square() if columns < rows else (growth @ plane.products) * growth
    length = (whole.sum() - radial.square().sum()).clamp(min=0).sqrt()
    return _Growth(weights=growth, length=length)


def _inverse(squared: Tensor) -> Tensor:
    """Return 1 / squared distance of unit vectors, and 0 where they count as one."""
    one = squared < 4e3 * torch.finfo(squared.dtype).eps
    return squared.masked_fill(one, 1.0).reciprocal_().masked_fill_(one, 0.0)
