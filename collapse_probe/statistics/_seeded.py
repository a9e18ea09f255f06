"""The two-way model of seeds and queries: one interval and one p."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ._interval import ROUNDING, from_error, resolvable

SEEDS_TO_CONFIRM = 5
"""Below this nothing is called confirmed: with three seeds the interval covers 92 to 98 %, with five 94 to 97 %."""


@dataclass(frozen=True, kw_only=True)
class SeededDifference:
    """A mean difference over seeds and queries, or a mean over data sets of such means.

    Attributes:
        mean: Mean over seeds and queries.
        low: Lower end of the 95 % interval over seeds and queries; of one seed over queries alone; NaN where a data
            set has one query.
        high: Upper end.
        p_value: Two-sided p of no difference, of the same model.
        error: Its standard error.
        df: Satterthwaite's degrees of freedom, at least 1.
        n_seeds: Seeds; 1 says "this run", and nothing of other seeds.
        n_queries: Queries, of all data sets together.
    """

    mean: float
    low: float
    high: float
    p_value: float
    error: float
    df: float
    n_seeds: int
    n_queries: int

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def sample(self) -> str:
        """What it was taken over, in words: queries and seeds, or queries of this run alone."""
        over = f"x {self.n_seeds} seeds" if self.n_seeds > 1 else "of this run"
        return f"{self.n_queries:,} queries {over}"

    @property
    def smallest_resolvable(self) -> float:
        """The true difference that a sample like this would resolve in 80 % of cases at 5 % two-sided."""
        return resolvable(self.error)


def seeded_difference(*data_sets: np.ndarray) -> SeededDifference:
    """Return the mean difference with its interval and p over seeds and queries.

    Seeds and queries are crossed and random: d = mu + seed + query + residual. The variance of the mean is

        V = s2_seed / S + s2_query / Q - s2_residual / (S Q)

    where s2_seed is the variance of the seeds' means, s2_query that of the queries' means and s2_residual the mean
    square of what is left. The residual's share is in both of the first two, so it is taken off once. V is at least
    the larger of the first two terms. Over K data sets, which share their seeds but not their queries,

        V = s2_seed / S + sum_k [s2_query_k / Q_k - s2_residual_k / (S Q_k)] / K^2

    where s2_seed is the variance of the seeds' means over data sets, and the sums keep the same bound. Degrees of
    freedom are Satterthwaite's (1946) of these terms, at least 1. One seed has the queries' term alone, which of one
    data set is the paired t-test.

    Args:
        data_sets: ``[S, Q]`` differences, one array for each data set: rows are seeds, the same for all, columns are
            queries. :func:`align` makes such rows from scores by query id.

    Raises:
        ValueError: no data set, another shape, or numbers of seeds that differ.

    >>> seeded_difference([[0.1, 0.3], [0.2, 0.4]]).n_seeds
    2
    """
    arrays = [np.asarray(one, dtype=float) for one in data_sets]
    if not arrays or any(one.ndim != 2 or not one.size or len(one) != len(arrays[0]) for one in arrays):
        shapes = [one.shape for one in arrays]
        raise ValueError(f"seeded_difference needs [S, Q] with one S for every data set, got {shapes}")
    by_seed = np.mean([one.mean(axis=1) for one in arrays], axis=0)
    error, df = _error(arrays, by_seed)
    found = from_error(float(by_seed.mean()), error, df)
    return SeededDifference(
        mean=found.value,
        low=found.low,
        high=found.high,
        p_value=found.p,
        error=error,
        df=df,
        n_seeds=len(by_seed),
        n_queries=sum(one.shape[1] for one in arrays),
    )


def _error(arrays: list[np.ndarray], by_seed: np.ndarray) -> tuple[float, float]:
    """Return the standard error of the mean and its degrees of freedom."""
    if min(one.shape[1] for one in arrays) < 2:
        return math.nan, 1.0
    seeds, more = len(by_seed), len(by_seed) - 1
    queries = [(_query_term(one) / len(arrays) ** 2, one.shape[1] - 1) for one in arrays]
    residuals, seed = [], 0.0
    if more:
        seed = float(by_seed.var(ddof=1)) / seeds
        residuals = [(_residual_term(one) / len(arrays) ** 2, more * (one.shape[1] - 1)) for one in arrays]
    query = sum(term for term, _ in queries)
    variance = max(seed + query - sum(term for term, _ in residuals), seed, query)
    if variance <= (ROUNDING * max(float(np.abs(one).max()) for one in arrays)) ** 2:
        return 0.0, 1.0
    spread = sum(term**2 / df for term, df in (*queries, *residuals)) + (seed**2 / more if more else 0.0)
    return math.sqrt(variance), max(1.0, variance**2 / spread)


def _query_term(one: np.ndarray) -> float:
    """Return s2_query / Q."""
    return float(one.mean(axis=0).var(ddof=1)) / one.shape[1]


def _residual_term(one: np.ndarray) -> float:
    """Return s2_residual / (S Q): the interaction's mean square over the number of values."""
    left = one - one.mean(axis=1, keepdims=True) - one.mean(axis=0) + one.mean()
    return float(np.sum(left**2)) / ((one.shape[0] - 1) * (one.shape[1] - 1)) / one.size
