"""Exact nearest-neighbour search in blocks, over arrays in memory or memory-mapped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..journal.vocabulary import Similarity
from ._exactly import exact_scores, search_exactly
from ._products import Products, best_of, centre_of

_MARGIN = 16
_SINGLE = 2.0**-22


@dataclass(frozen=True)
class Hits:
    """The k best documents of every query, best first.

    Attributes:
        scores: ``[Q, k]``, float64.
        indices: ``[Q, k]``, rows of the documents.
        n_documents: N.
        similarity: What the scores are.
    """

    scores: np.ndarray
    indices: np.ndarray
    n_documents: int
    similarity: Similarity


def exact_search(
    queries: np.ndarray, documents: np.ndarray, *, k: int, similarity: Similarity, device: str = "cpu"
) -> Hits:
    """Return the k best documents of every query; equal scores are ordered by row, scores that are NaN come last.

    Documents are read block by block, so that a memory-mapped array of any length takes bounded memory. The order is
    that of scores computed pair by pair in float64, so it depends on no batch, block, thread or device. Most of it is
    settled by products in float32 of vectors without their common part: only what the bound of their rounding error
    cannot order is scored again in float64 (of distances, all hits), and queries with more of that at the cut than
    16 documents are searched again in float64 as a whole.

    Distances are float64's; a cosine or a dot product whose place was never in doubt keeps its value in float32.

    Args:
        queries: ``[Q, D]``.
        documents: ``[N, D]``, N at least 1; may be a memory map, float16 or float32.
        k: Hits of each query, at least 1, cut to N.
        similarity: ``cosine`` (0 with a vector of zeros), ``dot`` or ``euclidean`` (negative distance).
        device: Where the products are computed.

    Raises:
        ValueError: shapes that do not fit, k below 1, or another similarity.
    """
    _check(queries, documents, similarity, k)
    n = len(documents)
    k = min(k, n)
    centre = centre_of(documents, similarity)
    products = Products(queries, documents, similarity, centre, device=device, dtype=torch.float32)
    scores, indices = _candidates(products, min(n, k + _MARGIN))
    # What is no candidate scored no better than the last one; a score in doubt is off by one bound, two by two.
    doubt = 2 * products.bounds()
    with np.errstate(invalid="ignore"):
        unsure = ~(np.isfinite(scores).all(axis=1) & np.isfinite(doubt))
        if scores.shape[1] < n:
            unsure |= ~(scores[:, k - 1] - scores[:, -1] > doubt)
        if similarity != "euclidean":
            # Whether two are equal in float32, in which they are ranked by others, is not left to rounding either.
            scores += products.constants[:, None]
            doubt = doubt + _SINGLE * np.abs(scores).max(axis=1, initial=0)
        close = ~(scores[:, :-1] - scores[:, 1:] > doubt[:, None])
    again = _again(close, k, every=similarity == "euclidean") & ~unsure[:, None]
    rows, found = np.nonzero(again)[0], indices[again]
    exact = exact_scores(queries, documents, (rows, found), similarity)
    order = np.lexsort((found, -exact, rows))
    scores[again], indices[again] = exact[order], found[order]
    scores, indices = scores[:, :k], indices[:, :k]
    if unsure.any():
        scores[unsure], indices[unsure] = search_exactly(
            queries[unsure], documents, k, similarity, centre, device=device
        )
    return Hits(scores, indices, n, similarity)


def tied_share(hits: Hits, *, k: int = 10) -> float:
    """Return the share of the top-k places whose score equals that of a neighbouring place in float32.

    trec_eval orders equal scores by document id, so where this is not near 0 a metric measures names. A
    collapsed encoder ties everything. The place after the k-th counts as a neighbour where it was found.

    Args:
        hits: The result of a search.
        k: Places looked at.

    Returns:
        In ``[0, 1]``; 0 for one document.
    """
    scores = hits.scores[:, : k + 1].astype(np.float32)
    equal = scores[:, 1:] == scores[:, :-1]
    tied = np.zeros(scores.shape, dtype=bool)
    tied[:, 1:] |= equal
    tied[:, :-1] |= equal
    return float(tied[:, :k].mean()) if tied.size else 0.0


def _check(queries: np.ndarray, documents: np.ndarray, similarity: str, k: int) -> None:
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1] or not len(documents):
        raise ValueError(f"exact_search needs [Q, D] and [N, D] with N > 0, got {queries.shape} and {documents.shape}")
    if similarity not in ("euclidean", "cosine", "dot"):
        raise ValueError(f"unknown similarity {similarity!r}: use cosine, dot or euclidean")
    if k < 1:
        raise ValueError(f"exact_search needs k of at least 1, got {k}")


def _candidates(products: Products, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``[Q, wanted]`` best products, float64, and rows, best first."""
    best: tuple[torch.Tensor, torch.Tensor] | None = None
    for start, _, scores in products.blocks():
        values, places = best_of(scores, min(wanted, scores.shape[1]))
        rows = places + start
        if best is not None:
            values, rows = torch.cat([best[0], values], dim=1), torch.cat([best[1], rows], dim=1)
            values, places = values.topk(min(wanted, values.shape[1]), dim=1)
            rows = rows.gather(1, places)
        best = values, rows
    assert best is not None
    return best[0].cpu().double().numpy(), best[1].cpu().numpy()


def _again(close: np.ndarray, k: int, *, every: bool) -> np.ndarray:
    """Return ``[Q, W]``: which candidates float64 has to order, from ``[Q, W - 1]``, whether two that follow are close.

    Of those below the cut, the ones that a chain of close ones ties to the last above it.
    """
    again = np.full((len(close), close.shape[1] + 1), every)
    again[:, :-1] |= close
    again[:, 1:] |= close
    again[:, k:] = np.logical_and.accumulate(close[:, k - 1 :], axis=1)
    return again
