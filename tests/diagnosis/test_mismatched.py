"""Pairs that are wrong: at chance to the end, exchanged with negatives, or learnt by heart; and what looks like it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from journals_support import Shape, append, both, made, ramp, step

from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import ReferenceInfo

SEEN = {"reference": ReferenceInfo(source="replayed", n=400, seen=True)}
AT_CHANCE = {"pairs/d_prime": lambda t: 0.05, "pairs/mrr": lambda t: 0.02, "pairs/mrr_centred": lambda t: 0.02}
MOVES = {"update/head": 1e-3}


def told(run) -> tuple[str | None, list[str]]:
    found = diagnose(run)
    return (found.kinds[0].kind if found.kinds else None), [one.cause for one in found.causes]


def never_told(folder, *, at_start=0.5, planted: Mapping[str, Shape] = MappingProxyType({}), **settings):
    held = {"pairs/auc": lambda t: at_start if t == 0 else 0.5}
    settings = {"extra": {"pairs/auc": 0.5}, "fields": SEEN, "held": held, "noise": 1e-3, "steps": 300, **settings}
    return made(folder, {**AT_CHANCE, "drift/head": ramp(0.0, 0.5, since=0.0, until=1.0), **planted}, **settings)


def test_pairs_that_no_step_told_apart_are_wrong(tmp_path):
    found = diagnose(never_told(tmp_path / "run"))
    assert [one.kind for one in found.kinds] == ["mismatched_pairs"] and found.exit_code == 1
    assert [one.cause for one in found.causes] == ["wrong_pairs"]
    assert "look at ten pairs" in " ".join(found.summary.split()) and "optimiser" not in found.summary


def test_few_steps_of_random_weights_that_told_nothing_apart_are_no_proof(tmp_path):
    """Ids of users and items are told apart late."""
    few = never_told(tmp_path / "few", steps=200)
    told = append(
        never_told(tmp_path / "told", steps=200),
        [{"kind": "event", "name": "pretrained", "step": 0, "subject": "bert"}],
    )
    found = [{one.code: one.status.value for one in diagnose(run).findings}["CP513"] for run in (few, told)]
    assert found == ["warning", "critical"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"at_start": 0.75}, id="first weights told them apart"),
        pytest.param({"planted": {"pairs/auc": ramp(0.5, 0.58, since=0.0, until=1.0)}}, id="it rises slowly"),
        pytest.param({"planted": {"update/head": lambda t: 8.0 if t < 0.01 else 1e-3}}, id="replaced weights"),
        pytest.param({"planted": both("norm_median", ramp(1.0, 1e-12))}, id="vectors of length 0"),
        pytest.param({"planted": both("norm_median", ramp(1.0, 1e6))}, id="lengths without end"),
        pytest.param({"planted": both("common_share", lambda t: 0.9999)}, id="one vector from the start"),
    ],
)
def test_what_else_leaves_pairs_at_chance_is_no_fault_of_theirs(other, tmp_path):
    assert told(never_told(tmp_path / "run", **other))[0] != "mismatched_pairs"


def test_a_part_that_nobody_calls_is_not_why_nothing_is_learnt(tmp_path):
    """A pooler that mean pooling passes by has no gradient, and stays as it is."""
    terms = {"drift/pooler": 0.0, "update/pooler": 0.0}
    found = diagnose(never_told(tmp_path / "run", terms=terms, extra={}, held={}))
    assert found.kinds[0].kind == "no_learning" and not found.causes
    assert "look at ten pairs" in " ".join(found.summary.split())


@pytest.mark.parametrize(("own", "negative", "named"), [(0.5, 0.7, True), (0.9, 0.95, False), (0.5, 0.5, False)])
def test_positives_and_negatives_that_changed_places(own, negative, named, tmp_path):
    """Hard negatives of pairs that are right are told apart as well, and so are the own documents."""
    extra = {"pairs/auc": own, "pairs/negative_auc": negative}
    run = made(tmp_path / "run", {"pairs/mrr": ramp(0.1, 0.4)}, extra=extra, fields=SEEN, steps=60)
    assert told(run) == (("mismatched_pairs", ["swapped_pairs"]) if named else (None, []))


@pytest.mark.parametrize(
    ("own", "negative", "said"),
    [
        pytest.param(ramp(0.5, 0.95), 0.9, "not measured", id="own documents come apart: negatives share words"),
        pytest.param(ramp(0.5, 0.95), 0.3, "warning", id="they do where negatives are driven away"),
        pytest.param(lambda t: 0.5, 0.9, "critical", id="they never do"),
    ],
)
def test_negatives_that_are_told_apart_first_have_changed_places_where_training_does_not_undo_it(
    own, negative, said, tmp_path
):
    planted = {"pairs/auc": own, "pairs/negative_auc": step(0.9, negative), "pairs/mrr": ramp(0.1, 0.4)}
    run = made(tmp_path / "run", planted, extra={"pairs/auc": 0.5, "pairs/negative_auc": 0.9}, fields=SEEN)
    found = diagnose(run)
    assert {one.code: one.status.value for one in found.findings}["CP513"] == said
    assert [one.cause for one in found.causes] == ([] if said == "not measured" else ["swapped_pairs"])


def labelled(folder, together: float, apart: float):
    run = made(folder, {"pairs/mrr": ramp(0.1, 0.2)}, fields=SEEN, steps=60, held={"pairs/auc": lambda t: together})
    read = {"kind": "readings", "step": 0, "on": "reference", "n": 200}
    values = [{"pairs/auc": together}, {"pairs/negative_auc": apart}]
    return append(run, [{**read, "values": one} for one in values])


def test_labels_that_are_inverted(tmp_path):
    """Rows that the loss moves apart are told apart by the first weights, and those that it moves together are not."""
    assert told(labelled(tmp_path / "inverted", 0.5, 0.9)) == ("mismatched_pairs", ["swapped_pairs"])
    assert told(labelled(tmp_path / "right", 0.9, 0.5)) == (None, [])


def epochs(folder, *, new: float, again: float, examples: int | None = 64 * 50, events: tuple = ()):
    """A run of four epochs of 50 steps, in which pairs are told apart from the second one on."""
    shape = step(new, again, at=0.255)
    planted = {"pairs/mrr": ramp(0.01, 0.8, since=0.25), "pairs/auc": shape}
    fields = {**SEEN, "examples": examples}
    held = {"pairs/auc": lambda t: 0.5 if t == 0 else again}
    run = made(folder, planted, extra={"pairs/auc": 0.5}, fields=fields, held=held)
    return append(run, [{"kind": "event", "name": "seen_again", "step": one, "subject": "pairs"} for one in events])


def test_pairs_that_are_told_apart_only_once_they_were_seen(tmp_path):
    found = diagnose(epochs(tmp_path / "heart", new=0.5, again=0.75))
    assert [(one.kind, one.status.value) for one in found.kinds] == [("mismatched_pairs", "warning")]
    said = " ".join(found.summary.split())
    assert "learnt by heart" in said and "new pairs at the end of the first epoch" in said and "held-out" in said
    heard = epochs(tmp_path / "heard", new=0.5, again=0.75, examples=None, events=(55,))
    assert told(heard) == ("mismatched_pairs", ["pairs_by_heart"])
    assert told(epochs(tmp_path / "learns", new=0.62, again=0.75)) == (None, [])
    assert told(epochs(tmp_path / "slow", new=0.54, again=0.64)) == (None, [])
    assert told(epochs(tmp_path / "ids", new=0.553, again=0.9)) == (None, [])


def test_where_nothing_tells_the_first_screen_says_what_the_pairs_are(tmp_path):
    said = [
        diagnose(one).summary
        for one in (
            epochs(tmp_path / "unknown", new=0.5, again=0.75, examples=None),
            epochs(tmp_path / "new pairs are told apart", new=0.95, again=0.97),
            made(tmp_path / "held out", {"pairs/mrr": ramp(0.1, 0.8)}),
        )
    ]
    assert ["learnt by heart looks the same" in " ".join(one.split()) for one in said] == [True, False, False]
    assert "reference=heldout.jsonl" in said[0]


ONE_MODULE = [
    {"kind": "event", "name": "pretrained", "step": 1, "subject": "bert"},
    *(
        {"kind": "coverage", "stream": one, "step": 20, "role": one, "where": "output of the model", "steps": 20}
        for one in ("query", "document")
    ),
]


@pytest.mark.parametrize(
    ("first", "more", "said"),
    [
        pytest.param(0.5, ONE_MODULE, True, id="at chance"),
        pytest.param(0.72, ONE_MODULE, False, id="told apart"),
        pytest.param(0.5, ONE_MODULE[1:], False, id="random weights"),
        pytest.param(
            0.5, [*ONE_MODULE[:2], {**ONE_MODULE[2], "where": "output of module other"}], False, id="two models"
        ),
    ],
)
def test_pretrained_weights_that_tell_no_first_pairs_apart_are_a_warning(first, more, said, tmp_path):
    rises = {"pairs/auc": ramp(first, 0.95, since=0.2, until=0.8)}
    run = append(made(tmp_path / "run", rises, reference=False, extra={"pairs/auc": first}), more)
    assert ("mismatched_pairs" in [one.kind for one in diagnose(run).kinds]) is said
