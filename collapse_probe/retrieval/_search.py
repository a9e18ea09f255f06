"""Exact nearest-neighbour search in blocks, over arrays in memory or memory-mapped."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..journal.vocabulary import Similarity

_BLOCK_BYTES = 64 * 2**20
_CANDIDATE_BYTES = 2 * 2**20
_MARGIN = 16


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
    """Return the k best documents of every query; equal scores are ordered by row.

    Documents are read block by block, so that a memory-mapped array of any length takes bounded memory.
    Distances are ranked after subtracting the documents' mean, which changes none of them; the best few are
    then computed again by difference in float64, because the expansion of a squared distance cancels where
    embeddings have collapsed to a point. Where they have collapsed to several points that mean does not help:
    queries whose best k the error bound of float32 cannot tell apart are searched again in float64. Which of more
    than 16 documents at one distance are kept at the cut is then a matter of its rounding; their scores are the same.

    Args:
        queries: ``[Q, D]``.
        documents: ``[N, D]``, N at least 1; may be a memory map, float16 or float32.
        k: Hits of each query, at least 1, cut to N.
        similarity: ``cosine``, ``dot`` or ``euclidean`` (negative distance).
        device: Where the products are computed.

    Raises:
        ValueError: shapes that do not fit, k below 1, or another similarity.
    """
    _check(queries, documents, similarity, k)
    n = len(documents)
    k = min(k, n)
    wanted = min(n, k + _MARGIN) if similarity == "euclidean" else k
    shift = _mean(documents) if similarity == "euclidean" else None
    found, bound = _candidates(queries, documents, wanted, similarity, shift, device=device)
    scores, indices = found[0].cpu().double().numpy(), found[1].cpu().numpy()
    if similarity == "euclidean":
        scores = _distances(queries, documents, indices)
        unsure = _unsure(scores, k, bound.cpu().double().numpy()) if wanted < n else np.empty(0, dtype=np.int64)
        if len(unsure):
            again, _ = _candidates(
                queries[unsure], documents, wanted, similarity, shift, device=device, dtype=torch.float64
            )
            indices[unsure] = again[1].cpu().numpy()
            scores[unsure] = _distances(queries[unsure], documents, indices[unsure])
    # Equal scores go by row, whatever order the blocks and the top-k found them in.
    order = np.lexsort((indices, -scores), axis=1)[:, :k]
    return Hits(np.take_along_axis(scores, order, axis=1), np.take_along_axis(indices, order, axis=1), n, similarity)


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


def _candidates(
    queries: np.ndarray,
    documents: np.ndarray,
    wanted: int,
    similarity: Similarity,
    shift: Tensor | None,
    *,
    device: str,
    dtype: torch.dtype = torch.float32,
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return the ``[Q, wanted]`` best scores and rows, best first, and ``[Q]`` bounds of the scores' rounding error.

    Scores for ``euclidean`` are 2 q.d - |d|^2 of the shifted vectors: squared distances but for sign and a constant
    of each query.
    """
    left = _prepared(_tensor(queries).to(device=device, dtype=dtype), similarity, shift)
    longest = torch.zeros((), dtype=dtype, device=left.device)
    best: tuple[Tensor, Tensor] | None = None
    for start, block in _blocks(documents, rows=_block_rows(documents, len(queries))):
        right = _prepared(block.to(device=device, dtype=dtype), similarity, shift)
        scores = left @ right.T
        if similarity == "euclidean":
            squares = right.square().sum(dim=1)
            scores.mul_(2).sub_(squares)
            longest = torch.maximum(longest, squares.max())
        values, places = _top(scores, min(wanted, len(block)))
        best = _join(best, (values, places + start), wanted)
    assert best is not None
    # A sum of D products in any order is off by at most D roundings of the sum of their sizes.
    rounding = (documents.shape[1] + 8) * torch.finfo(dtype).eps / 2
    return best, rounding * (2 * left.norm(dim=1) * longest.sqrt() + longest)


def _unsure(scores: np.ndarray, k: int, bound: np.ndarray) -> np.ndarray:
    """Return the queries whose best k could hold a document that is no candidate.

    What is no candidate scored no better than the last candidate, so it is truly at most two bounds nearer.
    """
    kth = np.partition(-scores, k - 1, axis=1)[:, k - 1]
    return np.flatnonzero(scores[:, -1] ** 2 - kth**2 <= 2 * bound)


def _prepared(rows: Tensor, similarity: Similarity, shift: Tensor | None) -> Tensor:
    if similarity == "cosine":
        return torch.nn.functional.normalize(rows, dim=1)
    return rows if shift is None else rows - shift.to(device=rows.device, dtype=rows.dtype)


def _block_rows(documents: np.ndarray, queries: int) -> int:
    """Return how many documents fit a block, counting their float32 rows and their row of scores."""
    return max(1024, _BLOCK_BYTES // (4 * (documents.shape[1] + queries)))


def _blocks(documents: np.ndarray, rows: int) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(documents), rows):
        part = documents[start : start + rows]
        if isinstance(documents, np.memmap):
            yield start, torch.from_numpy(np.array(part, dtype=np.float32))
            _release(documents)
        else:
            yield start, _tensor(np.ascontiguousarray(part, dtype=np.float32))


def _tensor(array: np.ndarray) -> Tensor:
    """Return an array as a tensor, sharing its memory where it may be written to: torch warns of others."""
    array = np.asarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _release(documents: np.memmap) -> None:
    """Give back the pages of a memory map that were read, which would count as resident until the end."""
    mapped = getattr(documents, "_mmap", None)
    # Pages of a copy-on-write map hold the caller's own changes, which exist nowhere else.
    if mapped is not None and documents.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _mean(documents: np.ndarray) -> Tensor:
    total = torch.zeros(documents.shape[1], dtype=torch.float64)
    for _, block in _blocks(documents, rows=_block_rows(documents, 0)):
        total += block.sum(dim=0, dtype=torch.float64)
    return (total / len(documents)).float()


def _top(scores: Tensor, k: int, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the k best of every query and their places, best first; of equal ones at the cut, those of lower rows.

    ``rows`` are the documents' where places are not in their order.
    """
    if k == scores.shape[1]:
        found = scores.topk(k, dim=1)
        return found.values, found.indices
    values, places = scores.topk(k + 1, dim=1)
    # topk picks any of equal scores; only rows where the cut goes through equal ones need the slower sort.
    torn = torch.nonzero(values[:, k - 1] == values[:, k]).flatten()
    values, places = values[:, :k].contiguous(), places[:, :k].contiguous()
    if len(torn):
        by_row = None if rows is None else rows[torn].argsort(dim=1)
        part = scores[torn] if by_row is None else scores[torn].gather(1, by_row)
        ordered = part.sort(dim=1, descending=True, stable=True)
        chosen = ordered.indices[:, :k]
        values[torn] = ordered.values[:, :k]
        places[torn] = chosen if by_row is None else by_row.gather(1, chosen)
    return values, places


def _join(best: tuple[Tensor, Tensor] | None, found: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    if best is None:
        return found
    scores = torch.cat([best[0], found[0]], dim=1)
    indices = torch.cat([best[1], found[1]], dim=1)
    values, places = _top(scores, min(k, scores.shape[1]), indices)
    return values, indices.gather(1, places)


def _distances(queries: np.ndarray, documents: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the negative distances of candidates by difference, in float64.

    In parts that fit a cache: the gathered candidates of all queries together would not.
    """
    scores = np.empty(indices.shape, dtype=np.float64)
    rows = max(1, _CANDIDATE_BYTES // (8 * indices.shape[1] * documents.shape[1]))
    for number, start in enumerate(range(0, len(queries), rows)):
        part = slice(start, start + rows)
        candidates = torch.from_numpy(documents[indices[part]]).double()
        query = _tensor(np.asarray(queries[part], dtype=np.float64))
        scores[part] = -torch.linalg.vector_norm(candidates.sub_(query[:, None, :]), dim=2).numpy()
        if isinstance(documents, np.memmap) and number % 16 == 15:
            _release(documents)
    return scores
