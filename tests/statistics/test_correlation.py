"""Rank correlations against every order, against scipy, and where there is nothing to correlate."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from collapse_probe.statistics import rank_correlation


@pytest.mark.parametrize("tied", [False, True])
def test_the_permutation_p_counts_every_order(tied):
    rng = np.random.default_rng(0)
    losses, scores = rng.random(6), rng.random(6)
    if tied:
        scores[[1, 2]] = scores[4]
    rho = abs(stats.spearmanr(losses, scores).statistic)
    every = [abs(stats.spearmanr(losses, order).statistic) for order in permutations(scores)]
    assert rank_correlation(losses, scores).p_value == pytest.approx(np.mean(np.array(every) >= rho - 1e-9))


def test_the_permutation_p_of_many_checkpoints_is_drawn_and_near_the_t_test():
    rng = np.random.default_rng(1)
    losses = rng.random(40)
    scores = losses + 2 * rng.random(40)
    found = rank_correlation(losses, scores).p_value
    assert found == rank_correlation(losses, scores).p_value
    assert found == pytest.approx(stats.spearmanr(losses, scores).pvalue, rel=0.15)
    assert rank_correlation(losses, losses).p_value > 0


def test_kendall_is_scipys():
    rng = np.random.default_rng(2)
    first, second = rng.random(9), rng.random(9)
    found = rank_correlation(first, second)
    assert found.kendall == pytest.approx(stats.kendalltau(first, second).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(first, second).statistic)


def test_too_few_or_constant_values_have_none():
    assert rank_correlation([1.0, 2.0], [2.0, 1.0]) is None
    assert rank_correlation([1.0, 1.0, 1.0], [3.0, 2.0, 1.0]) is None
    assert math.isnan(rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]).p_value)
