"""Histograms with fixed bins, so that they are merged by addition; they stay on the device until asked."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .. import measures


class LinearHistogram:
    """Counts in equal bins between two finite edges, with what lies outside counted apart.

    Args:
        low: Lower edge of the first bin.
        high: Upper edge of the last bin, above ``low``.
        bins: Number of bins.

    Raises:
        ValueError: no bins, or edges that are not finite and ascending.
    """

    def __init__(self, *, low: float, high: float, bins: int) -> None:
        if bins < 1 or not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"a histogram needs bins between two ascending edges, got {bins} from {low} to {high}")
        self._low = low
        self._high = high
        self._bins = bins
        self._counts: Tensor | None = None

    @property
    def edges(self) -> Tensor:
        """The ``bins + 1`` edges, float64."""
        return self._position_to_value(torch.linspace(self._low, self._high, self._bins + 1, dtype=torch.float64))

    def update(self, values: Tensor) -> None:
        """Count the entries of a tensor of any shape but NaN, infinities outside the bins; waits for no device."""
        position = self._value_to_position(values.detach().flatten().float())
        index = (position - self._low) / (self._high - self._low) * self._bins
        index = index.floor_().clamp_(-1, self._bins).nan_to_num_(nan=self._bins + 1.0).add_(1).long()
        counts = torch.zeros(self._bins + 3, dtype=torch.long, device=values.device)
        counts.scatter_add_(0, index, counts.new_ones(()).expand_as(index))
        # The last place holds what was NaN, which is no value to count.
        self._counts = counts[:-1] if self._counts is None else self._counts + counts[:-1]

    def merge(self, other: LinearHistogram) -> None:
        """Add another histogram's counts.

        Raises:
            ValueError: other bins.
        """
        if type(other) is not type(self) or not torch.equal(self.edges, other.edges):
            raise ValueError("only histograms of the same bins can be merged")
        if other._counts is not None:
            mine = torch.zeros_like(other._counts) if self._counts is None else self._counts
            self._counts = mine + other._counts.to(mine.device)

    def counts(self) -> Tensor:
        """Return ``[bins + 2]`` on the CPU: below the first edge, the bins, and from the last edge on."""
        empty = torch.zeros(self._bins + 2, dtype=torch.long)
        return empty if self._counts is None else self._counts.cpu()

    def as_dict(self, counted: Tensor | None = None) -> dict[str, list[float] | list[int] | int]:
        """Return ``edges``, ``counts``, ``below`` and ``above`` as the journal holds them.

        Args:
            counted: Counts of the same bins, as :meth:`counts` returns them; its own if None.
        """
        below, *counts, above = (self.counts() if counted is None else counted).tolist()
        return {"edges": self.edges.tolist(), "counts": counts, "below": below, "above": above}

    def _value_to_position(self, values: Tensor) -> Tensor:
        return values

    def _position_to_value(self, positions: Tensor) -> Tensor:
        return positions


class LogHistogram(LinearHistogram):
    """Counts of absolute values in bins of equal width in log10; zeros count as below the first edge.

    Args:
        low: Lower edge of the first bin, above 0.
        high: Upper edge of the last bin.
        bins: Number of bins.

    Raises:
        ValueError: edges that are not positive, finite and ascending.
    """

    def __init__(self, *, low: float, high: float, bins: int) -> None:
        if low <= 0 or not math.isfinite(high) or high <= low:
            raise ValueError(f"a log histogram needs 0 < low < high, got {low} and {high}")
        super().__init__(low=math.log10(low), high=math.log10(high), bins=bins)

    def _value_to_position(self, values: Tensor) -> Tensor:
        return values.abs().log10()

    def _position_to_value(self, positions: Tensor) -> Tensor:
        return 10.0**positions


def pair_histograms(query: Tensor, document: Tensor) -> Iterator[tuple[str, LinearHistogram, int]]:
    """Yield histograms of own pairs' distances and cosines, and of those with another's document; waits.

    Where a distance is not finite there is none.

    Args:
        query: ``[N, D]``.
        document: ``[N, D]``, row by row the queries' own.

    Yields:
        Name, histogram, and values counted.
    """
    if query.shape != document.shape:
        return
    for suffix, other in (("", document), ("_random", document.roll(max(1, len(document) // 2), dims=0))):
        distances = measures.pair_distance(query, other)
        farthest = max(float(distances.max()) * 1.001, 1e-30)
        if not math.isfinite(farthest):
            return
        cosines = measures.pair_cosine(query, other)
        for name, values, low, high in (("distance", distances, 0.0, farthest), ("cosine", cosines, -1.0, 1.0)):
            histogram = LinearHistogram(low=low, high=high, bins=60)
            histogram.update(values)
            yield f"pairs/{name}{suffix}", histogram, len(values)
