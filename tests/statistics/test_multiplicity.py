"""Several comparisons: Holm over a table, max-T over the evaluations of one run."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from collapse_probe.statistics import holm, max_t, paired_difference, randomisation_p


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


def test_one_evaluation_is_the_randomisation_test_and_nearly_the_t_interval():
    differences = np.random.default_rng(0).normal(0.02, 0.1, size=(200, 1))
    (found,) = max_t(differences)
    expected = paired_difference(np.zeros(200), differences[:, 0])
    assert found.p == randomisation_p(differences[:, 0])
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.mean, expected.low, expected.high), abs=0.06 * (expected.high - expected.low)
    )


def test_p_of_few_queries_is_the_one_over_all_flips():
    differences = np.random.default_rng(1).normal(0.5, 1.0, size=(7, 3))
    size = np.sqrt(np.sum(differences**2, axis=0))
    signs = np.array(list(itertools.product([1, -1], repeat=7)))
    largest = np.max(np.abs(signs @ differences) / size, axis=1)
    exact = [np.mean(largest >= abs(differences[:, k].sum()) / size[k] - 1e-12) for k in range(3)]
    assert [one.p for one in max_t(differences)] == pytest.approx(exact, abs=0.02)


def test_it_is_between_no_adjustment_and_holm():
    """Evaluations of one run resemble each other; equal ones cost nothing at all."""
    rng = np.random.default_rng(2)
    shared = rng.normal(0.03, 0.2, size=(300, 1))
    alike = shared + rng.normal(0, 0.02, size=(300, 8))
    single = [randomisation_p(column) for column in alike.T]
    for one, alone, strict in zip(max_t(alike), single, holm(single), strict=True):
        assert alone <= one.p <= strict
    assert {one.p for one in max_t(np.repeat(shared, 8, axis=1))} == {randomisation_p(shared[:, 0])}


def test_what_is_degenerate():
    zero, one, nan = max_t(np.array([[0.0, 1.0, math.nan]] * 5))
    assert (zero.value, zero.low, zero.high, zero.p) == (0, 0, 0, 1)
    assert (one.low, one.high) == (1, 1) and one.p == pytest.approx(2 / 2**5, abs=0.01)
    assert math.isnan(nan.p) and not nan.resolved
    (single,) = max_t(np.array([[0.3]]))
    assert math.isnan(single.low) and single.p == 1.0
    few = max_t(np.array([[0.1, 0.3], [0.2, 0.1]]))
    assert all(math.isinf(one.high) and not one.resolved for one in few)
    with pytest.raises(ValueError, match=r"max_t needs \[Q, E\], got \(3,\)"):
        max_t(np.zeros(3))


@pytest.mark.parametrize("checkpoints", [2, 6, 21])
def test_choosing_the_best_of_equal_checkpoints_does_not_raise_the_alarm_rate(checkpoints, monkeypatch):
    """2.5 % at any number: of 300 repetitions 7.5 +- 2.7 alarms. Unadjusted, 21 give 60."""
    monkeypatch.setattr("collapse_probe.statistics._flips.DRAWS", 400)
    rng = np.random.default_rng(checkpoints)
    alarms = naive = 0
    for _ in range(300):
        scores = rng.normal(0, 0.2, size=(80, checkpoints))
        losses = scores[:, :1] - scores[:, 1:]
        best = int(np.argmin(losses.mean(axis=0)))
        alarms += max_t(losses)[best].high < 0
        naive += paired_difference(np.zeros(80), losses[:, best]).high < 0
    assert alarms <= 16
    assert naive > 40 or checkpoints < 21
