"""Paired statistics: no "better" or "worse" without an interval. The one place for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import stats

DRAWS = 10_000
"""Draws of every randomisation test and bootstrap."""

_SEED = 20_251_118
_ROUNDING = 1e-12
_BLOCK = 2**22


@dataclass(frozen=True)
class PairedDifference:
    """The mean of b - a over the same queries.

    Attributes:
        mean: Mean difference.
        low: Lower end of the t confidence interval; NaN for fewer than two queries.
        high: Upper end.
        p_value: Two-sided paired t-test; 1 where all differences are 0.
        n: Queries.
        differences: b - a of every query, ``[n]``.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int
    differences: np.ndarray = field(repr=False, compare=False)

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @cached_property
    def randomisation_p(self) -> float:
        """Two-sided p of the sign-flip randomisation test, (1 + extreme draws) / (1 + draws): never 0."""
        return randomisation_p([self.differences])

    @cached_property
    def bootstrap(self) -> tuple[float, float]:
        """95 % percentile interval over resampled queries; (NaN, NaN) for fewer than two.

        The percentile form, because the mean of a few hundred bounded differences is close to symmetric.
        """
        if self.n < 2:
            return math.nan, math.nan
        found = over_seeds(self.differences[None, :])
        return found.low, found.high

    @property
    def effect_size(self) -> float:
        """Cohen's d_z: the mean over the standard deviation of the differences; 0 where all are 0."""
        spread = self._spread
        if spread == 0:
            return 0.0 if self.mean == 0 else math.copysign(math.inf, self.mean)
        return self.mean / spread

    @property
    def smallest_resolvable(self) -> float:
        """The true difference that as many queries, as varied as these, would resolve in 80 % of cases at 5 %."""
        return smallest_resolvable([self.differences])

    @property
    def _spread(self) -> float:
        """Return the standard deviation of the differences; 0 where they are equal but for rounding."""
        if self.n < 2:
            return math.nan
        spread = float(self.differences.std(ddof=1))
        return 0.0 if spread <= _ROUNDING * np.abs(self.differences).max() else spread


@dataclass(frozen=True)
class SeededDifference:
    """A mean difference over seeds and queries, or a mean over data sets of such means.

    Attributes:
        mean: Mean over seeds and queries.
        low: Lower end of the 95 % percentile interval of a bootstrap over seeds and queries; NaN for one query.
        high: Upper end.
        sd_seeds: Standard deviation of the seeds' means; NaN for one seed.
        n_seeds: Seeds.
        n_queries: Queries, of all data sets together.
    """

    mean: float
    low: float
    high: float
    sd_seeds: float
    n_seeds: int
    n_queries: int

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
        return PairedDifference(mean, math.nan, math.nan, math.nan, n, differences)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return PairedDifference(mean, mean, mean, 1.0 if mean == 0 else 0.0, n, differences)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return PairedDifference(mean, mean - half, mean + half, p_value, n, differences)


def over_seeds(*data_sets: np.ndarray) -> SeededDifference:
    """Return the mean difference with a bootstrap interval over seeds and queries.

    Every draw resamples seeds with replacement (the same ones for all data sets) and, within each data set, queries
    (the same ones for all its seeds, since seeds share them). One seed is resampled over queries alone. Few seeds
    make the interval too narrow: it cannot hold seeds that were not drawn.

    Args:
        data_sets: ``[S, Q]`` differences, one array for each data set; S is the same for all.

    Returns:
        The mean over data sets of each one's mean.

    Raises:
        ValueError: no data set, another shape, or numbers of seeds that differ.
    """
    arrays = [np.asarray(one, dtype=float) for one in data_sets]
    if not arrays or any(one.ndim != 2 or not one.size or len(one) != len(arrays[0]) for one in arrays):
        shapes = [one.shape for one in arrays]
        raise ValueError(f"over_seeds needs [S, Q] with one S for every data set, got {shapes}")
    seeds = len(arrays[0])
    by_seed = np.mean([one.mean(axis=1) for one in arrays], axis=0)
    mean = float(by_seed.mean())
    queries = sum(one.shape[1] for one in arrays)
    spread = float(by_seed.std(ddof=1)) if seeds > 1 else math.nan
    if max(one.shape[1] for one in arrays) < 2:
        return SeededDifference(mean, math.nan, math.nan, spread, seeds, queries)
    low, high = np.percentile(_bootstrap_means(arrays), [2.5, 97.5])
    return SeededDifference(mean, float(low), float(high), spread, seeds, queries)


def macro_average(differences: Sequence[Sequence[float] | np.ndarray]) -> SeededDifference:
    """Return the mean over data sets of the mean difference, queries resampled within each data set.

    Args:
        differences: Per-query differences, one sequence for each data set.
    """
    return over_seeds(*(np.asarray(one, dtype=float)[None, :] for one in differences))


def randomisation_p(differences: Sequence[Sequence[float] | np.ndarray]) -> float:
    """Return the two-sided p of the sign-flip randomisation test of the mean over data sets of the mean difference.

    Every query's difference keeps or changes its sign at random. p = (1 + draws at least as extreme) / (1 + draws),
    so it is never 0; 1 where all differences are 0, NaN where one is NaN.

    Args:
        differences: Per-query differences, one sequence for each data set.
    """
    weighted = np.concatenate([np.asarray(one, dtype=float) / len(one) for one in differences])
    weighted = weighted[weighted != 0]
    if not len(weighted):
        return 1.0
    if np.isnan(weighted).any():
        return math.nan
    generator = np.random.default_rng(_SEED)
    observed = abs(weighted.sum())
    # Sums of the same values in another order differ by rounding: an equal one has to count as extreme.
    slack = _ROUNDING * np.abs(weighted).sum()
    extreme = 0
    for size in _blocks(len(weighted)):
        signs = generator.integers(0, 2, size=(size, len(weighted)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.sum(np.abs(signs @ weighted) >= observed - slack))
    return (1 + extreme) / (1 + DRAWS)


def smallest_resolvable(differences: Sequence[Sequence[float] | np.ndarray]) -> float:
    """Return the true mean over data sets that these queries would resolve in 80 % of cases, at 5 % two-sided.

    It is (z(0.975) + z(0.8)) standard errors, 2.80 of them.

    Args:
        differences: Per-query differences, one sequence for each data set.

    Returns:
        The difference; NaN where a data set has fewer than two queries.
    """
    arrays = [np.asarray(one, dtype=float) for one in differences]
    if min(map(len, arrays)) < 2:
        return math.nan
    error = math.sqrt(sum(float(one.var(ddof=1)) / len(one) for one in arrays)) / len(arrays)
    return float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for a family of tests by Holm's step-down method; NaN stays, and is not counted.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    adjusted = list(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _bootstrap_means(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over data sets of every draw, ``[DRAWS]``."""
    generator = np.random.default_rng(_SEED)
    seeds = len(arrays[0])
    weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds
    total = np.zeros(DRAWS)
    for array in arrays:
        queries = array.shape[1]
        done = 0
        for size in _blocks(queries):
            drawn = generator.multinomial(queries, np.full(queries, 1 / queries), size=size) / queries
            total[done : done + size] += np.sum((drawn @ array.T) * weights[done : done + size], axis=1)
            done += size
    return total / len(arrays)


def _blocks(width: int) -> list[int]:
    """Return how many draws to make at a time, so that a large query set takes bounded memory."""
    size = max(1, min(DRAWS, _BLOCK // width))
    return [min(size, DRAWS - start) for start in range(0, DRAWS, size)]
