"""One matrix that holds several sides of a batch: one after another, or in turns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ._heard import Heard

_FEWEST, _MOST = 8, 512
"""Pairs of a matrix that are looked at."""

_SHARES, _KINDS = 16, 40
"""Sides that one matrix may hold, and ways to hold them that are looked at."""

_NEAR = 0.9
"""AUC of own rows among all others, above which they belong together; unrelated rows of so few have .5, at most .8."""


@dataclass(frozen=True)
class Rows:
    """Which rows of a matrix are one side.

    Attributes:
        first: The share of rows before it.
        last: The share of rows up to its end.
        every: Sides that take turns there.
        turn: Which of them it is.
    """

    first: Fraction = Fraction(0)
    last: Fraction = Fraction(1)
    every: int = 1
    turn: int = 0

    def fits(self, rows: int) -> bool:
        """Return whether a matrix of so many rows can be divided like this."""
        return all((share * rows).denominator == 1 for share in (self.first, self.last)) and rows % self.every == 0

    def of(self, matrix: Tensor) -> Tensor:
        """Return the rows of ``[..., N, D]``.

        >>> Rows(first=Fraction(1, 2)).of(torch.arange(4)[:, None]).flatten().tolist()
        [2, 3]
        """
        rows = matrix.shape[-2]
        return matrix[..., int(self.first * rows) : int(self.last * rows), :][..., self.turn :: self.every, :]


@dataclass(frozen=True)
class Stacking:
    """How a matrix holds sides.

    Attributes:
        sides: The rows of each.
        blocks: Whether one side comes after the other, not row by row in turns.
    """

    sides: tuple[Rows, ...]

    @property
    def blocks(self) -> bool:
        return all(one.every == 1 for one in self.sides)

    def fits(self, one: Heard) -> bool:
        """Return whether a call's matrix can be divided like this."""
        return one.tensor.ndim == 2 and all(side.fits(len(one.tensor)) for side in self.sides)

    def part(self, one: Heard, which: int) -> Heard:
        """Return one side of a call's matrix, with what was heard of its gradients."""
        rows = self.sides[which]
        gradient = None if one.gradient is None else rows.of(one.gradient)
        by_term = {name: rows.of(found) for name, found in one.by_term.items()}
        return replace(one, tensor=rows.of(one.tensor), gradient=gradient, by_term=by_term)

    def __str__(self) -> str:
        return "sides stacked in one matrix" if self.blocks else "sides in turns in one matrix"


HALVES = Stacking((Rows(last=Fraction(1, 2)), Rows(first=Fraction(1, 2))))
"""One side after the other."""

TURNS = Stacking((Rows(every=2), Rows(every=2, turn=1)))
"""Row by row in turns."""


def rows_of(side: Tensor, matrix: Tensor) -> Rows | None:
    """Return which rows of a matrix a side's are, up to their lengths; None for none of the usual ones.

    Waits for the device.

    >>> z = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    >>> rows_of(2 * z[1::3], z) == Rows(every=3, turn=1), rows_of(z[4:], z) == Rows(first=Fraction(1, 3))
    (True, True)
    """
    n, rows = len(side), len(matrix)
    if not 0 < n <= rows or side.shape[1] != matrix.shape[1]:
        return None
    starts = {0, rows - n, *range(0, rows - n + 1, n)} if rows <= _SHARES * n else {0, rows - n}
    kinds = [Rows(Fraction(at, rows), Fraction(at + n, rows)) for at in sorted(starts)]
    kinds += [Rows(every=rows // n, turn=turn) for turn in range(rows // n)] if rows % n == 0 and n < rows else []
    return next((kind for kind in kinds[:_KINDS] if same_directions(kind.of(matrix), side)), None)


def same_directions(one: Tensor, other: Tensor) -> bool:
    """Return whether the rows of two matrices have the same directions; waits for the device."""
    if one.shape != other.shape:
        return False
    cosines = (normalize(one.float(), dim=1) * normalize(other.float(), dim=1)).sum(dim=1)
    short = one.dtype if one.dtype.itemsize < other.dtype.itemsize else other.dtype
    return bool((cosines > 1 - (1e-5 if short.itemsize >= 4 else 1e-2)).all())


def stacking_of(vectors: Tensor) -> Stacking | None:
    """Return how a matrix holds two sides, by whose rows are near each other; None where that tells nothing.

    Waits for the device, once; not where the user has forbidden that.

    >>> q = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    >>> str(stacking_of(torch.cat([q, q + 0.1]))), stacking_of(q)
    ('sides stacked in one matrix', None)
    """
    if vectors.is_meta or len(vectors) % 2 or len(vectors) < 2 * _FEWEST:
        return None
    if vectors.is_cuda and torch.cuda.get_sync_debug_mode():
        return None
    kinds = (HALVES, TURNS)
    sides = [[normalize(side.of(vectors)[:_MOST].float(), dim=1) for side in kind.sides] for kind in kinds]
    found = torch.stack([_auc(*pair) for pair in sides]).tolist()
    best, kind = max(zip(found, kinds, strict=True), key=lambda one: one[0])
    return kind if best > _NEAR else None


def _auc(left: Tensor, right: Tensor) -> Tensor:
    scores = left @ right.T
    own = scores.diagonal()[:, None]
    return (scores < own).float().sum() / (len(left) * (len(left) - 1))
