"""Several evaluations of one run, and several collections, are judged together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from collapse_probe.diagnosis import Evidence, diagnose
from collapse_probe.diagnosis._kinds import of_cut
from collapse_probe.journal import Evaluation, JournalWriter, LiveRun, Run, RunConfig, write_config
from collapse_probe.statistics import holm, max_t, randomisation_p

QUERIES = 80


def written(folder: Path, scored: dict[tuple[str, str, int], dict[str, float]], *, judged: str = "model") -> Run:
    """Return a run with scores by query of (collection, variant, step)."""
    folder.mkdir()
    write_config(folder, RunConfig(name="r", judged=judged))
    with JournalWriter(folder) as journal:
        for number, ((collection, variant, step), values) in enumerate(scored.items()):
            file = f"{number}.json"
            (folder / file).write_text(json.dumps({"query_ids": list(values), "mrr": list(values.values())}))
            mean = {"mrr": float(np.mean(list(values.values())))}
            where = {"collection": collection, "step": step, "variant": variant, "n_queries": len(values)}
            journal.write(Evaluation(metrics=mean, per_query=file, **where))
        journal.end("completed", step=100)
    return Run.load(folder)


def drawn(seed: int, shift: float = 0.0, *, queries: int = QUERIES) -> dict[str, float]:
    """Return scores that all begin alike."""
    own = np.random.default_rng(7).uniform(0.3, 0.9, queries)
    noise = np.random.default_rng(seed).normal(shift, 0.1, queries) if seed else 0.0
    return {f"q{at}": float(value) for at, value in enumerate(own + noise)}


def p_of(run: LiveRun, collection: str, against: str = "start") -> float:
    curve = next(one for one in Evidence(run).curves if one.name == collection)
    return next(one.interval.p for one in curve.changes if one.against == against)


def test_all_evaluations_of_a_collection_are_judged_together(tmp_path):
    values = [drawn(seed, shift) for seed, shift in ((0, 0), (1, 0), (2, 0.02), (3, -0.03))]
    run = written(tmp_path / "r", {("c", "model", 10 * at): one for at, one in enumerate(values)})
    table = np.array([list(one.values()) for one in values])
    expected = max_t((table[1:] - table[0]).T)[-1].p
    assert p_of(run, "c") == pytest.approx(expected)
    assert expected > 1.5 * randomisation_p(table[-1] - table[0])


def test_the_raw_encoder_is_in_the_same_family(tmp_path):
    values = {0: drawn(0), 10: drawn(1, -0.02), 20: drawn(2, -0.03)}
    raw = drawn(3, 0.01)
    run = written(tmp_path / "r", {("c", "raw", 0): raw, **{("c", "model", step): one for step, one in values.items()}})
    start, middle, end, of_raw = (np.array(list(one.values())) for one in (*values.values(), raw))
    changes = [middle - start, end - start, start - of_raw, middle - of_raw, end - of_raw]
    expected = [one.p for one in max_t(np.array(changes).T)]
    assert (p_of(run, "c"), p_of(run, "c", "raw")) == pytest.approx((expected[1], expected[4]))


def test_what_has_other_queries_is_counted_not_mixed(tmp_path):
    values = {0: drawn(0), 10: drawn(1, queries=60), 20: drawn(2, -0.03)}
    run = written(tmp_path / "r", {("c", "model", step): one for step, one in values.items()})
    first, last = (np.array(list(values[step].values())) for step in (0, 20))
    assert p_of(run, "c") == pytest.approx(2 * randomisation_p(last - first))


def test_collections_are_judged_by_holm(tmp_path):
    shifts = {"a": -0.04, "b": -0.03, "c": 0.0}
    pairs = {name: (drawn(0), drawn(at + 1, shift)) for at, (name, shift) in enumerate(shifts.items())}
    run = written(
        tmp_path / "r", {(name, "model", 10 * at): one for name, both in pairs.items() for at, one in enumerate(both)}
    )
    own = [randomisation_p(np.array(list(after.values())) - list(before.values())) for before, after in pairs.values()]
    assert [p_of(run, name) for name in pairs] == pytest.approx(holm(own))


def test_a_fall_on_every_one_of_many_collections_is_critical(tmp_path):
    """Bug: p of 10,000 sign flips times a dozen collections could not be as small as a critical fall needs."""
    names = [f"c{at}" for at in range(15)]
    scored = {
        (name, "model", step): drawn(at + 1 if step else 0, -0.3) for at, name in enumerate(names) for step in (0, 9)
    }
    found = diagnose(written(tmp_path / "r", scored))
    assert str(found.status) == "critical"
    assert {one.subject for one in found.findings if one.code == "CP201" and str(one.status) == "critical"} == set(
        names
    )


@pytest.mark.parametrize(("shifts", "state"), [((0.05, -0.3), "raised"), ((-0.3, -0.3), "confirmed")])
def test_a_correction_is_confirmed_as_harmful_by_two_evaluations_in_a_row(tmp_path, shifts, state):
    """Bug: one evaluation that was worse with the correction counted for every step that was scored both ways."""
    scored = {}
    for at, shift in enumerate(shifts, start=1):
        scored[("c", "no_predictor", 10 * at)] = drawn(0)
        scored[("c", "predictor", 10 * at)] = drawn(at, shift)
    found = diagnose(written(tmp_path / "r", scored, judged="predictor"))
    (one,) = (one for one in found.findings if one.code == "CP202")
    assert (str(one.status), one.state) == ("critical", state)


def test_a_collection_that_is_named_like_some_columns_is_one_of_whole_embeddings(tmp_path):
    """Bug: of ``docs@2024`` no cause was looked for."""
    scored = {
        ("docs@2024", "model", step): {str(q): level for q in range(QUERIES)} for step, level in ((0, 0.9), (100, 0.4))
    }
    found = [one for one in diagnose(written(tmp_path / "run", scored)).findings if one.subject == "docs@2024"]
    assert found and not any(of_cut(one) for one in found)
