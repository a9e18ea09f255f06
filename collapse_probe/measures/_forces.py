"""Where the loss moves embeddings: what its descent does to own distances, to near others, and to length.

Each is a cosine between the descent, the negative gradient at the embeddings, and the gradient of a mean logarithm:
of the distance to the own document (pull: negative where own pairs come closer), of the distances to the five nearest
others of the batch (push: positive where they move apart), and of the norm (radial: negative where embeddings shrink).
On unit vectors, so that growing does not look like pushing; of a large batch, on its first rows. Forces suspect and
decide nothing: a squared error's descent raises d' almost as well as a softmax's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vecdot

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
    return _apart(query, document, own).along(_descent(query, document, force))


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
        centred = _sphere(query, document).centred
        return nan_from(centred, centred.new_zeros(()))
    return growth.along(_descent(query, document, force))


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
    # Squared distances to all others grow along what each row has beside the mean of all.
    sphere = _sphere(query, document)
    return _growth(sphere, sphere.sides).along(_descent(query, document, force))


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
    descent = _descent(query, document, force)
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
class _Sphere:
    """The embeddings on their sphere, ``B`` rows: by sides, and all together.

    Side by side, and in place where it can be: small tensors stay below what torch hands to several threads, whose
    waking costs more than they do, and so does the memory of a new tensor.

    Attributes:
        units: ``[Q, D]`` and ``[M, D]``, unit vectors; the first alone where queries stand alone.
        norms: ``[Q]`` and ``[M]``, of the embeddings.
        centred: ``[B, D]``, unit vectors without their mean, queries first.
        sides: The same by sides.
    """

    units: list[Tensor]
    norms: list[Tensor]
    centred: Tensor
    sides: Sequence[Tensor]


@dataclass(frozen=True)
class _Descent:
    """A gradient along the sphere, by sides, and its norm; of several at once both have one more dimension before.

    The norm is 0 where nothing but rounding is left, and so is every cosine with it.
    """

    gradient: list[Tensor]
    length: Tensor


@dataclass(frozen=True)
class _Growth:
    """Where a sum of distances grows, by sides, and how long of it lies along the sphere."""

    direction: Sequence[Tensor]
    length: Tensor

    def along(self, descent: _Descent) -> Tensor:
        """Return the cosine of a descent, which lies along the sphere, with the growth, or of several descents."""
        products = [vecdot(one, to).sum(dim=-1) for one, to in zip(descent.gradient, self.direction, strict=True)]
        return ratio(-sum(products[1:], products[0]), descent.length * self.length)


@shared
def _sphere(query: Tensor, document: Tensor) -> _Sphere:
    sides = [widened(matrix("a force", z)) for z in (query, document) if len(z) or z is query]
    units = [unit_rows(z) for z in sides]
    centred = torch.cat(units)
    mean = torch.stack([unit.sum(dim=0) for unit in units]).sum(dim=0) / len(centred)
    parts = [centred[: len(query)], centred[len(query) :]][: len(units)]
    for part in parts:
        part.sub_(mean)
    return _Sphere(units=units, norms=[row_norms(z) for z in sides], centred=centred, sides=parts)


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
    return vecdot(widened(gradient), unit_rows(widened(z)))


@shared
def _descent(query: Tensor, document: Tensor, force: Force) -> _Descent:
    sphere = _sphere(query, document)
    along, wholes = [], []
    for z, unit, norms, one in zip((query, document), sphere.units, sphere.norms, force, strict=False):
        gradient = one.to(unit.device)
        outward = _outward(z, gradient)[..., None]
        along.append(torch.addcmul(widened(gradient), outward, unit, value=-1).mul_(norms[:, None]))
        wholes.append(norms * row_norms(gradient))
    length = _length([row_norms(one) for one in along])
    # Of a force that is radial alone nothing but rounding is left.
    rest = length <= _ROUNDING * _length(wholes)
    return _Descent(gradient=along, length=length.masked_fill(rest, 0.0))


@shared
def _apart(query: Tensor, document: Tensor, own: Tensor | None) -> _Growth:
    """Return the growth of own log distances: each row of a pair leaves the other, by 1 / squared distance."""
    sphere = _sphere(query, document)
    queries, documents = (*sphere.sides, sphere.centred[:0])[:2]
    # Rows of one side alone have no own ones on the other.
    rows = min(len(queries), len(documents))
    places = None if own is None else own.to(documents.device, torch.long)
    leaving = queries[:rows] - (documents[:rows] if places is None else documents[places])
    leaving.mul_(_inverse(vecdot(leaving, leaving))[:, None])
    if places is None:
        left = _padded(-leaving, len(documents))
    else:
        left = torch.zeros_like(documents).index_add_(0, places, leaving, alpha=-1)
    return _growth(sphere, [_padded(leaving, len(queries)), left][: len(sphere.units)])


@shared
def _away(query: Tensor, document: Tensor, own: Tensor | None) -> _Growth | None:
    """Return the growth of the log distances to the nearest others; None where there are none."""
    sphere = _sphere(query, document)
    near = min(NEAREST, len(sphere.centred) - 2)
    if near < 1:
        return None
    products = sphere.centred @ sphere.centred.T
    sizes = products.diagonal().clone()
    squared = products.mul_(-2).add_(sizes).add_(sizes[:, None]).clamp_(min=0).fill_diagonal_(torch.inf)
    rows = torch.arange(min(len(query), len(document)), device=squared.device)
    mine = (rows if own is None else own.to(squared.device, torch.long)) + len(query)
    squared[rows, mine] = squared[mine, rows] = torch.inf
    nearest = squared.topk(near, dim=1, largest=False)
    weights = torch.zeros_like(squared).scatter_(1, nearest.indices, _inverse(nearest.values))
    # At row i the sum over j of w_ij (u_i - u_j): it leaves row j as j leaves i.
    weights = weights + weights.T
    sums = weights.sum(dim=1)
    growth = weights.neg_().diagonal_scatter(sums) @ sphere.centred
    return _growth(sphere, growth.split([len(unit) for unit in sphere.units]))


def _growth(sphere: _Sphere, growth: Sequence[Tensor]) -> _Growth:
    """Return a growth with the length of what of it lies along the sphere."""
    whole = _length([row_norms(one) for one in growth]).square()
    radial = _length([vecdot(one, unit) for one, unit in zip(growth, sphere.units, strict=True)]).square()
    return _Growth(direction=growth, length=(whole - radial).clamp(min=0).sqrt())


def _length(parts: Sequence[Tensor]) -> Tensor:
    """Return the norm of all parts together, each ``[N]``, or ``[K, N]`` of several at once."""
    return torch.linalg.vector_norm(torch.cat(list(parts), dim=-1), dim=-1)


def _padded(rows: Tensor, count: int) -> Tensor:
    """Return rows with zeros below them."""
    return rows if len(rows) == count else torch.cat([rows, rows.new_zeros(count - len(rows), rows.shape[1])])


def _inverse(squared: Tensor) -> Tensor:
    """Return 1 / squared distance of unit vectors, and 0 where they count as one."""
    one = squared < 4e3 * torch.finfo(squared.dtype).eps
    return squared.masked_fill(one, 1.0).reciprocal_().masked_fill_(one, 0.0)
