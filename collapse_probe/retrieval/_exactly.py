"""Scores in float64, pair by pair, which decide the order of a search; and a search by them alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..journal.vocabulary import Similarity
from ._products import Products, best_of, release

_PART_BYTES = 2**19
_PARTS = 16


def exact_scores(
    queries: np.ndarray, documents: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], similarity: Similarity
) -> np.ndarray:
    """Return the scores of pairs, ``[P]``, float64: each the same bits whatever else is asked, on the CPU.

    A cosine with a vector of zeros is 0; vectors that hold no numbers score NaN.

    Args:
        queries: ``[Q, D]``.
        documents: ``[N, D]``.
        pairs: Rows of the queries and of the documents, ``[P]`` each.
        similarity: ``cosine``, ``dot`` or ``euclidean`` (negative distance).
    """
    left = np.asarray(queries, dtype=np.float64)
    scores = np.empty(len(pairs[0]), dtype=np.float64)
    # In parts that fit a cache: the gathered vectors of all pairs together would not.
    size = max(1, _PART_BYTES // (8 * left.shape[1]))
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt(_dot(left, left))

    def score(start: int) -> None:
        for begin in range(start, min(start + _PARTS * size, len(scores)), size):
            part = slice(begin, begin + size)
            query, document = left.take(pairs[0][part], axis=0), documents.take(pairs[1][part], axis=0)
            with np.errstate(invalid="ignore", over="ignore"):
                scores[part] = _scored(query, document.astype(np.float64), lengths[pairs[0][part]], similarity)
        if isinstance(documents, np.memmap):
            release(documents)

    starts = range(0, len(scores), _PARTS * size)
    if len(starts) > 1 and torch.get_num_threads() > 1:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(score, starts))
    else:
        for start in starts:
            score(start)
    return scores


def search_exactly(
    queries: np.ndarray, documents: np.ndarray, k: int, similarity: Similarity, centre: Tensor, *, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``[Q, k]`` scores and rows, best first, equal ones by row and NaN last, however many are equal.

    Products in float64 leave out what cannot be among the best; the others are scored pair by pair.
    """
    products = Products(queries, documents, similarity, centre, device=device, dtype=torch.float64)
    floor = torch.full((len(queries), 1), -torch.inf, dtype=torch.float64, device=device)
    lost = torch.from_numpy(np.isnan(queries).any(axis=1)).to(device)
    query, row, score = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    for start, block, products_of_block in products.blocks():
        n = len(block)
        if n >= k:
            known = products_of_block.nan_to_num(-torch.inf, -torch.inf, -torch.inf)
            floor = torch.maximum(floor, best_of(known, k)[0][:, -1:])
        margin = torch.from_numpy(2 * products.bounds()).to(device).nan_to_num(torch.inf)
        near = ~(products_of_block < floor - margin[:, None])
        near[lost] = torch.arange(start, start + n, device=device) < k
        if near.sum() > 4 * k * len(queries):
            near &= torch.from_numpy(_first_equal(block, k)).to(device)
        found, column = near.nonzero().T.cpu().numpy()
        new = exact_scores(queries, documents, (found, start + column), similarity)
        query, row, score = (np.concatenate(both) for both in ((query, found), (row, start + column), (score, new)))
        order = np.lexsort((row, -score, query))
        query, row, score = query[order], row[order], score[order]
        best = np.arange(len(query)) - np.searchsorted(query, query) < k
        query, row, score = query[best], row[best], score[best]
    return score.reshape(-1, k), row.reshape(-1, k)


def _scored(query: np.ndarray, document: np.ndarray, lengths: np.ndarray, similarity: Similarity) -> np.ndarray:
    if similarity == "euclidean":
        document -= query
        return -np.sqrt(_dot(document, document))
    scores = _dot(query, document)
    if similarity == "cosine":
        both = lengths * np.sqrt(_dot(document, document))
        np.divide(scores, both, out=scores, where=both != 0)
    return scores


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row, on one thread: a product of matrices would round a pair by what stands beside it."""
    return np.einsum("ij,ij->i", a, b)


def _first_equal(block: np.ndarray, k: int) -> np.ndarray:
    """Return ``[rows]``: whether a document is among the first k of those with its very bytes."""
    block = np.ascontiguousarray(block)
    _, kind = np.unique(block.view(np.dtype((np.void, block.dtype.itemsize * block.shape[1]))), return_inverse=True)
    kind = kind.ravel()
    order = np.argsort(kind, kind="stable")
    first = np.empty(len(kind), dtype=bool)
    first[order] = np.arange(len(kind)) - np.searchsorted(kind[order], kind[order]) < k
    return first
