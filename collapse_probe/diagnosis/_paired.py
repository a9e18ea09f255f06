"""Paired differences over queries: no "better" or "worse" without an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class PairedDifference:
    """The mean of b - a over the same queries.

    Attributes:
        mean: Mean difference.
        low: Lower end of the confidence interval; NaN for fewer than two queries.
        high: Upper end.
        p_value: Two-sided paired t-test; 1 where all differences are 0.
        n: Queries.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired_difference(before: Sequence[float], after: Sequence[float], *, confidence: float = 0.95) -> PairedDifference:
    """Return after - before with its t interval and paired t-test (scipy).

    Args:
        before: Scores of n queries.
        after: Scores of the same queries, in the same order.
        confidence: Of the interval, in (0, 1).

    Raises:
        ValueError: lengths that differ, or no queries.

    >>> paired_difference([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]).low
    1.0
    """
    if len(before) != len(after) or not len(before):
        raise ValueError(f"paired_difference needs the same queries twice, got {len(before)} and {len(after)}")
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    n = len(differences)
    mean = float(differences.mean())
    if n < 2:
        return PairedDifference(mean, math.nan, math.nan, math.nan, n)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return PairedDifference(mean, mean, mean, 1.0 if mean == 0 else 0.0, n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return PairedDifference(mean, mean - half, mean + half, p_value, n)
