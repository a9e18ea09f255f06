"""The two-way model of seeds and queries: its formula, its edges, its coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from collapse_probe.statistics import paired_difference, seeded_difference


def drawn(
    rng, seeds: int, queries: int, *, seed: float, query: float, residual: float, mean: float = 0.0
) -> np.ndarray:
    """Return ``[S, Q]`` differences of the two-way model."""
    rows, columns = rng.normal(0, 1, size=(seeds, 1)), rng.normal(0, 1, size=(1, queries))
    return mean + seed * rows + query * columns + residual * rng.normal(0, 1, size=(seeds, queries))


def slow_variance(*data_sets: np.ndarray) -> float:
    """The variance of the mean with loops, from mean squares in place of variances of means."""
    seeds, parts = len(data_sets[0]), []
    of_seeds = [sum(float(np.mean(one[s])) for one in data_sets) / len(data_sets) for s in range(seeds)]
    centre = sum(of_seeds) / seeds
    seed = sum((value - centre) ** 2 for value in of_seeds) / (seeds - 1) / seeds
    query = 0.0
    for one in data_sets:
        queries, grand = one.shape[1], float(np.mean(one))
        between = sum((float(np.mean(one[:, q])) - grand) ** 2 for q in range(queries))
        total = sum((one[s, q] - grand) ** 2 for s in range(seeds) for q in range(queries))
        rows = sum((float(np.mean(one[s])) - grand) ** 2 for s in range(seeds))
        interaction = (total - seeds * between - queries * rows) / ((seeds - 1) * (queries - 1))
        query += between / (queries - 1) / queries / len(data_sets) ** 2
        parts.append(interaction / (seeds * queries) / len(data_sets) ** 2)
    return max(seed + query - sum(parts), seed, query)


@pytest.mark.parametrize("sizes", [(40,), (30, 90, 5)])
def test_the_variance_is_a_slow_one_written_with_loops(sizes):
    rng = np.random.default_rng(0)
    arrays = [drawn(rng, 4, size, seed=0.05, query=0.2, residual=0.1) for size in sizes]
    found = seeded_difference(*arrays)
    assert found.error**2 == pytest.approx(slow_variance(*arrays))
    assert found.mean == pytest.approx(np.mean([one.mean() for one in arrays]))
    assert found.n_queries == sum(sizes)


def test_interval_and_p_are_of_one_model():
    rng = np.random.default_rng(1)
    for _ in range(50):
        found = seeded_difference(drawn(rng, 3, 40, seed=0.03, query=0.2, residual=0.1, mean=0.06))
        assert found.resolved == (found.p_value < 0.05)
        assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.mean) / found.error, found.df))
        assert found.df >= 1


def test_one_seed_is_the_paired_t_test_and_says_this_run():
    differences = np.random.default_rng(0).normal(0.02, 0.1, size=120)
    found, expected = seeded_difference(differences[None]), paired_difference(np.zeros(120), differences)
    assert (found.low, found.high, found.p_value) == pytest.approx((expected.low, expected.high, expected.p_value))
    assert found.smallest_resolvable == pytest.approx(expected.smallest_resolvable)
    assert found.sample == "120 queries of this run"
    assert seeded_difference(np.stack([differences, differences + 1])).sample == "120 queries x 2 seeds"


def test_seeds_alone_are_the_t_test_over_seeds():
    seeds = np.array([0.01, 0.04, 0.02])
    found = seeded_difference(np.repeat(seeds[:, None], 50, axis=1))
    expected = stats.ttest_1samp(seeds, 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_seeds_that_agree_add_nothing():
    """As many copies of one run are one run: its interval must not shrink."""
    one = np.random.default_rng(0).normal(0.02, 0.1, size=(1, 200))
    alone, copied = seeded_difference(one), seeded_difference(np.repeat(one, 5, axis=0))
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))


def test_an_average_weighs_data_sets_alike():
    rng = np.random.default_rng(0)
    small, large = rng.normal(0.1, 0.1, size=(1, 30)), rng.normal(-0.1, 0.1, size=(1, 3000))
    found = seeded_difference(small, large)
    assert found.mean == pytest.approx((small.mean() + large.mean()) / 2)
    assert found.error == pytest.approx(math.sqrt(small.var(ddof=1) / 30 + large.var(ddof=1) / 3000) / 2)


def test_what_is_degenerate():
    nothing = seeded_difference(np.zeros((3, 20)))
    assert (nothing.low, nothing.high, nothing.p_value) == (0, 0, 1)
    rounded = seeded_difference(np.full((3, 20), 0.1))
    assert (rounded.low, rounded.high, rounded.p_value) == (rounded.mean, rounded.mean, 0)
    for unknown in (seeded_difference(np.array([[0.3]])), seeded_difference(np.array([[0.1, math.nan], [0.2, 0.3]]))):
        assert math.isnan(unknown.low) and math.isnan(unknown.p_value) and not unknown.resolved


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"seeded_difference needs \[S, Q\] with one S for every data set"):
        seeded_difference(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="seeded_difference needs"):
        seeded_difference()


def coverage(seeds: int, *, sizes: tuple[int, ...] = (60,), repetitions: int = 800, **noise: float) -> float:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(repetitions):
        found = seeded_difference(*(drawn(rng, seeds, size, **noise, mean=0.02) for size in sizes))
        covered += found.low <= 0.02 <= found.high
    return covered / repetitions


BOTH = {"seed": 0.02, "query": 0.2, "residual": 0.15}


@pytest.mark.parametrize(("seeds", "least", "most"), [(3, 0.92, 0.98), (5, 0.94, 0.97)])
def test_intervals_over_seeds_and_queries_cover(seeds, least, most):
    """Nominal 95 %; 800 repetitions have a standard error of .8 %. Errors of the first kind are the rest."""
    assert least <= coverage(seeds, **BOTH) <= most


@pytest.mark.parametrize("noise", [(0.02, 0, 0), (0, 0.2, 0), (0, 0, 0.2), (0.02, 0, 0.2), (0, 0.2, 0.2)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_do_not_undercover_where_only_one_varies(seeds, noise):
    seed, query, residual = noise
    assert coverage(seeds, repetitions=400, seed=seed, query=query, residual=residual) >= 0.92


def test_an_average_over_data_sets_covers():
    assert 0.92 <= coverage(3, sizes=(40, 80), **BOTH) <= 0.985
