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


class Products:
    """Every query's scores of a block of documents, in one precision, but for a constant of the query.

    A centre is taken off the documents first (off the queries too for distances), which changes no order: what all
    documents have in common would only add to the rounding error. Scores of ``euclidean`` are negative squared
    distances. Products are in full precision, whatever autocast or TF32 the caller has on.

    Args:
        queries: ``[Q, D]``.
        documents: ``[N, D]``.
        similarity: ``cosine``, ``dot`` or ``euclidean``.
        centre: ``[D]``, float32; any value is right, one amid the documents makes the bound tight.
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
        self._centre = centre.to(device=device, dtype=dtype)
        left = torch.from_numpy(np.array(queries, dtype=np.float64))
        if similarity == "cosine":
            left = _unit(left)
        elif similarity == "euclidean":
            left = 2 * (left - centre.double())
        self._left = left.to(device=device, dtype=dtype)
        self._reach = torch.linalg.vector_norm(left, dim=1).numpy()
        self._longest = torch.zeros((), dtype=dtype, device=device)
        self.constants = (left @ centre.double()).numpy()

    def blocks(self) -> Iterator[tuple[int, np.ndarray, Tensor]]:
        """Yield the first row, the documents as they are, and ``[Q, rows]`` scores, to be used before the next ones."""
        for start, part, block in _blocks(self._documents, self._dtype, rows=_block_rows(self._documents, self._left)):
            with _full_precision(self._left.device.type):
                block = block.to(self._left.device)
                right = _unit(block).sub_(self._centre) if self._similarity == "cosine" else block - self._centre
                squares = torch.linalg.vecdot(right, right)
                self._longest = torch.maximum(self._longest, self._known(squares).max())
                scores = self._left @ right.T
                if self._similarity == "euclidean":
                    scores.sub_(squares)
            yield start, part, scores

    def bounds(self) -> np.ndarray:
        """Return ``[Q]``: how far a score of the blocks so far can be from the exact one, rounded in float64.

        A sum of D products in any order is off by at most D roundings of the sum of their sizes. inf or NaN where
        numbers were too large for the precision.
        """
        dimension, tiny = len(self._centre), torch.finfo(self._dtype).tiny
        unit, exact = torch.finfo(self._dtype).eps / 2, torch.finfo(torch.float64).eps / 2
        longest = np.sqrt(float(self._longest) + dimension * tiny)
        common = float(torch.linalg.vector_norm(self._centre.double()))
        if self._similarity == "euclidean":
            centred = longest * (self._reach + longest)
            whole = (self._reach + longest) * (self._reach + longest + common)
        else:
            centred, whole = self._reach * longest, self._reach * (longest + common)
        # Lengths, and numbers that float32 does not hold, are rounded before the centre is taken off.
        rounded = self._similarity == "cosine" or not np.can_cast(self._documents.dtype, np.float32)
        whole = whole * (4 * (dimension + 8) * exact + (4 * unit if rounded else 0))
        return (dimension + 8) * unit * centred + whole + (1 + self._reach) * dimension * tiny

    def _known(self, squares: Tensor) -> Tensor:
        """In float64 only rows that hold no numbers have no length: no bound holds for them, nor is one needed."""
        return squares.nan_to_num(0.0, 0.0) if self._dtype == torch.float64 else squares


def centre_of(documents: np.ndarray, similarity: Similarity) -> Tensor:
    """Return the median of documents evenly spaced among all, ``[D]``, float32: outliers do not move it."""
    rows = torch.from_numpy(_copy(documents[:: -(-len(documents) // _SAMPLED)], np.float32))
    release(documents)
    return (_unit(rows) if similarity == "cosine" else rows).nanmedian(dim=0).values.nan_to_num(0.0, 0.0, 0.0)


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


def _unit(rows: Tensor) -> Tensor:
    """Return rows of length 1, whatever their length was; rows of zeros stay."""
    lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64, keepdim=True)
    factors = torch.where(lengths > 0, 1 / lengths, 0.0)
    unit = rows * factors.to(rows.dtype)
    far = (((lengths < 1e-30) & (lengths > 0)) | (lengths > 1e30)).flatten()
    if far.any():
        unit[far] = (rows[far].double() * factors[far]).to(rows.dtype)
    return unit


def _block_rows(documents: np.ndarray, left: Tensor) -> int:
    """Return how many documents fit a block, counting their rows and their columns of scores."""
    return max(1024, _BLOCK_BYTES // (left.element_size() * (documents.shape[1] + len(left))))


def _blocks(documents: np.ndarray, dtype: torch.dtype, rows: int) -> Iterator[tuple[int, np.ndarray, Tensor]]:
    kind = np.float64 if dtype == torch.float64 else np.float32
    for start in range(0, len(documents), rows):
        part = documents[start : start + rows]
        same = part.dtype == kind and part.flags.writeable and not isinstance(documents, np.memmap)
        yield start, part, torch.from_numpy(np.ascontiguousarray(part) if same else _copy(part, kind))
        if isinstance(documents, np.memmap):
            release(documents)


def _copy(array: np.ndarray, kind: type) -> np.ndarray:
    with np.errstate(over="ignore"):  # What float32 cannot hold makes the bound infinite.
        return np.array(array, dtype=kind)


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
