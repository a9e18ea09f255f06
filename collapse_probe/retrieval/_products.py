"""Scores as products of centred vectors, block by block, and how far rounding can put them off."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..journal.vocabulary import Similarity

_BLOCK_BYTES = 64 * 2**20
_SAMPLED = 128
_GROUP = 8
_PART_ROWS = 512


class Products:
    """Every query's scores of a block of documents, in one precision, but for a constant of the query.

    What the documents have in common is taken off first, in float64, and so is what the queries have in common, whose
    share of a score is a number of the document: so the rounding error is that of what sets vectors apart. Scores of
    ``euclidean`` are negative squared distances. Products are in full precision, whatever autocast or TF32 the caller
    has on.

    Args:
        queries: ``[Q, D]``.
        documents: ``[N, D]``.
        similarity: ``cosine``, ``dot`` or ``euclidean``.
        centre: ``[D]``, float64; any value is right, one amid the documents makes the bound tight.
        device: Where the products are computed.
        dtype: float32 or float64.

    Attributes:
        constants: ``[Q]``, float64: how much more than the score a cosine or a dot product is.
    """

    def __init__(
        self,
        queries: np.ndarray,
        documents: np.ndarray,
        similarity: Similarity,
        centre: Tensor,
        *,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self._documents, self._similarity, self._dtype = documents, similarity, dtype
        left = torch.from_numpy(np.array(queries, dtype=np.float64))
        if similarity == "cosine":
            left = left * _factors(left)
        elif similarity == "euclidean":
            left = 2 * (left - centre)
        shared = left.nanmedian(dim=0).values.nan_to_num(0.0, 0.0, 0.0) if len(left) else torch.zeros_like(centre)
        self.constants = (left @ centre).numpy()
        self._lengths = [_length(one) for one in (left - shared, left, shared, centre)]
        self._left = (left - shared).to(device=device, dtype=dtype)
        self._shared, self._centre = shared.to(device), centre.to(device)
        self._longest = torch.zeros((), dtype=torch.float64, device=device)

    def blocks(self) -> Iterator[tuple[int, np.ndarray, Tensor]]:
        """Yield the first row, the documents as they are, and ``[Q, rows]`` scores, to be used before the next ones."""
        for start, part, block in _blocks(self._documents, rows=_block_rows(self._documents, self._left)):
            with _full_precision(self._left.device.type):
                right, own = self._apart(block.to(self._left.device))
                scores = (self._left @ right.T).add_(own)
            yield start, part, scores

    def _apart(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """Return what sets documents apart, ``[rows, D]``, and their own share of every score, ``[rows]``."""
        right = torch.empty(block.shape, dtype=self._dtype, device=block.device)
        own = torch.empty(len(block), dtype=self._dtype, device=block.device)
        # In parts that fit a cache, on a CPU.
        size = _PART_ROWS if block.device.type == "cpu" else len(block)
        for rows, placed, alone in zip(block.split(size), right.split(size), own.split(size), strict=True):
            one = (rows * _factors(rows) if self._similarity == "cosine" else rows.double()) - self._centre
            squares = torch.linalg.vecdot(one, one)
            # Rows that hold no numbers have no length: no bound holds for them, nor is one needed.
            self._longest = torch.maximum(self._longest, squares.nan_to_num(0.0, 0.0).max())
            share = one @ self._shared
            alone.copy_(share - squares if self._similarity == "euclidean" else share)
            placed.copy_(one)
        return right, own

    def bounds(self) -> np.ndarray:
        """Return ``[Q]``: how far a score of the blocks so far can be from the exact one, rounded in float64.

        A sum of D products in any order is off by at most D roundings of the sum of their sizes; the documents' own
        numbers are rounded when they are made float32, and when they are added.
        """
        dimension, tiny = len(self._centre), torch.finfo(self._dtype).tiny
        unit, exact = torch.finfo(self._dtype).eps / 2, torch.finfo(torch.float64).eps / 2
        apart, whole, shared, common = self._lengths
        longest = np.sqrt(float(self._longest))
        squared = longest**2 if self._similarity == "euclidean" else 0.0
        own = shared * longest + squared
        most = (whole + shared + longest) * (longest + common) + (whole + longest) ** 2 * (squared > 0)
        bound = unit * ((dimension + 8) * apart * longest + 4 * (own + apart * longest))
        return bound + 4 * (dimension + 8) * exact * most + (1 + apart + longest) * dimension * tiny


def centre_of(documents: np.ndarray, similarity: Similarity) -> Tensor:
    """Return the median of documents evenly spaced among all, ``[D]``, float64: outliers do not move it."""
    rows = torch.from_numpy(np.array(documents[:: -(-len(documents) // _SAMPLED)], dtype=np.float64))
    release(documents)
    rows = rows * _factors(rows) if similarity == "cosine" else rows
    return rows.nanmedian(dim=0).values.nan_to_num(0.0, 0.0, 0.0)


def best_of(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best of every row, best first, and their columns, like ``topk``: any of equal ones.

    The k best are in the k groups of columns with the best heads; most others need not be looked at.
    """
    n = scores.shape[1]
    count = n // _GROUP
    if count <= 2 * k:
        found = scores.topk(k, dim=1)
        return found.values, found.indices
    groups = scores[:, : count * _GROUP].unflatten(1, (_GROUP, count))
    heads = groups.amax(dim=1).topk(k, dim=1, sorted=False).indices
    steps = torch.arange(0, count * _GROUP, count, device=scores.device)
    columns = (heads[:, None, :] + steps[:, None]).flatten(1)
    rest = torch.arange(count * _GROUP, n, device=scores.device).expand(len(scores), -1)
    columns = torch.cat([columns, rest], dim=1)
    values, places = scores.gather(1, columns).topk(k, dim=1)
    return values, columns.gather(1, places)


def release(documents: np.ndarray) -> None:
    """Give back the pages of a memory map that were read, which would count as resident until the end."""
    mapped = getattr(documents, "_mmap", None)
    # Pages of a copy-on-write map hold the caller's own changes, which exist nowhere else.
    if mapped is not None and getattr(documents, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _factors(rows: Tensor) -> Tensor:
    """Return what makes the length of rows 1, ``[n, 1]``, float64; 0 for rows of zeros."""
    lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64, keepdim=True)
    return torch.where(lengths > 0, 1 / lengths, 0.0)


def _length(vectors: Tensor) -> Any:
    return torch.linalg.vector_norm(vectors, dim=-1).numpy()


def _block_rows(documents: np.ndarray, left: Tensor) -> int:
    """Return how many documents fit a block, counting their rows and their columns of scores."""
    return max(1024, _BLOCK_BYTES // (left.element_size() * (documents.shape[1] + len(left))))


def _blocks(documents: np.ndarray, rows: int) -> Iterator[tuple[int, np.ndarray, Tensor]]:
    kind = np.float32 if np.can_cast(documents.dtype, np.float32) else np.float64
    for start in range(0, len(documents), rows):
        part = documents[start : start + rows]
        same = part.dtype == kind and part.flags.writeable and not isinstance(documents, np.memmap)
        yield start, part, torch.from_numpy(np.ascontiguousarray(part) if same else np.array(part, dtype=kind))
        if isinstance(documents, np.memmap):
            release(documents)


@contextmanager
def _full_precision(device: str) -> Iterator[None]:
    """Turn the caller's autocast and TF32 (or bfloat16) in float32's place off within."""
    backend = getattr(torch.backends.cuda if device == "cuda" else torch.backends.mkldnn, "matmul", None)
    named = hasattr(backend, "fp32_precision")  # From torch 2.9 on; reading the older setting beside it may raise.
    before = backend.fp32_precision if named else torch.get_float32_matmul_precision()
    lowered = before not in ("none", "ieee", "highest")
    try:
        if lowered:
            _set_precision(backend if named else None, "ieee" if named else "highest")
        with torch.no_grad(), torch.autocast(device, enabled=False):
            yield
    finally:
        if lowered:
            _set_precision(backend if named else None, before)


def _set_precision(backend: Any, value: str) -> None:
    if backend is None:
        torch.set_float32_matmul_precision(value)
    else:
        backend.fp32_precision = value
