"""Paired differences over queries: no "better" or "worse" without an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import InputError
from ._flips import randomisation_p
from ._interval import resolvable, standard_error, t_interval


@dataclass(frozen=True)
class PairedDifference:
    """The mean of b - a over the same queries.

    Attributes:
        mean: Mean difference.
        low: Lower end of the 95 % t interval; NaN for fewer than two queries.
        high: Upper end.
        p_value: Two-sided paired t-test; 1 where all differences are 0.
        n: Queries.
        differences: b - a of every query, ``[n]``.
        queries: Their ids, in the same order; empty where the values came without ids.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int
    differences: np.ndarray = field(repr=False, compare=False)
    queries: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @cached_property
    def randomisation_p(self) -> float:
        """Two-sided p of the sign-flip randomisation test, (1 + extreme draws) / (1 + draws): never 0."""
        return randomisation_p(self.differences)

    @property
    def smallest_resolvable(self) -> float:
        """The true difference that as many queries, as varied as these, would resolve in 80 % of cases at 5 %."""
        return resolvable(standard_error(self.differences))

    @property
    def by_query(self) -> dict[str, float]:
        """Query id to its difference; empty where the values came without ids."""
        return dict(zip(self.queries, self.differences.tolist(), strict=bool(self.queries)))


def paired_difference(
    before: Sequence[float] | Mapping[str, float], after: Sequence[float] | Mapping[str, float]
) -> PairedDifference:
    """Return after - before with its t interval and paired t-test (scipy).

    Args:
        before: Scores of n queries: by query id, or in one order.
        after: Scores of the same queries, in the same form.

    Raises:
        InputError: ids that differ.
        ValueError: lengths that differ, no queries, or ids on one side alone.

    >>> paired_difference({"q1": 0.0, "q2": 0.0}, {"q2": 1.0, "q1": 1.0}).low
    1.0
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping) and before:
        first, second = align(before, after)
        return _of(second - first, tuple(sorted(before)))
    if isinstance(before, Mapping) or isinstance(after, Mapping) or len(before) != len(after) or not len(before):
        raise ValueError(f"paired_difference needs the same queries twice, got {len(before)} and {len(after)}")
    return _of(np.asarray(after, dtype=float) - np.asarray(before, dtype=float), ())


def align(*scores: Mapping[str, float]) -> np.ndarray:
    """Return scores by query id as rows of one array, their columns in the order of the sorted ids.

    Runs are never paired by the position of a query in a file.

    Args:
        scores: Query id to value; every mapping holds the same ids.

    Returns:
        ``[K, Q]`` for K mappings.

    Raises:
        InputError: ids that differ.

    >>> align({"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 3.0}).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    ids = sorted(scores[0]) if scores else []
    for one in scores[1:]:
        if one.keys() != scores[0].keys():
            shared = len(one.keys() & scores[0].keys())
            raise InputError(
                f"two runs have scores of different queries ({len(ids)} and {len(one)}, {shared} shared): "
                "score both on the same collection"
            )
    return np.array([[one[query] for query in ids] for one in scores], dtype=float)


def welch_p(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p that two independent samples have one mean (Welch's t-test); 1 below two values each.

    Args:
        first: ``[n]``.
        second: ``[m]``.
    """
    if min(len(first), len(second)) < 2:
        return 1.0
    from scipy import stats

    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def _of(differences: np.ndarray, queries: tuple[str, ...]) -> PairedDifference:
    found = t_interval(differences)
    return PairedDifference(found.value, found.low, found.high, found.p, len(differences), differences, queries)
