"""Paired statistics against scipy, against ir_measures, and by their error rates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from collapse_probe.errors import InputError
from collapse_probe.statistics import align, paired_difference, randomisation_p, t_interval, welch_p
from collapse_probe.statistics._flips import DRAWS


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
    assert randomisation_p(differences) == pytest.approx(exact, abs=0.01)


def test_a_randomisation_p_is_never_zero_and_the_same_twice():
    found = paired_difference(np.zeros(300), np.ones(300))
    assert found.randomisation_p == 1 / (DRAWS + 1)
    assert paired_difference(*scores()).randomisation_p == paired_difference(*scores()).randomisation_p
    assert paired_difference(np.ones(5), np.ones(5)).randomisation_p == 1.0


def test_equal_sums_count_as_extreme_though_rounding_tells_them_apart():
    """Of 2**10 signs of equal values only two reach the observed sum, and both have to count."""
    found = randomisation_p(np.full(10, 0.1))
    assert found == pytest.approx(2 / 2**10, abs=4 * math.sqrt(2 / 2**10 / DRAWS))
    halves = np.array([0.1, 0.2, 0.3, -0.6, 0.7, -0.7])
    assert randomisation_p(halves) == 1.0


def test_a_score_that_is_nan_gives_no_p_value():
    found = paired_difference([0.1, 0.2, 0.3], [0.2, math.nan, 0.5])
    assert math.isnan(found.randomisation_p)
    assert not found.resolved
    assert all(math.isnan(end) for end in (found.low, found.high))


def test_the_smallest_resolvable_difference_is_resolved_in_four_of_five_cases():
    rng = np.random.default_rng(7)
    pilot = paired_difference(np.zeros(300), rng.normal(0, 0.4, size=300))
    size = pilot.smallest_resolvable
    assert size == pytest.approx((1.96 + 0.8416) * pilot.differences.std(ddof=1) / math.sqrt(300), rel=1e-3)
    spread = pilot.differences.std(ddof=1)
    hits = sum(paired_difference(np.zeros(300), rng.normal(size, spread, size=300)).resolved for _ in range(500))
    assert 0.74 < hits / 500 < 0.86


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


@given(st.permutations([f"q{i}" for i in range(12)]), st.permutations([f"q{i}" for i in range(12)]))
def test_queries_are_paired_by_id_in_whatever_order_they_come(first, second):
    rng = np.random.default_rng(0)
    before, after = ({f"q{i}": float(v) for i, v in enumerate(rng.random(12))} for _ in range(2))
    found = paired_difference({q: before[q] for q in first}, {q: after[q] for q in second})
    assert found.by_query == {q: pytest.approx(after[q] - before[q]) for q in sorted(before)}
    assert found.mean == pytest.approx(np.mean([after[q] - before[q] for q in before]))


def test_other_queries_are_refused_and_never_paired_by_position():
    with pytest.raises(InputError, match=r"different queries \(2 and 2, 1 shared\): score both on the same collection"):
        align({"a": 0.1, "b": 0.2}, {"a": 0.1, "c": 0.2})
    with pytest.raises(ValueError, match="the same queries twice, got 1 and 1"):
        paired_difference({"a": 0.1}, [0.1])
    with pytest.raises(ValueError, match="the same queries twice, got 0 and 0"):
        paired_difference({}, {})


def test_positions_give_no_ids():
    assert paired_difference([0.1, 0.2], [0.3, 0.4]).by_query == {}


def test_a_t_interval_is_scipys_and_has_no_width_where_all_are_equal():
    values = np.random.default_rng(0).normal(0.3, 1, size=7)
    found, expected = t_interval(values), stats.ttest_1samp(values, 0)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(expected.pvalue)
    # 0.1 + 0.2 is not 0.3: rounding is no spread.
    assert t_interval([0.1 + 0.2, 0.3, 0.3]).high == pytest.approx(0.3, abs=1e-15)
    assert math.isnan(t_interval([0.3]).low)
    with pytest.raises(ValueError, match="at least one value"):
        t_interval([])


def test_welch_is_scipys_and_one_value_shows_nothing():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=20), rng.normal(1, 3, size=50)
    assert welch_p(first, second) == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)
    assert welch_p(first[:1], second) == 1.0
