"""What interventions decided, in a run's diagnosis: verdicts in place of suspicions, with their numbers and gains."""

from __future__ import annotations

import json

import pytest
from journals_support import LOST_RANK, both, made, other_domain, ramp

from collapse_probe.diagnosis import VERDICTS, diagnose

FORCES = {"pairs/push": 0.2, "pairs/pull": -0.4, "query/radial": 0.0, "document/radial": 0.0}
PULLS = {**FORCES, "pairs/push": -0.2}
COLLAPSE = {**LOST_RANK, **both("common_share", ramp(0.2, 0.995))}


def effect(tests: str, of: str, change: float, **fields) -> dict:
    """An entry of the file, on the reference pairs of five seeds."""
    entry = {"intervention": f"{tests} away", "changes": {tests: 0}, "tests": tests, "collection": "reference pairs"}
    entry |= {"domain": "in", "metric": "mrr", "effect": of, "change": change, "low": change - 0.02}
    entry |= {"high": change + 0.02, "p": 1e-4, "fall": -0.3, "restored": change / 0.3, "seeds": 5, "queries": 400}
    return {**entry, **fields}


def decided(run, *effects: dict, owner: str | None = None):
    content = {"schema": 1, "run": owner or run.identity, "ablations": [{"name": "mine", "effects": list(effects)}]}
    (run.folder / VERDICTS).write_text(json.dumps(content))
    return diagnose(run.folder)


def verdicts(found) -> list[tuple[str, str]]:
    return [(one.cause, one.verdict) for one in found.causes]


@pytest.mark.parametrize(
    ("of", "seeds", "verdict"),
    [
        ("restores", 5, "confirmed"),
        ("restores", 2, "supported"),
        ("restores in part", 5, "contributes"),
        ("no effect", 5, "refuted"),
        ("worse", 5, "refuted"),
        ("not resolved at this n", 5, "unresolved"),
    ],
)
def test_an_intervention_decides_what_was_suspected(tmp_path, of, seeds, verdict):
    run = made(tmp_path / "run", COLLAPSE, extra=PULLS)
    before = (run.folder / "journal.jsonl").read_bytes()
    found = decided(run, effect("no_repulsion", of, 0.29, seeds=seeds))
    assert verdicts(found) == [("no_repulsion", verdict)]
    said = found.to_dict()["causes"][0]
    assert list(said) == ["cause", "locus", "verdict", "because", "remedies"]
    name = "reference pairs/mrr with no_repulsion away"
    numbers = {name: 0.29, f"{name}, low": 0.27, f"{name}, high": 0.31, f"{name}, seeds": float(seeds)}
    assert {key: said["because"][key] for key in numbers} == pytest.approx(numbers)
    assert "pairs/push" in said["because"], "what it was suspected by stays"
    helped = verdict in ("confirmed", "supported", "contributes")
    assert ([one["gain"] for one in said["remedies"] if one["change"] == {"no_repulsion": 0}] == [0.29]) == helped
    assert f"Why        {verdict}: nothing pushes" in found.summary
    assert (run.folder / "journal.jsonl").read_bytes() == before


def test_what_no_intervention_tests_stays_suspected(tmp_path):
    run = made(tmp_path / "run", COLLAPSE, extra=PULLS)
    assert verdicts(decided(run, effect("", "restores", 0.3))) == [("no_repulsion", "suspected")]
    tautology = effect("no_repulsion", "restores", 0.3, by_construction="it freezes what is trained")
    assert verdicts(decided(run, tautology)) == [("no_repulsion", "suspected")]


def test_a_cause_that_nothing_suspected_is_named_where_it_is_confirmed_alone(tmp_path):
    run = made(tmp_path / "run", COLLAPSE, extra=PULLS)
    found = decided(run, effect("penalty_leak", "restores", 0.3), effect("no_repulsion", "no effect", 0.0))
    assert verdicts(found) == [("penalty_leak", "confirmed"), ("no_repulsion", "refuted")]
    assert "a penalty reaches what it was not meant for" in " ".join(found.summary.split())
    assert found.causes[0].kind == found.kinds[0].kind
    for weaker in (effect("penalty_leak", "restores in part", 0.1), effect("steps_too_large", "restores", 0.3)):
        found = decided(run, {**weaker, "trains_less": weaker["tests"] == "steps_too_large"})
        assert verdicts(found) == [("no_repulsion", "suspected")]


def test_where_the_first_suspicion_is_refuted_the_next_is_asked(tmp_path):
    planted = {**COLLAPSE, "update/head": lambda t: 0.5 if t == 0.5 else 1e-3}
    run = made(tmp_path / "run", planted, extra=PULLS)
    assert verdicts(diagnose(run)) == [("no_repulsion", "suspected")]
    found = decided(run, effect("no_repulsion", "no effect", 0.0))
    assert verdicts(found) == [("steps_too_large", "suspected"), ("no_repulsion", "refuted")]
    assert "Why        suspected: steps are too large" in found.summary


def test_a_healthy_run_has_no_cause_whatever_was_decided(tmp_path):
    run = made(tmp_path / "run", extra=PULLS)
    assert not decided(run, effect("no_repulsion", "restores", 0.3)).causes


def test_forgetting_is_decided_on_the_other_domain(tmp_path):
    run = other_domain(tmp_path / "run", {"pairs/mrr": ramp(0.84, 0.95, since=0.1, until=0.5)})
    own = effect("too_few_pairs", "no effect", 0.0, fall=None, restored=None)
    other = effect("too_few_pairs", "restores", 0.1, collection="toy", domain="out", metric="ndcg@10", fall=-0.1)
    found = decided(run, own, other)
    assert verdicts(found) == [("too_few_pairs", "confirmed")]
    assert found.causes[0].decided.collection == "toy"


def test_a_collapse_is_decided_on_the_own_domain_where_the_run_fell_there(tmp_path):
    """Met on the founding case with two seeds: the own fall is not resolved over seeds, and the other domain's is."""
    run = made(tmp_path / "run", COLLAPSE, extra=PULLS)
    own = effect("no_repulsion", "better", 0.14, fall=None, restored=None)
    other = effect("no_repulsion", "worse", -0.08, collection="toy", domain=None, metric="ndcg@10", fall=-0.1)
    found = decided(run, own, other)
    assert verdicts(found) == [("no_repulsion", "contributes")] and found.causes[0].decided.change == 0.14


def test_a_remedy_that_was_tried_has_its_measured_gain(tmp_path):
    run = made(tmp_path / "run", COLLAPSE, extra=PULLS)
    advised = next(one.change for one in diagnose(run).causes[0].remedies if "lambda_contrastive" in one.change)
    harmful = effect("no_repulsion", "restores", 0.35)
    elsewhere = {**harmful, "effect": "worse", "change": -0.1, "collection": "toy", "domain": "out"}
    found = decided(run, effect("", "restores", 0.31, changes=dict(advised)), harmful, elsewhere)
    gains = [one.gain for one in found.causes[0].remedies if "scoring" not in one.change]
    assert gains[:2] == [0.31, 0.35], "what does harm elsewhere comes after what does not"
    assert found.causes[0].remedies[0].change == advised and found.causes[0].remedies[0].gain == 0.31


def test_verdicts_of_another_run_do_not_count_and_a_damaged_file_is_said(tmp_path):
    run = made(tmp_path / "run", COLLAPSE, extra=PULLS)
    found = decided(run, effect("no_repulsion", "restores", 0.3), owner="other noon")
    assert verdicts(found) == [("no_repulsion", "suspected")] and not found.errors
    for text in ("[]", '{"schema": 1, "run": "x", "ablations": [{}]}'.replace("x", run.identity)):
        (run.folder / VERDICTS).write_text(text)
        found = diagnose(run.folder)
        assert verdicts(found) == [("no_repulsion", "suspected")]
        assert [one["what"] for one in found.to_dict()["errors"]] == [VERDICTS]
