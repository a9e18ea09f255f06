"""Queries against their own documents and against the others of a batch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ._checks import nan_from, pair, ratio, row_norms, unit_rows

Similarity = Literal["euclidean", "cosine", "dot"]


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

    >>> pair_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [5.0]
    """
    query, document = pair("pair_distance", query, document)
    return row_norms(query - document)


def pair_cosine(query: Tensor, document: Tensor) -> Tensor:
    """Return the cosine of every pair.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``.

    Returns:
        ``[N]``, in ``[-1, 1]``; 0 where either vector is 0.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``.

    >>> pair_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])).tolist()
    [1.0]
    """
    query, document = pair("pair_cosine", query, document)
    return (unit_rows(query) * unit_rows(document)).sum(dim=1).clamp(-1.0, 1.0)


def in_batch_margin(query: Tensor, document: Tensor, *, similarity: Similarity) -> Tensor:
    """Return the mean over queries of the positive's score minus the best other document's.

    In units of the score: a margin of a distance shrinks with the embeddings' scale.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``; row i is query i's positive.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).

    Returns:
        A scalar; 0 for one pair, which has no other document.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``, or another similarity.

    >>> in_batch_margin(torch.eye(2), torch.eye(2), similarity="dot").item()
    1.0
    """
    scores = _scores(query, document, similarity)
    if len(scores) < 2:
        return scores.new_zeros(())
    return (scores.diagonal() - _best_other(scores)).mean()


def in_batch_accuracy(query: Tensor, document: Tensor, *, similarity: Similarity) -> Tensor:
    """Return the share of queries whose positive scores strictly above every other document of the batch.

    A tie counts as wrong, because a collapsed encoder ties everything.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``; row i is query i's positive.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).

    Returns:
        A scalar in ``[0, 1]``; 1 / N is chance; 1 for one pair.

    Raises:
        ValueError: shapes that differ or are not ``[N, D]``, or another similarity.

    >>> in_batch_accuracy(torch.ones(3, 2), torch.ones(3, 2), similarity="cosine").item()
    0.0
    """
    scores = _scores(query, document, similarity)
    if len(scores) < 2:
        return scores.new_ones(())
    return nan_from(scores, (scores.diagonal() > _best_other(scores)).to(scores.dtype).mean())


def _scores(query: Tensor, document: Tensor, similarity: Similarity) -> Tensor:
    query, document = pair("in-batch scoring", query, document)
    if similarity == "cosine":
        return unit_rows(query) @ unit_rows(document).T
    if similarity == "dot":
        return query.double() @ document.double().T
    if similarity == "euclidean":
        return -_distances(query, document)
    raise ValueError(f"unknown similarity {similarity!r}: use cosine, dot or euclidean")


def _distances(query: Tensor, document: Tensor) -> Tensor:
    """Return all distances ``[N, N]`` by difference, for embeddings of any scale and any common mean."""
    # cdist squares in the input's precision, so the scale is taken out; a common mean has to go before that, or
    # dividing would round away what little differs between collapsed embeddings.
    shift = document.mean(dim=0)
    query, document = query - shift, document - shift
    scale = torch.maximum(query.abs().amax(), document.abs().amax())
    mode = "donot_use_mm_for_euclid_dist"
    return scale * torch.cdist(ratio(query, scale), ratio(document, scale), compute_mode=mode)


def _best_other(scores: Tensor) -> Tensor:
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return scores.masked_fill(own, -math.inf).amax(dim=1)
