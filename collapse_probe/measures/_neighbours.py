"""Who is near whom: neighbours that are kept, and documents that answer everybody."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..journal.vocabulary import Similarity
from ._checks import wide
from ._scores import prepared

__all__ = ["answer_overlap", "hub_occurrence", "neighbour_overlap"]

K = 10
"""Neighbours that are looked at."""

MOST = 1024
"""Rows that are looked at: the first ones, since every row is held against every other."""

FEWEST = 5 * K
"""Distinct documents below which ten neighbours are a fifth of all, and say little."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest documents of every query and of every document, best first.

    Attributes:
        answers: ``[Q, K]``, rows of the distinct documents that score best for each query.
        documents: ``[M, K]``, the same for each distinct document, itself left out.
        distinct: ``[M]``, the rows of the documents without those that equal an earlier one.
    """

    answers: Tensor
    documents: Tensor
    distinct: Tensor


def neighbours(
    query: Tensor, document: Tensor, *, similarity: Similarity, distinct: Tensor | None = None
) -> Neighbours | None:
    """Return who is near whom among the first 1,024 rows; None for fewer than 50 distinct documents.

    None as well where an entry is not finite: nothing is near to that. Equal documents are merged first: they would
    take one another's places. Waits for the device.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot`` or ``euclidean`` (negative distance).
        distinct: Rows of the documents that stand for all, where they are known; found by their vectors if None.
    """
    query, document = query[:MOST], document[:MOST]
    if not bool(torch.isfinite(query).all() & torch.isfinite(document).all()):
        return None
    if distinct is None or int(distinct[-1]) >= len(document):
        distinct = _distinct(document)
    if len(distinct) < FEWEST:
        return None
    document = document[distinct]
    query, document = prepared(query, document, similarity)
    own = _scores(document, document, similarity).fill_diagonal_(-torch.inf)
    return Neighbours(
        answers=_scores(query, document, similarity).topk(K, dim=1).indices,
        documents=own.topk(K, dim=1).indices,
        distinct=distinct,
    )


def hub_occurrence(neighbours: Neighbours) -> Tensor:
    """Return the share of the queries' top-10 places that hubs take.

    A hub is a document with at least twice as many places as on average. Of 512 queries and documents of an encoder
    that retrieves well it is below .5 (Radovanovic et al. 2010; Feldbauer et al. 2018).

    Args:
        neighbours: Who is near whom.

    Returns:
        In ``[0, 1]``; small samples have hubs by chance, so hold it against the raw encoder's at the same number.

    >>> rows = torch.arange(60)
    >>> everybody = Neighbours(answers=rows[:10].repeat(60, 1), documents=rows.repeat(60, 1)[:, :10], distinct=rows)
    >>> hub_occurrence(everybody).item()
    1.0
    """
    places = neighbours.answers.flatten()
    counts = torch.zeros(len(neighbours.distinct), dtype=wide(places.device), device=places.device)
    counts.index_add_(0, places, torch.ones_like(places, dtype=counts.dtype))
    return (counts * (counts >= 2 * counts.mean())).sum() / counts.sum()


def neighbour_overlap(neighbours: Neighbours, earlier: Neighbours) -> Tensor:
    """Return the share of every document's ten nearest documents that it had before, in the mean.

    Args:
        neighbours: Who is near whom now.
        earlier: Who was, under the raw encoder, else at step 0, of the same texts.

    Returns:
        In ``[0, 1]``: 1 where all neighbours are kept, K / M by chance.

    >>> rows = torch.arange(60)
    >>> now = Neighbours(answers=rows[:10].repeat(60, 1), documents=rows[:10].repeat(60, 1), distinct=rows)
    >>> before = Neighbours(answers=rows[5:15].repeat(60, 1), documents=rows[5:15].repeat(60, 1), distinct=rows)
    >>> neighbour_overlap(now, before).item()
    0.5
    """
    return _overlap(neighbours.documents, earlier.documents)


def answer_overlap(neighbours: Neighbours, earlier: Neighbours) -> Tensor:
    """Return the share of every query's ten best documents that it had before, in the mean.

    Args:
        neighbours: Who is near whom now.
        earlier: Who was, under the raw encoder, else at step 0, of the same texts.

    Returns:
        In ``[0, 1]``.

    >>> rows = torch.arange(60)
    >>> now = Neighbours(answers=rows[:10].repeat(60, 1), documents=rows[:10].repeat(60, 1), distinct=rows)
    >>> answer_overlap(now, now).item()
    1.0
    """
    return _overlap(neighbours.answers, earlier.answers)


def _overlap(now: Tensor, before: Tensor) -> Tensor:
    if now.shape != before.shape:
        return now.new_full((), torch.nan, dtype=wide(now.device))
    return (now[:, :, None] == before.to(now.device)[:, None, :]).any(dim=2).to(wide(now.device)).mean()


def _scores(left: Tensor, right: Tensor, similarity: Similarity) -> Tensor:
    scores = left @ right.T
    return scores if similarity != "euclidean" else 2 * scores - right.square().sum(dim=1)


def _distinct(document: Tensor) -> Tensor:
    """Return the first row of each group of equal rows, ascending."""
    _, group = torch.unique(document, dim=0, return_inverse=True)
    first = torch.full((int(group.max()) + 1,), len(document), device=document.device, dtype=torch.long)
    rows = torch.arange(len(document), device=document.device)
    return first.scatter_reduce(0, group, rows, reduce="amin").sort().values
