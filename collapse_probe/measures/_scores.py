"""Every query scored against every document, in blocks: what all measures of separation are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ..journal.vocabulary import Similarity
from ._checks import centred, has_nan, matrix, unit_rows, widened
from ._shared import shared

_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How each query's own document scores among the others; ``[Q]`` each, in the widest type.

    Attributes:
        own: Own score.
        best: Best other score; -inf where there is no other document.
        above: Others that score more than the own one.
        tied: Others that score the same, up to rounding.
        mean: Mean other score.
        scatter: Sum of squared deviations of the other scores from their mean.
        rounding: Differences of scores below this are rounding.
        others: Other documents of a query.
    """

    own: Tensor
    best: Tensor
    above: Tensor
    tied: Tensor
    mean: Tensor
    scatter: Tensor
    rounding: Tensor
    others: int

    @cached_property
    def unknown(self) -> Tensor:
        """Whether any score is NaN: no comparison with it holds."""
        return has_nan(self.own + self.mean)

    @cached_property
    def reciprocal_rank(self) -> Tensor:
        """The mean reciprocal rank; ties count against the own document."""
        rank = (1 + self.above + self.tied).to(self.own.dtype)
        return rank.reciprocal().mean().masked_fill(self.unknown, math.nan)


@shared
def compare(query: Tensor, document: Tensor, *, similarity: Similarity, own: Tensor | None = None) -> Scores:
    """Score every query against every document; waits for no device.

    In the widest type, so that equal documents tie also where a matrix product adds in another order. Blocks of
    16 MB: 4,096 queries and documents need no more than 200 MB.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).
        own: ``[Q]``, integers: the row of each query's own document. None: query i's is row i.

    Returns:
        The scores, reduced to a few numbers a query.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> compare(torch.eye(2), torch.eye(2), similarity="dot").own.tolist()
    [1.0, 1.0]
    """
    document, own, blocks = _blocks(query, document, similarity, own)
    parts = [_moments(*block, distances=similarity == "euclidean") for block in blocks]
    columns = parts[0] if len(parts) == 1 else (torch.cat(column) for column in zip(*parts, strict=True))
    names = ("own", "best", "above", "tied", "mean", "scatter", "rounding")
    return Scores(**dict(zip(names, columns, strict=True)), others=len(document) - 1)


def reciprocal_ranks(query: Tensor, document: Tensor, *, similarity: Similarity, own: Tensor | None = None) -> Tensor:
    """Return 1 / rank of each query's own document, in half the time of :func:`compare`; ties count against it.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot`` or ``euclidean``.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        ``[Q]``, in ``[1 / M, 1]``; NaN where a score is NaN.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> reciprocal_ranks(torch.eye(2), torch.eye(2).flip(0), similarity="dot").tolist()
    [0.5, 0.5]
    """
    _, _, blocks = _blocks(query, document, similarity, own)
    parts = []
    for block in blocks:
        ranked = _ranked(*block, distances=similarity == "euclidean")
        ranks = (1 + ranked.above + ranked.tied).to(ranked.scores.dtype)
        bad = ranked.scores.sum(dim=1).isnan()
        parts.append(ranks.reciprocal_().masked_fill_(bad, torch.nan))
    return torch.cat(parts)


def shares_below(query: Tensor, document: Tensor, rows: Tensor, *, similarity: Similarity) -> Tensor:
    """Return which share of the other documents scores below some of them, by queries; ties count half.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        rows: ``[C, Q]``, rows of documents.
        similarity: ``cosine``, ``dot`` or ``euclidean``.

    Returns:
        ``[C, Q]``, in ``[0, 1]``; 0.5 with a single document, NaN where a score is NaN.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> shares_below(torch.eye(2), torch.eye(2), torch.tensor([[0, 1], [1, 0]]), similarity="dot").tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    _, _, blocks = _blocks(query, document, similarity, rows[0])
    rows, parts, others = rows.to(document.device), [], len(document) - 1
    for queries, documents, own, size in blocks:
        scores, rounding = _scored(queries, documents, size, distances=similarity == "euclidean")
        mine, rows = rows[:, : len(own)], rows[:, len(own) :]
        counts = [_counted(scores, one, rounding)[1:] for one in mine]
        share = torch.stack([share_below(above, tied, others, scores.dtype) for above, tied in counts])
        parts.append(share.masked_fill(scores.sum(dim=1).isnan(), torch.nan))
    return torch.cat(parts, dim=1)


def share_below(above: Tensor, tied: Tensor, others: int, dtype: torch.dtype) -> Tensor:
    """Return which share of others scores below, of how many are above and tied, which count half; 0.5 without any."""
    worse = (above + 0.5 * tied).to(dtype)
    return 1 - worse / others if others else worse + 0.5


def prepared(query: Tensor, document: Tensor, similarity: Similarity) -> tuple[Tensor, Tensor]:
    """Return queries and documents in the widest type, so that their products compare as a similarity does."""
    return _PREPARE[similarity](query, document)


def checked_pairs(name: str, query: Tensor, document: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, documents and the row of each query's own document.

    Raises:
        ValueError: not ``[Q, D]`` and ``[M, D]``, or no row for each query.
    """
    query, document = matrix(name, query), matrix(name, document)
    if query.shape[1] != document.shape[1]:
        raise ValueError(f"{name} needs [Q, D] and [M, D], got {tuple(query.shape)} and {tuple(document.shape)}")
    if own is None:
        if len(query) > len(document):
            raise ValueError(
                f"{name} got {len(query)} queries and {len(document)} documents: pass own=, each query's row"
            )
        own = torch.arange(len(query), device=query.device)
    if own.shape != (len(query),) or own.is_floating_point():
        raise ValueError(f"{name} needs own as {len(query)} integers, got {tuple(own.shape)} of {own.dtype}")
    return query, document, own.to(document.device, torch.long)


def _blocks(
    query: Tensor, document: Tensor, similarity: Similarity, own: Tensor | None
) -> tuple[Tensor, Tensor, Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]]:
    """Return documents and own rows as they are compared, and blocks of queries, own rows, documents and sizes."""
    query, document, own = checked_pairs("scoring", query, document, own)
    if similarity not in _PREPARE:
        raise ValueError(f"unknown similarity {similarity!r}: use cosine, dot or euclidean")
    query, document = _PREPARE[similarity](query, document)
    rows = max(1, _BLOCK_BYTES // (8 * len(document)))
    size = document.square().sum(dim=1)
    starts = range(0, len(query), rows)
    return document, own, ((query[s : s + rows], document, own[s : s + rows], size) for s in starts)


class _Ranked(NamedTuple):
    scores: Tensor
    mine: Tensor
    above: Tensor
    tied: Tensor
    rounding: Tensor


def _ranked(query: Tensor, document: Tensor, own: Tensor, size: Tensor, *, distances: bool) -> _Ranked:
    """Return scores, squared and negative where they are distances, with own ones and how many are above them."""
    scores, rounding = _scored(query, document, size, distances=distances)
    return _Ranked(scores, *_counted(scores, own, rounding), rounding)


def _scored(query: Tensor, document: Tensor, size: Tensor, *, distances: bool) -> tuple[Tensor, Tensor]:
    scores = query @ document.T
    length = query.square().sum(dim=1, keepdim=True)
    if distances:
        # Squared and negative: their rounding is known, that of a root near 0 is not.
        scores = scores.mul_(2).sub_(length).sub_(size)
        rounding = length + size.amax()
    else:
        rounding = (length * size.amax()).sqrt()
    return scores, rounding * torch.finfo(scores.dtype).eps * 1e3


def _counted(scores: Tensor, own: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mine = scores.gather(1, own[:, None])
    above = (scores > mine + rounding).count_nonzero(dim=1)
    return mine, above, (scores >= mine - rounding).count_nonzero(dim=1) - above - 1


def _moments(query: Tensor, document: Tensor, own: Tensor, size: Tensor, *, distances: bool) -> tuple[Tensor, ...]:
    scores, mine, above, tied, rounding = _ranked(query, document, own, size, distances=distances)
    if distances:
        scores, mine = scores.clamp_(max=0).neg_().sqrt_().neg_(), mine.clamp(max=0).neg().sqrt().neg()
        rounding = rounding.sqrt() * 1e-5
    others = max(len(document) - 1, 1)
    mean = (scores.sum(dim=1, keepdim=True) - mine) / others
    best = scores.scatter_(1, own[:, None], -math.inf).amax(dim=1)
    scatter = scores.sub_(mean).square_().scatter_(1, own[:, None], 0).sum(dim=1)
    return mine[:, 0], best, above, tied, mean[:, 0], scatter, rounding[:, 0]


def _cosine(query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
    return unit_rows(widened(query)), unit_rows(widened(document))


def _dot(query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
    return widened(query), widened(document)


def _euclidean(query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
    # A common mean would round away what little differs between collapsed embeddings; the first row goes first, since
    # the rounded mean of equal rows need not equal them.
    first = widened(document[0])
    documents = centred(document)
    return widened(query) - first - (widened(document) - first).mean(dim=0), documents


_PREPARE: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _euclidean,
}
