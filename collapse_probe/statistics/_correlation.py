"""Rank correlation of a few checkpoints, with an exact p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_RANKED = 5
"""Below this a rank correlation cannot be significant: with 3 its best two-sided p is 1/3."""


@dataclass(frozen=True)
class RankCorrelation:
    """How two numbers of the same checkpoints order them.

    Attributes:
        spearman: In [-1, 1].
        kendall: Kendall's tau-b, in [-1, 1].
        p_value: Two-sided, by permutations: all of them up to 8 values; NaN below 5.
        n: Values.
    """

    spearman: float
    kendall: float
    p_value: float
    n: int


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation | None:
    """Return the rank correlation of two lists of one length; None below three values, or where one is constant.

    >>> rank_correlation([1, 2, 3], [6, 5, 4]).spearman
    -1.0
    """
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    from scipy import stats

    rho = float(stats.spearmanr(first, second).statistic)
    tau = float(stats.kendalltau(first, second).statistic)
    return RankCorrelation(rho, tau, _permutation_p(np.asarray(first), np.asarray(second)), len(first))


def _permutation_p(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p of Spearman's rho: over all orders of up to 8 values, or over 50,000 seeded ones."""
    if len(first) < FEWEST_RANKED:
        return math.nan
    from scipy import stats

    other = stats.zscore(stats.rankdata(second))

    def size(ranks: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.abs(np.mean(stats.zscore(ranks, axis=axis) * other, axis=axis))

    found = stats.permutation_test(
        (stats.rankdata(first),),
        size,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=50_000,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
