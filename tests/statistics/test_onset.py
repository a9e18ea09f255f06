"""Change points: planted ones are found, noise has none, and what is odd about real series does no harm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_probe.statistics import FEWEST_READINGS, Onset, bracket, change_point


def noise(rng: np.random.Generator, n: int, correlation: float = 0.0) -> np.ndarray:
    """Return values of variance 1, each correlated with the one before."""
    values = rng.normal(size=n)
    for i in range(1, n):
        values[i] = correlation * values[i - 1] + math.sqrt(1 - correlation**2) * values[i]
    return values


def shape(kind: str, x: np.ndarray, onset: float) -> np.ndarray:
    """Return a fall of 1 that begins at a step; ``warm-up`` gains more than that first."""
    end = x[-1]
    if kind == "ramp":
        return -np.clip((x - onset) / (end - onset), 0, 1)
    if kind == "levels off":
        return -np.clip((x - onset) / (0.2 * end), 0, 1)
    fall = np.where(x >= onset, -1.0, 0.0)
    return fall + (1.5 * np.clip(x / (0.5 * onset), 0, 1) if kind == "warm-up" else 0)


def errors(kind: str, *, n: int, size: float, falls: bool = True, repetitions: int = 30) -> tuple[list[float], int]:
    """Return the onsets' errors as shares of the run, and how many intervals hold the truth, to one reading."""
    rng = np.random.default_rng(3)
    found, held = [], 0
    x = np.arange(n) * 10.0
    for _ in range(repetitions):
        onset = x[-1] * rng.uniform(0.2, 0.8)
        values = size * shape(kind, x, onset) + noise(rng, n, 0.2)
        one = change_point(x, values if falls else -values, falls=falls)
        if one is not None:
            found.append(abs(one.step - onset) / x[-1])
            held += one.low - 10 <= onset <= one.high + 10
    return found, held


@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize(("kind", "most"), [("step", 0.02), ("ramp", 0.06), ("levels off", 0.06), ("warm-up", 0.02)])
def test_planted_onsets_are_found(kind, most, falls):
    found, held = errors(kind, n=60, size=8, falls=falls)
    assert len(found) >= 28
    assert np.median(found) <= most
    assert held >= 0.8 * len(found)


@pytest.mark.parametrize(("n", "correlation", "most"), [(12, 0.0, 12), (60, 0.0, 10), (60, 0.5, 18)])
def test_noise_has_no_onset(n, correlation, most):
    """Of 150 series 1 to 3 % where readings are independent, some 6 % where they drift."""
    rng = np.random.default_rng(n)
    assert sum(change_point(range(n), noise(rng, n, correlation)) is not None for _ in range(150)) <= most


def test_a_run_that_improves_has_not_fallen():
    rng = np.random.default_rng(0)
    gain = 6 * (1 - np.exp(-np.arange(50) / 10))
    assert sum(change_point(range(50), gain + noise(rng, 50)) is not None for _ in range(60)) <= 5
    assert change_point(range(50), gain) is None


def test_a_rise_is_no_fall():
    values = [0.5] * 15 + [0.9] * 15
    assert change_point(range(30), values) is None
    assert change_point(range(30), values, falls=False) == Onset(15, 14, 15)


def test_a_fall_from_the_first_step_on_begins_there():
    assert change_point(range(0, 300, 10), np.linspace(1, 0, 30)) == Onset(0, 0, 10)


@pytest.mark.parametrize("n", [12, 46, 200])
def test_a_smooth_fall_is_found_though_its_residuals_are_no_noise(n):
    x = np.linspace(0, 1, n)
    found = change_point(np.arange(n), -(1 - np.exp(-np.clip(x - 0.3, 0, None) / 0.15)))
    assert abs(found.step / n - 0.3) < 0.1


def test_a_transient_that_clears_is_no_onset():
    rng = np.random.default_rng(0)
    values = noise(rng, 60)
    values[5:12] -= 8
    assert change_point(range(60), values) is None


def test_gaps_and_values_that_are_not_finite_are_left_out():
    rng = np.random.default_rng(0)
    steps = np.concatenate([np.arange(1, 21), np.arange(30, 200, 10), np.arange(400, 1000, 10)])
    values = np.where(steps >= 600, 1.0, 3.0) + 0.1 * noise(rng, len(steps))
    values[[3, 50]] = math.nan, math.inf
    found = change_point(steps, values)
    assert found.step == 600 and found.low >= 580
    assert change_point(steps, np.full(len(steps), math.nan)) is None


def test_the_order_of_readings_and_repeated_steps_do_not_matter():
    rng = np.random.default_rng(0)
    steps, values = np.arange(40), np.where(np.arange(40) >= 25, 0.0, 1.0) + 0.1 * noise(rng, 40)
    order = rng.permutation(40)
    expected = change_point(steps, values)
    assert expected.step == 25
    assert change_point(steps[order], values[order]) == expected
    assert change_point(np.repeat(steps, 2), np.repeat(values, 2)) == expected


def test_many_readings_are_thinned():
    rng = np.random.default_rng(0)
    steps = np.arange(50_000)
    found = change_point(steps, np.where(steps >= 20_000, -1.0, 0.0) + noise(rng, 50_000))
    assert abs(found.step - 20_000) <= 500 and found.low <= 20_000 <= found.high


def test_few_readings_have_no_noise_to_be_judged_by():
    values = [1.0] * 4 + [0.0] * 4
    assert len(values) == FEWEST_READINGS and change_point(range(8), values) is not None
    assert change_point(range(7), values[:7]) is None
    assert change_point(range(8), [0.1 + 0.2] * 4 + [0.3] * 4) is None, "rounding is no fall"
    assert change_point([], []) is None
    with pytest.raises(ValueError, match="a value for every step, got 2 and 1"):
        change_point([1, 2], [0.5])


@given(
    values=st.lists(st.floats(-1e200, 1e200) | st.just(math.nan), min_size=0, max_size=25),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
@settings(deadline=None, max_examples=40)
def test_an_onset_is_within_its_interval_and_free_of_scale(values, scale):
    found = change_point(range(len(values)), values)
    if found is not None:
        assert 0 <= found.low <= found.step <= found.high < len(values)
    if all(value == round(value, 3) for value in values if not math.isnan(value)):
        assert change_point(range(len(values)), [scale * value for value in values]) == found


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_bracket_is_from_the_last_good_reading_to_the_first_bad_one(bad):
    found = bracket(range(len(bad)), bad)
    if not bad[-1]:
        assert found is None
        return
    assert all(bad[found.step :])
    assert found.high == found.step
    assert found.low == (found.step - 1 if found.step and not bad[found.step - 1] else 0)
