"""Since when: planted falls, and what readings that are few, far apart or saturated say of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from journals_support import Shape, both, config, made, ramp, step, write

from collapse_probe.diagnosis import Evidence, diagnose
from collapse_probe.diagnosis._curves import Change, Curve
from collapse_probe.diagnosis._onset import change_point, crossing, levelled, surest, within
from collapse_probe.journal import Evaluation, JournalWriter, Readings, Run, write_config
from collapse_probe.statistics import Onset

STEPS = np.array([*range(1, 21), *range(30, 401, 10)])


def dip(t: float) -> float:
    """Return 1, a fall to .4 between a tenth and an eighth of the run, and a return to .8 from there on."""
    return 1.0 if t < 0.1 else max(0.4, 1 - 24 * (t - 0.1)) if t < 0.125 else min(0.8, 0.4 + (t - 0.125))


def noisy(values: np.ndarray, *, seed: int, size: float) -> np.ndarray:
    return values + size * np.random.default_rng(seed).normal(size=len(values))


@pytest.mark.parametrize("size", [0.01, 0.03])
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


@pytest.mark.parametrize("size", [0.01, 0.04])
def test_a_gain_stops_where_it_stopped(size):
    values = np.clip(STEPS / 120, 0, 1)
    for seed in range(10):
        found = levelled(STEPS, noisy(values, seed=seed, size=size))
        assert found is not None and found.low <= found.step <= found.high
        assert 90 <= found.step <= 140


def test_what_is_outside_at_its_first_reading_may_be_so_from_the_start():
    assert crossing(np.array([1, 2, 3]), np.array([True, True, True])) == Onset(1, 0, 1)
    assert crossing(np.array([1, 2, 3]), np.array([False, True, True])) == Onset(2, 1, 2)


def test_an_onset_is_cut_to_the_readings_that_bracket_it():
    bracket = Onset(75, 50, 75)
    assert within(Onset(20, 10, 60), bracket) == Onset(50, 50, 60)
    assert within(Onset(60, 1, 200), bracket) == Onset(60, 50, 75)
    assert within(Onset(20, 10, 30), bracket) == bracket
    assert within(None, bracket) == within(bracket, None) == bracket


def test_an_onset_that_spans_the_run_gives_way_to_one_that_is_known():
    wide, near, narrow = Onset(38, 0, 38), Onset(5, 4, 10), Onset(7, 6, 7)
    assert surest((wide, None, near, narrow), 38) == near
    assert surest((near, narrow), 38) == near
    assert surest((wide, Onset(20, 0, 20)), 38) == Onset(20, 0, 20)
    assert surest((None,), 38) is None


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_what_is_one_point_from_the_start_is_so_since_the_start(noise, tmp_path):
    """Bug: queries that were equal at every reading had collapsed since step 267, by what rounding left of them."""
    run = made(tmp_path / "run", {"query/common_share": lambda t: 1.0}, noise=noise)
    found = next(one for one in diagnose(run).findings if (one.code, one.subject) == ("CP410", "query"))
    assert found.judgement.value == 0 and found.judgement.onset == Onset(0, 0, 0)


def written(folder: Path, planted: Mapping[str, Shape], *, reference: Mapping[str, tuple[float, float]]) -> Run:
    """Return a run whose reference pairs are read at its two ends alone."""
    folder.mkdir()
    write_config(folder, config())
    with JournalWriter(folder) as writer:
        write(writer, planted, reference=False, ends=False)
        for at, which in ((0, 0), (200, 1)):
            values = {name: ends[which] for name, ends in reference.items()}
            writer.write(Readings(step=at, on="reference", values=values, n=256, dimension=32, dtype="float32"))
        writer.end("completed", step=200)
    return Run.load(folder)


def test_the_kind_itself_says_since_when_where_two_readings_of_pairs_cannot(tmp_path):
    """Bug: 'since step 38 [0, 38]' of 38 while the batches' common share went from .31 to .93 by step 9."""
    reference = {
        "pairs/mrr": (0.84, 0.4),
        "pairs/mrr_centred": (0.845, 0.4),
        "pairs/d_prime": (3.4, 1.5),
        "query/common_share": (0.2, 0.995),
        "document/common_share": (0.2, 0.995),
    }
    planted = both("common_share", ramp(0.2, 0.995, since=0.2, until=0.3))
    kind = diagnose(written(tmp_path / "run", planted, reference=reference)).kinds[0]
    assert kind.kind == "complete_collapse"
    assert 35 <= kind.judgement.onset.step <= 50 and kind.judgement.onset.high <= 60


def scored(folder: Path, planted: Mapping[str, Shape], levels: Mapping[int, float]) -> Run:
    """Return a run that is scored on a collection elsewhere, at some steps."""
    folder.mkdir()
    write_config(folder, config())
    queries = np.clip(np.random.default_rng(5).normal(0.6, 0.25, 300), 0, 1)
    with JournalWriter(folder) as writer:
        write(writer, planted, ends=False)
        for at, level in levels.items():
            values = np.clip(queries + level, 0, 1)
            content = {"query_ids": [f"q{i}" for i in range(300)], "ndcg@10": values.tolist()}
            (folder / f"toy-{at}.json").write_text(json.dumps(content))
            metrics = {"ndcg@10": float(values.mean())}
            where = {"collection": "toy", "step": at, "domain": "out", "per_query": f"toy-{at}.json"}
            writer.write(Evaluation(metrics=metrics, n_queries=300, **where))
        writer.end("completed", step=200)
    return Run.load(folder)


@pytest.mark.parametrize(("planted", "expected"), [({"query/common_share": step(0.2, 0.5, at=0.3)}, 60), ({}, 100)])
def test_between_evaluations_a_fall_is_not_before_the_embeddings_moved(planted, expected, tmp_path):
    evidence = Evidence(scored(tmp_path / "run", planted, {0: 0.0, 100: -0.2, 200: -0.2}))
    curve = next(one for one in evidence.curves if one.collection == "toy")
    onset = evidence.onset_of(curve)
    assert onset.step == expected and onset.high == 100


def change(against: str, before: float, after: float, *, fell: bool) -> Change:
    return Change(against=against, before=before, after=after, value=after - before, interval=None, fell=fell)


@pytest.mark.parametrize(("end", "from_best", "short"), [(0.7, False, True), (0.2, False, False), (0.7, True, False)])
def test_a_run_that_gained_most_of_it_stopped_short(end, from_best, short):
    changes = (change("start", 0.01, end, fell=False), change("raw", 0.9, end, fell=True))
    changes += (change("best", 0.8, end, fell=True),) if from_best else ()
    curve = Curve(
        name="c", collection="c", metric="mrr", inside=True, seen=False, steps=(0,), values=(0.01,), changes=changes
    )
    assert curve.stopped_short is short
