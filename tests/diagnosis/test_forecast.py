"""The half-life of separation: what is planted is said, with the finding, and only where it goes on falling."""

from __future__ import annotations

import numpy as np
import pytest
from journals_support import FALL, FALLING, live, made, step, transient

from collapse_probe.diagnosis import diagnose
from collapse_probe.diagnosis._forecast import half_life
from collapse_probe.journal import Series

STEPS = np.arange(0, 400, 10)


def series(values: np.ndarray, *, reading: str = "pairs/d_prime", n: int = 64) -> Series:
    rows = np.full(len(values), n)
    return Series(reading, "batch", None, STEPS, values, rows, np.full(len(values), 32), rows * 0 - 1, "float32")


def noisy(values: np.ndarray, size: float, seed: int = 0) -> np.ndarray:
    return values * (1 + size * np.random.default_rng(seed).normal(size=len(values)))


@pytest.mark.parametrize("n", [8, 64, 512])
@pytest.mark.parametrize("halves", [60.0, 140.0, 600.0])
def test_the_half_life_is_that_of_the_decline(halves, n):
    decline = 0.5 ** (STEPS / halves)
    chance = float((1 / np.arange(1, n + 1)).mean())
    for seed in range(3):
        of_d_prime = half_life(series(noisy(3.0 * decline, 0.02, seed)), 0)
        of_ranks = half_life(series(chance + noisy(0.5 * decline, 0.02, seed), reading="pairs/mrr", n=n), 0)
        for found in (of_d_prime, of_ranks):
            assert found.half_life == pytest.approx(halves, rel=0.15) and found.steps == 390


@pytest.mark.parametrize(
    "values",
    [
        np.full(40, 3.0),
        3.0 * 2 ** (STEPS / 140),
        np.where(STEPS < 200, 3.0, 1.0),
        3.0 * np.maximum(0.5 ** (STEPS / 60), 0.3),
        3.0 * 0.5 ** (STEPS / 8000),
        np.where(STEPS < 300, 3.0 * 0.5 ** (STEPS / 100), 0.0),
    ],
    ids=["level", "rises", "a step", "levelled", "hardly falls", "at chance"],
)
def test_what_does_not_go_on_falling_has_no_half_life(values):
    assert half_life(series(noisy(values, 0.01)), 0) is None
    assert half_life(series(noisy(values, 0.1, seed=1)), 0) is None


def test_few_readings_have_no_half_life():
    assert half_life(series(3.0 * 0.5 ** (STEPS / 140)), 360) is None


def test_noise_alone_has_no_half_life():
    found = [half_life(series(noisy(np.full(40, 3.0), 0.1, seed)), 0) for seed in range(300)]
    assert sum(one is not None for one in found) <= 1


def test_a_run_that_goes_on_says_it_with_the_finding():
    """Planted: half every .35 of 400 steps."""
    planted = {**FALLING, "query/common_share": step(0.2, 0.99, at=0.4)}
    found = diagnose(live(planted, steps=400, reference=False, ends=False, fields={"reference": None}))
    forecast = found.kinds[0].judgement.forecast
    assert forecast.half_life == pytest.approx(140, rel=0.15)
    assert 200 <= forecast.steps <= 260
    assert found.to_dict()["kinds"][0]["forecast"] == {
        "reading": "pairs/d_prime",
        "half_life": forecast.half_life,
        "steps": forecast.steps,
    }
    assert f"half-life of separation (d') {forecast.half_life:.0f} steps" in " ".join(found.summary.split())


@pytest.mark.parametrize("reference", [True, False])
def test_a_run_on_disk_without_an_end_says_it_and_one_with_an_end_does_not(reference, tmp_path):
    fields = {} if reference else {"reference": None}
    for ends in (False, True):
        found = diagnose(made(tmp_path / str(ends), FALLING, reference=reference, ends=ends, fields=fields))
        said = [one for one in found.kinds if one.judgement.forecast]
        assert bool(said) is not ends and ("half-life" in found.summary) is not ends


@pytest.mark.parametrize("planted", [{}, FALL, {"pairs/d_prime": transient(3.4, 1.0)}, {"loss/total": step(1, np.nan)}])
def test_a_run_whose_separation_does_not_go_on_falling_has_none(planted):
    found = diagnose(live(planted, reference=False, ends=False, fields={"reference": None}))
    assert not any(one.judgement and one.judgement.forecast for one in found.findings)
    assert "half-life" not in found.summary
