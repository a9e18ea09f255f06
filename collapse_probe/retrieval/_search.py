"""Exact nearest-neighbour search in blocks, over arrays in memory or memory-mapped."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Similarity = Literal["euclidean", "cosine", "dot"]

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
    embeddings have collapsed to a point.

    Args:
        queries: ``[Q, D]``.
        documents: ``[N, D]``, N at least 1; may be a memory map, float16 or float32.
        k: Hits of each query, cut to N.
        similarity: ``cosine``, ``dot`` or ``euclidean`` (negative distance).
        device: Where the products are computed.

    Raises:
        ValueError: shapes that do not fit, or another similarity.
    """
    _check(queries, documents, similarity)
    n = len(documents)
    k = min(k, n)
    wanted = min(n, k + _MARGIN) if similarity == "euclidean" else k
    shift = _mean(documents) if similarity == "euclidean" else None
    left = _prepared(torch.from_numpy(np.asarray(queries, dtype=np.float32)).to(device), similarity, shift)
    best: tuple[Tensor, Tensor] | None = None
    for start, block in _blocks(documents, rows=_block_rows(documents, len(queries))):
        right = _prepared(block.to(device), similarity, shift)
        scores = left @ right.T
        if similarity == "euclidean":
            scores.mul_(2).sub_(right.square().sum(dim=1))
        found = _top(scores, min(wanted, len(block)))
        best = _join(best, (found[0], found[1] + start), wanted)
    assert best is not None
    scores, indices = best[0].cpu().double().numpy(), best[1].cpu().numpy()
    if similarity == "euclidean":
        scores = _distances(queries, documents, indices)
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


def _check(queries: np.ndarray, documents: np.ndarray, similarity: str) -> None:
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1] or not len(documents):
        raise ValueError(f"exact_search needs [Q, D] and [N, D] with N > 0, got {queries.shape} and {documents.shape}")
    if similarity not in ("euclidean", "cosine", "dot"):
        raise ValueError(f"unknown similarity {similarity!r}: use cosine, dot or euclidean")


def _prepared(rows: Tensor, similarity: Similarity, shift: Tensor | None) -> Tensor:
    if similarity == "cosine":
        return torch.nn.functional.normalize(rows, dim=1)
    return rows if shift is None else rows - shift.to(rows.device)


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
            yield start, torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))


def _release(documents: np.memmap) -> None:
    """Give back the pages of a memory map that were read, which would count as resident until the end."""
    mapped = getattr(documents, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _mean(documents: np.ndarray) -> Tensor:
    total = torch.zeros(documents.shape[1], dtype=torch.float64)
    for _, block in _blocks(documents, rows=_block_rows(documents, 0)):
        total += block.sum(dim=0, dtype=torch.float64)
    return (total / len(documents)).float()


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    found = scores.topk(k, dim=1)
    return found.values, found.indices


def _join(best: tuple[Tensor, Tensor] | None, found: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    if best is None:
        return found
    scores = torch.cat([best[0], found[0]], dim=1)
    indices = torch.cat([best[1], found[1]], dim=1)
    values, places = _top(scores, min(k, scores.shape[1]))
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
        query = torch.from_numpy(np.asarray(queries[part], dtype=np.float64))
        scores[part] = -torch.linalg.vector_norm(candidates.sub_(query[:, None, :]), dim=2).numpy()
        if isinstance(documents, np.memmap) and number % 16 == 15:
            _release(documents)
    return scores
