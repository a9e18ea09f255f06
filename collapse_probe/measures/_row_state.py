"""What is left of a stream's rows, so that measures of several processes' rows together follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ._checks import matrix, nan_from, row_norms, unit_rows, wide, widened
from ._moments import Moments
from ._scale import finite_share, norm_mean, norm_median, norm_spread

FULL = 64
"""Columns up to which all products are kept, D (D + 1) / 2 of them, which a participation ratio needs."""

SPECTRAL = ("participation_ratio", "participation_ratio_corrected")
MEASURED = (
    "finite_share",
    "norm_mean",
    "norm_median",
    "norm_spread",
    "mean_cosine",
    "spread",
    "common_share",
    "std_mean",
    "std_min",
    "dead_dimensions",
)


@dataclass(frozen=True)
class RowState:
    """Moments, norms and directions of some rows, in the widest type, on the device; merging is exact up to rounding.

    Attributes:
        moments: Number, mean and centred second moments; full up to :data:`FULL` columns.
        norms: ``[n]``, of the rows, in embedding units.
        directions: ``[D]``, the sum of the unit rows.
        finite: A scalar: the share of finite entries times ``n``.

    >>> z = torch.tensor([[3.0, 4.0], [0.0, 2.0], [6.0, 8.0]])
    >>> both = RowState.of(z[:1]).merge(RowState.of(z[1:]))
    >>> both.moments.n, both.finish()["norm_median"].item()
    (3, 5.0)
    """

    moments: Moments
    norms: Tensor
    directions: Tensor
    finite: Tensor

    @classmethod
    def of(cls, z: Tensor) -> Self:
        """Return what is left of the rows of ``z``, ``[N, D]``; waits for no device.

        Raises:
            ValueError: not ``[N, D]``.
        """
        finite = finite_share(z).to(wide(z.device)) * len(z)
        z = matrix("RowState", z)
        moments = Moments.start(z.shape[1], full=z.shape[1] <= FULL, device=z.device).update(z)
        return cls(moments, row_norms(z), widened(unit_rows(z)).sum(dim=0), finite)

    def vector(self) -> Tensor:
        """Return all of it as one vector, for :meth:`from_vector`; waits for no device."""
        second = self.moments.second
        if second.ndim == 2:
            rows, columns = torch.triu_indices(*second.shape, device=second.device)
            second = second[rows, columns]
        return torch.cat([self.finite.reshape(1), self.norms, self.moments.mean, self.directions, second])

    @staticmethod
    def measures(z: Tensor) -> tuple[str, ...]:
        """Return the names of the measures that :meth:`finish` gives of a stream ``[N, D]``."""
        return MEASURED + (SPECTRAL if z.shape[1] <= FULL else ())

    @classmethod
    def size(cls, n: int, dimension: int) -> int:
        """Return how long the vector of ``n`` rows is."""
        seconds = dimension * (dimension + 1) // 2 if dimension <= FULL else dimension
        return 1 + n + 2 * dimension + seconds

    @classmethod
    def from_vector(cls, vector: Tensor, *, n: int, dimension: int) -> Self:
        """Return what :meth:`vector` was made of.

        Raises:
            RuntimeError: a vector of another length.
        """
        sizes = (1, n, dimension, dimension, cls.size(n, dimension) - 1 - n - 2 * dimension)
        finite, norms, mean, directions, second = vector.split(sizes)
        if dimension <= FULL:
            rows, columns = torch.triu_indices(dimension, dimension)
            square = vector.new_zeros(dimension, dimension)
            square[rows, columns] = second
            second = square + square.triu(1).T
        return cls(Moments(n, mean, second), norms, directions, finite.reshape(()))

    def merge(self, other: RowState) -> Self:
        """Return what is left of both's rows.

        Raises:
            ValueError: another D.
        """
        return type(self)(
            self.moments.merge(other.moments),
            torch.cat([self.norms, other.norms]),
            self.directions + other.directions,
            self.finite + other.finite,
        )

    def same_rows(self, other: RowState) -> bool:
        """Return whether both are of the same rows, to rounding, as where they were gathered; waits for the device."""
        if self.norms.shape != other.norms.shape or self.moments.mean.shape != other.moments.mean.shape:
            return False
        pairs = ((self.norms, other.norms), (self.moments.mean, other.moments.mean))
        return all(torch.allclose(mine, theirs, rtol=1e-6, atol=0.0, equal_nan=True) for mine, theirs in pairs)

    def finish(self) -> dict[str, Tensor]:
        """Return the measures that follow, by name; of full moments ``participation_ratio`` and its correction, too."""
        n, norms = self.moments.n, self.norms[:, None]
        unit = (self.norms > 0).sum()
        others = max(n * (n - 1), 1)
        cosine = (self.directions.square().sum() - unit) / others
        return {
            "finite_share": self.finite / n,
            "norm_mean": norm_mean(norms),
            "norm_median": norm_median(norms),
            "norm_spread": norm_spread(norms),
            "mean_cosine": nan_from(self.directions, cosine.clamp(-1 / max(n - 1, 1), 1.0) * (n > 1)),
            **self.moments.finish(),
        }
