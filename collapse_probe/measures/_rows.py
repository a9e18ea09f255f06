"""Pairs row by row: queries beside their own documents, or beside others' in the same order every time."""

from __future__ import annotations

from torch import Tensor

from ._checks import pair, row_norms, unit_rows
from ._scores import checked_pairs
from ._shared import shared

__all__ = [
    "cosine_mean",
    "cosine_random_mean",
    "distance_mean",
    "distance_random_mean",
    "mismatched",
    "pair_cosine",
    "pair_distance",
]


def pair_distance(query: Tensor, document: Tensor) -> Tensor:
    """Return the Euclidean distance of every pair, in embedding units.

    By difference: the expansion ||q||^2 + ||d||^2 - 2 q.d cancels at collapse.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``.

    Returns:
        ``[N]``, of at least 0.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> import torch
    >>> pair_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [5.0]
    """
    query, document = pair("pair_distance", query, document)
    return row_norms(query - document)


@shared
def pair_cosine(query: Tensor, document: Tensor) -> Tensor:
    """Return the cosine of every pair.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``.

    Returns:
        ``[N]``, in ``[-1, 1]``; 0 where either vector is 0.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> import torch
    >>> pair_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])).tolist()
    [1.0]
    """
    query, document = pair("pair_cosine", query, document)
    return (unit_rows(query) * unit_rows(document)).sum(dim=1).clamp(-1.0, 1.0)


def distance_mean(query: Tensor, document: Tensor, *, own: Tensor | None = None) -> Tensor:
    """Return the mean Euclidean distance of queries and their own documents, in embedding units.

    It rises where retrieval is destroyed as well as where it is learnt: read :func:`d_prime` beside it.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar of at least 0.

    Raises:
        ValueError: shapes that do not fit.

    >>> import torch
    >>> distance_mean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])).item()
    5.0
    """
    return pair_distance(query, own_documents(query, document, own)).mean()


def distance_random_mean(query: Tensor, document: Tensor, *, own: Tensor | None = None) -> Tensor:
    """Return the mean Euclidean distance of mismatched pairs, the same ones every time, in embedding units.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar of at least 0; of the own pair where there is only one.

    Raises:
        ValueError: shapes that do not fit.

    >>> import torch
    >>> distance_random_mean(torch.eye(2), torch.eye(2)).item()
    1.41...
    """
    return pair_distance(query, mismatched(own_documents(query, document, own))).mean()


def cosine_mean(query: Tensor, document: Tensor, *, own: Tensor | None = None) -> Tensor:
    """Return the mean cosine of queries and their own documents.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar in ``[-1, 1]``.

    Raises:
        ValueError: shapes that do not fit.

    >>> import torch
    >>> cosine_mean(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])).item()
    1.0
    """
    return pair_cosine(query, own_documents(query, document, own)).mean()


def cosine_random_mean(query: Tensor, document: Tensor, *, own: Tensor | None = None) -> Tensor:
    """Return the mean cosine of mismatched pairs, the same ones every time.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar in ``[-1, 1]``; of the own pair where there is only one.

    Raises:
        ValueError: shapes that do not fit.

    >>> import torch
    >>> cosine_random_mean(torch.eye(2), torch.eye(2)).item()
    0.0
    """
    return pair_cosine(query, mismatched(own_documents(query, document, own))).mean()


@shared
def own_documents(query: Tensor, document: Tensor, own: Tensor | None) -> Tensor:
    """Return each query's own document ``[Q, D]``, in the documents' type."""
    if own is None and len(query) == len(document):
        return document
    _, _, rows = checked_pairs("own documents", query, document, own)
    return document[rows]


def mismatched(document: Tensor) -> Tensor:
    """Return rows shifted by half of their number: every query meets another's document, always the same.

    Args:
        document: ``[N, D]``.

    >>> import torch
    >>> mismatched(torch.tensor([[1.0], [2.0], [3.0], [4.0]])).flatten().tolist()
    [3.0, 4.0, 1.0, 2.0]
    """
    return document.roll(max(1, len(document) // 2), dims=0)
