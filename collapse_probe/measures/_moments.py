"""Means and centred second moments that merge: micro-batches, windows and ranks use the same merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ._checks import centred, matrix, ratio, wide, widened
from ._scale import dead_share
from ._spectrum import participation_ratio, participation_ratio_corrected


@dataclass(frozen=True)
class Moments:
    """What is left of some rows: their number, mean and centred second moments, in the widest type, on the device.

    Merging is exact up to rounding, in any order and split (Chan, Golub & LeVeque 1983); nothing cancels, since
    each part is centred before it is squared. What is not finite stays so.

    Attributes:
        n: Rows.
        mean: ``[D]``, in embedding units; zeros where there is no row.
        second: ``[D]``, sums of squared deviations; ``[D, D]``, sums of products, where they are full.

    >>> z = torch.tensor([[1.0], [2.0], [6.0]])
    >>> parts = Moments.start(1).update(z[:1]).merge(Moments.start(1).update(z[1:]))
    >>> parts.n, parts.mean.item(), parts.finish()["spread"].item()
    (3, 3.0, 7.0)
    """

    n: int
    mean: Tensor
    second: Tensor

    @classmethod
    def start(cls, dimension: int, *, full: bool = False, device: torch.device | str = "cpu") -> Self:
        """Return the moments of no rows.

        Args:
            dimension: D.
            full: Keep all products, D^2 of them, which ranks need.
            device: Where they lie.
        """
        place = torch.device(device)
        shape = (dimension, dimension) if full else (dimension,)
        zeros = (torch.zeros(size, dtype=wide(place), device=place) for size in ((dimension,), shape))
        return cls(0, *zeros)

    def update(self, z: Tensor) -> Self:
        """Return the moments with the rows of ``z``, ``[N, D]``, taken in; waits for no device.

        Raises:
            ValueError: not ``[N, D]``, or another D.
        """
        z = matrix("Moments", z)
        rows = centred(z)
        # Of equal rows exactly their row: the rounded mean of equal rows need not be it.
        mean = widened(z[0]) + (widened(z) - widened(z[0])).mean(dim=0)
        second = rows.T @ rows if self.second.ndim == 2 else rows.square().sum(dim=0)
        return self.merge(type(self)(len(z), mean, second))

    def merge(self, other: Moments) -> Self:
        """Return the moments of both; waits for no device.

        Raises:
            ValueError: another D, or only one of them is full.
        """
        if self.second.shape != other.second.shape:
            raise ValueError(
                f"moments of {tuple(self.second.shape)} and {tuple(other.second.shape)} do not merge: "
                "use one dimension and full= for both"
            )
        n = self.n + other.n
        if self.n == 0 or other.n == 0:
            some = other if self.n == 0 else self
            return type(self)(n, some.mean, some.second)
        step = other.mean - self.mean
        product = torch.outer(step, step) if self.second.ndim == 2 else step.square()
        mean = self.mean + step * (other.n / n)
        return type(self)(n, mean, self.second + other.second + product * (self.n * other.n / n))

    def finish(self) -> dict[str, Tensor]:
        """Return the measures that follow from the moments, by name; empty where there is no row.

        ``spread``, ``common_share``, ``std_mean``, ``std_min``, ``dead_dimensions``, and of full moments
        ``participation_ratio`` and ``participation_ratio_corrected``.
        """
        if self.n == 0:
            return {}
        full = self.second.ndim == 2
        sums = self.second.diagonal() if full else self.second
        std = (sums / max(self.n - 1, 1)).sqrt()
        common = self.mean.square().sum()
        values = {
            "spread": sums.sum() / (max(self.n - 1, 1) * len(sums)),
            "common_share": ratio(common, common + sums.sum() / self.n).clamp(max=1.0),
            "std_mean": std.mean(),
            "std_min": std.min(),
            "dead_dimensions": dead_share(std),
        }
        if full:
            covariance = self.second / max(self.n - 1, 1)
            values["participation_ratio"] = participation_ratio(covariance)
            values["participation_ratio_corrected"] = participation_ratio_corrected(covariance, n=self.n)
        return values
