"""Paired statistics against scipy, against ir_measures, and by their error rates."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats

from collapse_probe.diagnosis import (
    holm,
    macro_average,
    over_seeds,
    paired_difference,
    randomisation_p,
    smallest_resolvable,
)
from collapse_probe.diagnosis._statistics import DRAWS


def scores(n: int = 120, shift: float = 0.03, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    before = rng.beta(0.6, 0.4, size=n)
    return before, np.clip(before + rng.normal(shift, 0.2, size=n), 0, 1)


def test_the_t_test_is_scipys():
    before, after = scores()
    found = paired_difference(before, after)
    expected = stats.ttest_rel(after, before)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_the_randomisation_test_is_scipys():
    """Both draw 10,000 sign flips, so they agree to Monte Carlo error: 4 standard errors."""
    before, after = scores()
    expected = stats.permutation_test(
        (after - before,), np.mean, permutation_type="samples", n_resamples=10_000, rng=np.random.default_rng(1)
    ).pvalue
    found = paired_difference(before, after).randomisation_p
    error = math.sqrt(2 * expected * (1 - expected) / DRAWS)
    assert abs(found - expected) < 4 * error


def test_the_randomisation_test_is_exact_for_few_queries():
    differences = np.array([0.5, 0.25, -0.125, 0.375, 0.5, 0.25])
    signs = np.array(list(itertools.product([1, -1], repeat=6)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    assert randomisation_p([differences]) == pytest.approx(exact, abs=0.01)


def test_a_randomisation_p_is_never_zero_and_the_same_twice():
    found = paired_difference(np.zeros(300), np.ones(300))
    assert found.randomisation_p == 1 / (DRAWS + 1)
    assert paired_difference(*scores()).randomisation_p == paired_difference(*scores()).randomisation_p
    assert paired_difference(np.ones(5), np.ones(5)).randomisation_p == 1.0


def test_equal_sums_count_as_extreme_though_rounding_tells_them_apart():
    """Of 2**10 signs of equal values only two reach the observed sum, and both have to count."""
    found = randomisation_p([np.full(10, 0.1)])
    assert found == pytest.approx(2 / 2**10, abs=4 * math.sqrt(2 / 2**10 / DRAWS))
    halves = np.array([0.1, 0.2, 0.3, -0.6, 0.7, -0.7])
    assert randomisation_p([halves]) == 1.0


def test_a_score_that_is_nan_gives_no_p_value():
    found = paired_difference([0.1, 0.2, 0.3], [0.2, math.nan, 0.5])
    assert math.isnan(found.randomisation_p)
    assert not found.resolved
    assert all(math.isnan(end) for end in found.bootstrap)


def test_the_bootstrap_is_scipys():
    before, after = scores()
    differences = after - before
    expected = stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(3)
    ).confidence_interval
    width = expected.high - expected.low
    low, high = paired_difference(before, after).bootstrap
    assert low == pytest.approx(expected.low, abs=0.05 * width)
    assert high == pytest.approx(expected.high, abs=0.05 * width)


@pytest.mark.slow
def test_the_false_alarm_rate_is_the_one_that_is_asked_for():
    """200 pairs of equal systems; 5 % is 10 +- 3.1, so 2 to 21 holds but in 1 of 1,000 cases."""
    rng = np.random.default_rng(5)
    alarms = {"t": 0, "randomisation": 0, "bootstrap": 0}
    for _ in range(200):
        differences = rng.normal(0, 0.3, size=100) * (rng.random(100) < 0.4)
        found = paired_difference(np.zeros(100), differences)
        alarms["t"] += found.p_value < 0.05
        alarms["randomisation"] += randomisation_p([differences]) < 0.05
        low, high = found.bootstrap
        alarms["bootstrap"] += low > 0 or high < 0
    assert all(2 <= count <= 21 for count in alarms.values()), alarms


def test_the_smallest_resolvable_difference_is_resolved_in_four_of_five_cases():
    rng = np.random.default_rng(7)
    pilot = paired_difference(np.zeros(300), rng.normal(0, 0.4, size=300))
    size = pilot.smallest_resolvable
    assert size == pytest.approx((1.96 + 0.8416) * pilot.differences.std(ddof=1) / math.sqrt(300), rel=1e-3)
    spread = pilot.differences.std(ddof=1)
    hits = sum(paired_difference(np.zeros(300), rng.normal(size, spread, size=300)).resolved for _ in range(500))
    assert 0.74 < hits / 500 < 0.86


def test_the_effect_size_is_cohens_dz():
    before, after = scores()
    assert paired_difference(before, after).effect_size == pytest.approx(
        (after - before).mean() / (after - before).std(ddof=1)
    )
    assert paired_difference(np.ones(4), np.ones(4)).effect_size == 0.0
    assert paired_difference([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]).effect_size == math.inf


def test_what_several_data_sets_resolve_is_that_of_their_mean():
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 0.1, size=40), rng.normal(0, 0.3, size=500)
    draws = [macro_average([one, other])]
    error = (draws[0].high - draws[0].low) / (2 * 1.96)
    assert smallest_resolvable([one, other]) == pytest.approx((1.96 + 0.8416) * error, rel=0.05)
    assert math.isnan(smallest_resolvable([one, [0.1]]))


def slow_holm(p_values: list[float]) -> list[float]:
    adjusted = []
    for p in p_values:
        smaller = sorted(q for q in p_values if q <= p)
        adjusted.append(min(1.0, max((len(p_values) - k) * q for k, q in enumerate(smaller))))
    return adjusted


def test_holm_is_the_slow_one():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = rng.random(7).tolist()
        assert holm(p_values) == pytest.approx(slow_holm(p_values))


def test_holm_on_the_textbook_example():
    """R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"), and Holm's order and cap."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.6, 0.01, 0.7]) == pytest.approx([1.0, 0.03, 1.0])
    assert holm([]) == []


def test_holm_leaves_out_what_was_not_tested():
    found = holm([0.01, math.nan, 0.04])
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.04)


def test_over_one_seed_is_the_query_bootstrap():
    before, after = scores()
    found = over_seeds((after - before)[None, :])
    assert (found.low, found.high) == pytest.approx(paired_difference(before, after).bootstrap)
    assert math.isnan(found.sd_seeds)
    assert (found.n_seeds, found.n_queries) == (1, 120)


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    queries = rng.normal(0.02, 0.1, size=200)
    alike, apart = np.stack([queries] * 3), np.stack([queries - 0.05, queries, queries + 0.05])
    narrow, wide = over_seeds(alike), over_seeds(apart)
    assert narrow.mean == pytest.approx(wide.mean)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert wide.sd_seeds == pytest.approx(0.05)


@pytest.mark.slow
def test_the_interval_over_seeds_and_queries_covers():
    """Queries and 8 seeds drawn anew each time, truth 0.02: coverage near 95 %, a little less for few seeds."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(80):
        by_seed = 0.02 + rng.normal(0, 0.02, size=(8, 1))
        found = over_seeds(by_seed + rng.normal(0, 0.3, size=(1, 150)) + rng.normal(0, 0.1, size=(8, 150)))
        covered += found.low <= 0.02 <= found.high
    assert 0.85 < covered / 80 <= 1.0


def test_three_seeds_make_the_interval_too_narrow():
    """With three seeds and no other noise it runs from the worst seed to the best: 1 - 2 / 2**3 = 75 % hold the truth.

    That is what the docstring warns of; 300 repetitions have a standard error of 2.5 %.
    """
    rng = np.random.default_rng(13)
    covered = 0
    for _ in range(300):
        seeds = rng.normal(0.02, 0.02, size=3)
        found = over_seeds(np.repeat(seeds[:, None], 4, axis=1))
        assert (found.low, found.high) == pytest.approx((seeds.min(), seeds.max()))
        covered += found.low <= 0.02 <= found.high
    assert 0.65 < covered / 300 < 0.85


def test_the_bootstrap_over_seeds_is_a_slow_one_written_with_loops():
    rng = np.random.default_rng(2)
    differences = rng.normal(0.05, 0.2, size=(3, 40)) + rng.normal(0, 0.1, size=(3, 1))
    means = []
    for _ in range(4000):
        seeds, queries = rng.integers(0, 3, size=3), rng.integers(0, 40, size=40)
        means.append(np.mean([differences[s][queries].mean() for s in seeds]))
    low, high = np.percentile(means, [2.5, 97.5])
    found = over_seeds(differences)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * (high - low))


def test_ten_thousand_draws_of_three_seeds_take_a_fraction_of_a_second():
    """About 0.1 s on one core; ten times that is a loop come back."""
    differences = np.random.default_rng(0).normal(size=(3, 300))
    start = time.process_time()
    over_seeds(differences)
    randomisation_p([differences[0]])
    assert time.process_time() - start < 1.0


def test_an_average_weighs_data_sets_alike_and_resamples_within_each():
    rng = np.random.default_rng(0)
    small, large = rng.normal(0.1, 0.1, size=30), rng.normal(-0.1, 0.1, size=3000)
    found = macro_average([small, large])
    assert found.mean == pytest.approx((small.mean() + large.mean()) / 2)
    error = math.sqrt(small.var() / 30 + large.var() / 3000) / 2
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1.0, abs=0.05)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"over_seeds needs \[S, Q\] with one S for every data set"):
        over_seeds(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="over_seeds needs"):
        over_seeds()


def test_differences_of_our_scores_are_those_of_ir_measures():
    """Per-query nDCG@10 of two systems, by our scoring and by ir_measures: the same paired difference."""
    import ir_measures
    from ir_measures import nDCG

    from collapse_probe.retrieval import exact_search, score_hits

    rng = np.random.default_rng(0)
    documents = rng.normal(size=(120, 8)).astype(np.float32)
    truth = rng.normal(size=(25, 8)).astype(np.float32)
    ids, names = [f"d{i:03}" for i in range(120)], [f"q{i}" for i in range(25)]
    best = np.argsort(-(truth @ documents.T), axis=1)[:, :5]
    qrels = {f"q{i}": {f"d{j:03}": int(rank < 2) + 1 for rank, j in enumerate(row)} for i, row in enumerate(best)}
    ours, theirs = [], []
    for noise in (0.3, 0.8):
        queries = truth + noise * rng.normal(size=truth.shape).astype(np.float32)
        hits = exact_search(queries, documents, k=101, similarity="dot")
        found = score_hits(hits, query_ids=names, document_ids=ids, qrels=qrels).per_query["ndcg@10"]
        ours.append([found[name] for name in names])
        run = {
            name: {ids[j]: float(s) for j, s in zip(hits.indices[i], hits.scores[i], strict=True)}
            for i, name in enumerate(names)
        }
        values = {m.query_id: m.value for m in ir_measures.iter_calc([nDCG @ 10], qrels, run)}
        theirs.append([values[name] for name in names])
    mine, other = paired_difference(*ours), paired_difference(*theirs)
    assert (mine.mean, mine.low, mine.high, mine.p_value) == pytest.approx(
        (other.mean, other.low, other.high, other.p_value), abs=1e-12
    )
    assert mine.high < 0
