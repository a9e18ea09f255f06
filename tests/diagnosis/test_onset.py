"""Since when: planted falls, and what readings that are few, far apart or saturated say of them."""

from __future__ import annotations

import numpy as np
import pytest
from journals_support import made

from collapse_probe.diagnosis import diagnose
from collapse_probe.diagnosis._onset import change_point, crossing
from collapse_probe.statistics import Onset

STEPS = np.array([*range(1, 21), *range(30, 401, 10)])


def dip(t: float) -> float:
    """Return 1, a fall to .4 between a tenth and an eighth of the run, and a return to .8 from there on."""
    return 1.0 if t < 0.1 else max(0.4, 1 - 24 * (t - 0.1)) if t < 0.125 else min(0.8, 0.4 + (t - 0.125))


def noisy(values: np.ndarray, *, seed: int, size: float) -> np.ndarray:
    return values + size * np.random.default_rng(seed).normal(size=len(values))


@pytest.mark.parametrize("size", [0.01, 0.04])
def test_a_fall_that_comes_back_in_part_began_where_it_began(size):
    """Bug: a fall at step 20 that was half made good by the end was said to be one since step 390 of 400."""
    values = np.array([dip(float(one) / 200) for one in STEPS])
    for seed in range(10):
        found = change_point(STEPS, noisy(values, seed=seed, size=size))
        assert found is not None and 10 <= found.step <= 30


def test_a_fall_that_comes_back_in_part_is_found_in_a_run(tmp_path):
    planted = {
        "pairs/mrr": lambda t: 0.95 * dip(t),
        "pairs/mrr_centred": lambda t: 0.95 * dip(t),
        "pairs/d_prime": lambda t: 4 * dip(t),
    }
    onset = diagnose(made(tmp_path / "run", planted)).kinds[0].judgement.onset
    assert 10 <= onset.step <= 30 and onset.high <= 50


def test_what_is_outside_at_its_first_reading_may_be_so_from_the_start():
    assert crossing(np.array([1, 2, 3]), np.array([True, True, True])) == Onset(1, 0, 1)
    assert crossing(np.array([1, 2, 3]), np.array([False, True, True])) == Onset(2, 1, 2)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_what_is_one_point_from_the_start_is_so_since_the_start(noise, tmp_path):
    """Bug: queries that were equal at every reading had collapsed since step 267, by what rounding left of them."""
    run = made(tmp_path / "run", {"query/common_share": lambda t: 1.0}, noise=noise)
    found = next(one for one in diagnose(run).findings if (one.code, one.subject) == ("CP410", "query"))
    assert found.judgement.value == 0 and found.judgement.onset == Onset(0, 0, 0)
