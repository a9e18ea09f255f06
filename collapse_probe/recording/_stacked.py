"""One matrix that holds both sides of a batch: a half each, or in turns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ._heard import Heard

_FEWEST, _MOST = 8, 512
"""Pairs of a matrix that are looked at."""

_NEAR = 0.9
"""AUC of own rows among all others, above which they belong together; unrelated rows of so few have .5, at most .8."""


@dataclass(frozen=True)
class Stacking:
    """How a matrix holds two sides.

    Attributes:
        blocks: Whether one side comes after the other, not row by row in turns.
    """

    blocks: bool

    def side(self, rows: Tensor, which: int) -> Tensor:
        """Return the rows of the first side, 0, or of the second, 1; of ``[..., N, D]``.

        >>> z = torch.arange(4)[:, None]
        >>> Stacking(blocks=True).side(z, 1).flatten().tolist(), Stacking(blocks=False).side(z, 1).flatten().tolist()
        ([2, 3], [1, 3])
        """
        half = rows.shape[-2] // 2
        return rows[..., which * half : (which + 1) * half, :] if self.blocks else rows[..., which::2, :]

    def part(self, one: Heard, which: int) -> Heard:
        """Return one side of a call's matrix, with what was heard of its gradients."""
        gradient = None if one.gradient is None else self.side(one.gradient, which)
        by_term = {name: self.side(found, which) for name, found in one.by_term.items()}
        return replace(one, tensor=self.side(one.tensor, which), gradient=gradient, by_term=by_term)

    def __str__(self) -> str:
        return "sides stacked in one matrix" if self.blocks else "sides in turns in one matrix"


def stacking_of(vectors: Tensor) -> Stacking | None:
    """Return how a matrix holds two sides, by whose rows are near each other; None where that tells nothing.

    Waits for the device, once; not where the user has forbidden that.

    >>> q = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    >>> stacking_of(torch.cat([q, q + 0.1])), stacking_of(q)
    (Stacking(blocks=True), None)
    """
    if vectors.is_meta or len(vectors) % 2 or len(vectors) < 2 * _FEWEST:
        return None
    if vectors.is_cuda and torch.cuda.get_sync_debug_mode():
        return None
    kinds = (Stacking(blocks=True), Stacking(blocks=False))
    sides = [[normalize(kind.side(vectors, which)[:_MOST].float(), dim=1) for which in (0, 1)] for kind in kinds]
    found = torch.stack([_auc(*pair) for pair in sides]).tolist()
    best, kind = max(zip(found, kinds, strict=True), key=lambda one: one[0])
    return kind if best > _NEAR else None


def _auc(left: Tensor, right: Tensor) -> Tensor:
    scores = left @ right.T
    own = scores.diagonal()[:, None]
    return (scores < own).float().sum() / (len(left) * (len(left) - 1))
