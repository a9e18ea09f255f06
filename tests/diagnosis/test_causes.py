"""Mechanisms: each is suspected where it is planted, none in a run that is well, and no later one before an earlier."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from journals_support import (
    FALL,
    LOST_RANK,
    QUERIES,
    TERMS,
    append,
    both,
    made,
    other_domain,
    ramp,
    step,
    still,
    wrong_pairs,
)

from collapse_probe.diagnosis import diagnose
from collapse_probe.diagnosis.causes import MECHANISMS
from collapse_probe.diagnosis.detectors import BY_CODE
from collapse_probe.journal import ReferenceInfo, StreamInfo

COLLAPSE = {**LOST_RANK, **both("common_share", ramp(0.2, 0.995))}
SHRINKS = {**FALL, **both("norm_median", ramp(1.0, 0.1, since=0.0, until=1.0))}
FORCES = {"pairs/push": 0.2, "pairs/pull": -0.4, "query/radial": 0.0, "document/radial": 0.0}
PULLS = {**FORCES, "pairs/push": -0.2}
LEAK = {
    **{"force/residual/share": 0.4, "force/contrast/share": 0.6, "force/residual/radial": -0.2},
    **{"force/contrast/radial": 0.0, "force/residual@delta/share": 0.9, "force/contrast@delta/share": 0.1},
    **{"force/residual@delta/radial": -0.95, "force/contrast@delta/radial": 0.0},
}
CORRECTED = {
    "streams": (
        *(StreamInfo(name=name, role=name) for name in ("query", "document")),
        StreamInfo(name="delta", role="correction"),
    )
}


def collapse(**more) -> Callable:
    return lambda folder: made(folder, {**COLLAPSE, **more.pop("planted", {})}, **{"extra": FORCES, **more})


def homogeneous(folder):
    norm = ramp(1.0, 0.1, since=0.0, until=1.0)
    return made(folder, {**SHRINKS, "loss/total": lambda t: norm(t) ** 2}, extra=FORCES, noise=1e-3)


def random_head(folder):
    run = other_domain(folder, {}, examples=9000)
    assert run.folder is not None
    good = QUERIES + 0.05
    (folder / "raw.json").write_text(json.dumps({"query_ids": [f"q{i}" for i in range(300)], "ndcg@10": list(good)}))
    raw = {"kind": "evaluation", "collection": "toy", "step": 0, "metrics": {"ndcg@10": float(good.mean())}}
    kept = {"kind": "readings", "step": 0, "on": "reference", "n": 400, "values": {"pairs/neighbour_overlap": 0.6}}
    return append(run, [{**raw, "variant": "raw", "n_queries": 300, "per_query": "raw.json", "domain": "out"}, kept])


def by_heart(folder):
    planted = {"pairs/mrr": ramp(0.01, 0.8, since=0.25), "pairs/auc": step(0.5, 0.75, at=0.255)}
    fields = {"reference": ReferenceInfo(source="replayed", n=400, seen=True), "examples": 64 * 50}
    held = {"pairs/auc": lambda t: 0.5 if t == 0 else 0.75}
    return made(folder, planted, extra={"pairs/auc": 0.5}, fields=fields, held=held)


def seen(folder, name):
    return append(made(folder), [{"kind": "event", "name": name, "message": "it was seen", "step": 2}])


SUSPECTED = {
    "pairs_by_heart": by_heart,
    "wrong_pairs": lambda folder: wrong_pairs(folder, 0.5),
    "swapped_pairs": lambda folder: made(folder, steps=60, extra={"pairs/auc": 0.5, "pairs/negative_auc": 0.7}),
    "false_negatives": lambda folder: made(folder, FALL, extra={**PULLS, "pairs/near_own": 4.0}),
    "leak": lambda folder: made(folder, {"pairs/mrr": lambda t: 1.0, "pairs/mrr_centred": lambda t: 1.0}),
    "loss_without_floor": lambda folder: made(
        folder,
        {**FALL, **both("norm_median", ramp(1.0, 900.0)), "loss/total": ramp(1.0, -5e4)},
        extra={"pairs/push": 0.2},
    ),
    "half_precision": lambda folder: made(folder, extra={"lost/head": 0.9}),
    "softmax_twice": lambda folder: seen(folder, "softmax_twice"),
    "text_is_cut": lambda folder: seen(folder, "one_text"),
    "training_and_scoring_differ": still,
    "nothing_left_to_learn_from": lambda folder: made(folder, {"gradient/norm": lambda t: 0.0}, n=1),
    "not_trained": lambda folder: made(folder, {"gradient/norm": lambda t: 0.0}),
    "steps_too_small": lambda folder: made(
        folder, {"update/head": lambda t: 1e-7, "drift/head": lambda t: 2e-5 * t}, noise=1e-5
    ),
    "penalty_too_strong": lambda folder: made(
        folder, SHRINKS, extra={**FORCES, "query/radial": -0.95, "document/radial": -0.9}
    ),
    "no_scale_anchor": homogeneous,
    "penalty_leak": collapse(extra={**FORCES, **LEAK}, fields=CORRECTED),
    "steps_too_large": collapse(planted={"update/head": step(1e-3, 0.5)}),
    "loss_computed_wrongly": lambda folder: made(folder, {"gradient/norm": step(0.5, math.nan)}, extra=FORCES),
    "dead_units": lambda folder: made(folder, {**FALL, **both("dead_dimensions", ramp(0.01, 0.6))}, extra=FORCES),
    "temperature_or_margin": collapse(
        planted={"loss/total": lambda t: 0.97 * math.log(64)}, extra={**FORCES, "pairs/auc": 0.98}
    ),
    "no_repulsion": collapse(extra=PULLS),
    "too_few_pairs": lambda folder: other_domain(folder, {"pairs/mrr": ramp(0.84, 0.95, since=0.1, until=0.5)}),
    "memorised_documents": lambda folder: other_domain(
        folder, {"pairs/mrr": ramp(0.84, 0.95, since=0.1, until=0.5)}, examples=1200
    ),
    "random_head": random_head,
}


def named(run) -> list[str]:
    return [one.cause for one in diagnose(run).causes]


@pytest.mark.parametrize("cause", SUSPECTED)
def test_what_is_planted_is_suspected_first(cause, tmp_path):
    found = diagnose(SUSPECTED[cause](tmp_path / "run"))
    assert [one.cause for one in found.causes][:1] == [cause], found.summary
    first = found.causes[0]
    assert first.verdict == "suspected" and first.decides and first.remedies
    assert first.because or first.cause in ("softmax_twice", "text_is_cut"), "what is seen has no number"
    assert "\nWhy" in found.summary and first.title in " ".join(found.summary.split())
    assert found.to_dict()["causes"][0]["cause"] == cause


def test_every_mechanism_is_tried():
    """Those that are about what stands beside readings are tried in test_general, test_untold, and under watching."""
    beside = {
        "gradients_kept",
        "padding_in_vectors",
        "weights_overwritten",
        "schedule_too_short",
        "narrow_data",
        "self_distillation",
        "batch_dependent_vectors",
        "evaluator",
    }
    assert {one.cause for one in MECHANISMS} == {*SUSPECTED, *beside}


def test_a_run_that_is_well_has_no_cause(tmp_path):
    assert named(made(tmp_path / "run", extra=PULLS)) == []


def test_naming_none_is_legal(tmp_path):
    found = diagnose(made(tmp_path / "run", COLLAPSE, extra=FORCES))
    assert found.kinds and not found.causes and "\nWhy" not in found.summary


@pytest.mark.parametrize(
    ("planted", "extra", "first"),
    [
        ({"update/head": step(1e-3, 0.5)}, PULLS, "no_repulsion"),
        ({"update/head": step(1e-3, 0.5)}, FORCES, "steps_too_large"),
        ({"pairs/push": step(0.2, -0.2), "update/head": step(1e-3, 0.5)}, FORCES, "steps_too_large"),
        ({"pairs/push": step(0.2, -0.2)}, FORCES, "no_repulsion"),
    ],
)
def test_what_would_look_like_another_stands_before_it(planted, extra, first, tmp_path):
    """A loss that never pushes is to blame whatever the steps; one that no longer does may have been broken by them."""
    assert named(made(tmp_path / "run", {**COLLAPSE, **planted}, extra=extra))[0] == first


def test_a_term_is_named_by_its_force(tmp_path):
    """More than half of the force, and nothing but shrinking: a weaker term, or one that does more, is not to blame."""
    two = {
        **FORCES,
        "query/radial": -0.95,
        "document/radial": -0.9,
        "force/norm/radial": -0.95,
        "force/norm/share": 0.8,
    }
    two |= {"force/contrast/radial": 0.1, "force/contrast/share": 0.2}
    found = diagnose(made(tmp_path / "strong", SHRINKS, extra=two)).causes[0]
    assert (found.cause, found.locus) == ("penalty_too_strong", "norm") and found.because["force/norm/share"] > 0.7
    weak = {**two, "query/radial": -0.3, "force/norm/share": 0.2, "force/contrast/share": 0.8}
    assert "penalty_too_strong" not in named(made(tmp_path / "weak", SHRINKS, extra=weak))


def test_a_leak_needs_force_at_the_embeddings_and_two_terms_at_the_correction(tmp_path):
    for name, other in {
        "held": {"force/residual/share": 0.1},
        "not held": {"force/residual@delta/radial": -0.2},
    }.items():
        run = made(tmp_path / name, COLLAPSE, extra={**FORCES, **LEAK, **other}, fields=CORRECTED)
        assert "penalty_leak" not in named(run), name
    alone = {key: value for key, value in {**FORCES, **LEAK}.items() if not key.startswith("force/contrast@")}
    assert "penalty_leak" not in named(made(tmp_path / "alone", COLLAPSE, extra=alone, fields=CORRECTED))


def test_no_repulsion_names_the_terms_and_the_push_of_the_strongest(tmp_path):
    terms = {"force/pull/share": 0.7, "force/pull/push": -0.3, "force/other/share": 0.3, "force/other/push": 0.1}
    found = diagnose(made(tmp_path / "run", COLLAPSE, extra={**PULLS, **terms})).causes[0]
    assert (found.cause, found.locus) == ("no_repulsion", "pull, other")
    assert found.because["force/pull/push"] == pytest.approx(-0.3, rel=0.1)
    assert {one["stream"] for one in diagnose(tmp_path / "run").to_dict()["heard"]} == {"query", "document"}


def test_near_copies_that_a_collapse_made_are_no_cause(tmp_path):
    planted = {**COLLAPSE, "pairs/near_own": step(0.0, 30.0, at=0.05)}
    assert named(made(tmp_path / "run", planted, extra=PULLS))[0] == "no_repulsion"


def test_near_copies_harm_nobody_while_separation_holds(tmp_path):
    found = diagnose(made(tmp_path / "run", {"pairs/mrr": ramp(0.84, 0.9)}, extra={**PULLS, "pairs/near_own": 4.0}))
    assert found.status.value == "healthy"


def test_steps_from_nothing_are_no_leap(tmp_path):
    """A layer that starts at zero, as adapters do, has a first update without bound."""
    planted = {**COLLAPSE, "update/head": lambda t: 1e9 if t < 0.01 else 1e-3}
    assert "steps_too_large" not in named(made(tmp_path / "run", planted, extra=FORCES))


@pytest.mark.parametrize(("way", "pretrained", "named_"), [(0.9, True, True), (0.9, False, False), (0.02, True, False)])
def test_pretrained_weights_that_went_far_were_moved_too_fast(way, pretrained, named_, tmp_path):
    """A warm-up has no first step that is large: what is left of the weights tells."""
    planted = {**COLLAPSE, "update/head": lambda t: 0.015, "drift/head": lambda t: way * t, "pairs/push": lambda t: 0.2}
    run = made(tmp_path / "run", planted, extra=FORCES)
    run = append(run, [{"kind": "event", "name": "pretrained", "step": 1, "subject": "bert"}] if pretrained else [])
    assert ("steps_too_large" in named(run)) is named_


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda one: one.cause)
def test_every_mechanism_is_documented(mechanism):
    kinds = {one.kind for one in BY_CODE.values()}
    assert mechanism.formula.endswith(".") and mechanism.decides and mechanism.remedies
    assert set(mechanism.explains) & kinds
    assert all(one.source for one in mechanism.thresholds.values())


def test_a_run_at_chance_from_start_to_end_learnt_nothing(tmp_path):
    planted = {"pairs/d_prime": lambda t: 0.05, "pairs/mrr": lambda t: 0.02, "pairs/mrr_centred": lambda t: 0.02}
    found = diagnose(made(tmp_path / "run", {**planted, **both("common_share", ramp(0.3, 0.9))}))
    assert (found.kinds[0].kind, found.status.value, found.exit_code) == ("no_learning", "critical", 1)
    assert [one.kind for one in found.kinds] == ["no_learning"], "its cone follows from it"


def test_geometry_is_no_alarm_where_the_training_pairs_are_learnt(tmp_path):
    """Random towers grow, and their first geometry is nothing that could be lost."""
    replayed = {"reference": ReferenceInfo(source="replayed", seen=True)}
    planted = {"pairs/mrr": ramp(0.02, 0.95), "pairs/d_prime": ramp(0.1, 4.0), **both("norm_median", ramp(1.0, 6.0))}
    assert not diagnose(made(tmp_path / "run", planted, fields=replayed)).kinds
    flat = {"pairs/mrr": lambda t: 0.5, "pairs/d_prime": lambda t: 2.0, **both("norm_median", ramp(1.0, 6.0))}
    assert {one.kind for one in diagnose(made(tmp_path / "flat", flat, fields=replayed)).kinds} == {"scale_explosion"}


def test_another_way_of_scoring_is_a_remedy_with_its_measured_gain(tmp_path):
    """What the same vectors would bring, centred and by a cosine, is read and not forecast."""
    planted = {**FALL, **both("common_share", ramp(0.2, 0.9)), "pairs/mrr_centred": ramp(0.845, 0.8)}
    found = diagnose(made(tmp_path / "run", planted, extra=PULLS, noise=1e-3))
    (measured,) = [one for one in found.causes[0].remedies if one.gain is not None]
    assert measured.gain == pytest.approx(0.3, abs=0.01) and "mean off" in str(measured.change["scoring"])
    assert "(measured, MRR +.3" in " ".join(found.summary.split())
    assert found.to_dict()["causes"][0]["remedies"][-1]["gain"] == pytest.approx(measured.gain)


def test_a_gain_that_was_not_read_at_the_end_is_none(tmp_path):
    planted = {**FALL, **both("common_share", ramp(0.2, 0.9)), "pairs/mrr_centred": ramp(0.845, 0.505)}
    found = diagnose(made(tmp_path / "run", planted, extra=PULLS, noise=1e-3))
    assert all(one.gain is None for one in found.causes[0].remedies)


DECAYED = {"decay/head": 8.0, "rate/head": 1e-2}


@pytest.mark.parametrize(("first_update", "named"), [(0.1, "penalty_too_strong"), (17.0, "steps_too_large")])
def test_weight_decay_is_a_cause_where_it_is_much_of_an_update(first_update, named, tmp_path):
    """A rate that is a thousand times too large makes the decay as many times larger, and is to blame itself."""
    terms = {**TERMS, **DECAYED}
    planted = {**COLLAPSE, "update/head": lambda t: first_update if t < 0.01 else 0.1}
    found = diagnose(made(tmp_path / "run", planted, extra=FORCES, terms=terms))
    assert [one.cause for one in found.causes] == [named]
    said = " ".join(found.summary.partition("\nDo")[2].split())
    assert ("weight decay" in said) == (named == "penalty_too_strong") and "penalty's weight" not in said


def test_weight_decay_is_not_lowered_where_a_term_shrinks(tmp_path):
    found = diagnose(SUSPECTED["penalty_too_strong"](tmp_path / "run"))
    said = " ".join(found.summary.partition("\nDo")[2].split())
    assert "lower the penalty's weight" in said and "weight decay" not in said


def test_weights_that_a_pulling_loss_takes_to_nothing_did_not_decay(tmp_path):
    terms = {**TERMS, "decay/head": 0.01, "rate/head": 1e-3}
    gone = {**COLLAPSE, "drift/head": ramp(0.1, 1.0, since=0.0, until=0.5)}
    pulled = made(tmp_path / "pulled", gone, extra={**PULLS, "pairs/push_all": -0.3}, terms=terms, noise=1e-3)
    assert named(pulled)[0] == "no_repulsion"
    decayed = made(tmp_path / "decayed", gone, extra=FORCES, terms=terms, noise=1e-3)
    assert named(decayed)[0] == "penalty_too_strong"


def test_a_model_that_is_no_number_at_the_end_has_no_other_way_of_scoring(tmp_path):
    planted = {
        **FALL,
        **both("common_share", ramp(0.2, 0.9)),
        "pairs/mrr_centred": ramp(0.845, 0.8),
        "gradient/norm": step(0.5, math.nan),
    }
    broken = {**planted, "pairs/mrr": lambda t: math.nan if t > 0.95 else 0.5}
    found = diagnose(made(tmp_path / "run", broken, extra=PULLS, noise=1e-3))
    assert found.kinds[0].kind == "divergence" and "scoring" not in found.summary
    assert all(one.gain is None for cause in found.causes for one in cause.remedies)


@pytest.mark.parametrize(("jumps", "update", "named"), [(3.0, 0.023, True), (1.0, 0.023, False), (3.0, 1e-3, False)])
def test_a_loss_that_jumps_up_after_the_first_step_says_that_it_was_too_large(jumps, update, named, tmp_path):
    """What was trained before is lost by steps that random weights take well."""
    planted = {
        **COLLAPSE,
        "update/head": lambda t: update if t < 0.1 else 1e-3,
        "loss/total": lambda t: 1.0 if t <= 0.005 else jumps,
    }
    found = [one.cause for one in diagnose(made(tmp_path / "run", planted, extra=FORCES)).causes]
    assert found == (["steps_too_large"] if named else [])


@pytest.mark.parametrize(("spreads", "named_so"), [(-0.02, True), (0.02, False)])
def test_a_loss_that_was_loud_is_a_temperature_only_where_no_sum_makes_it(spreads, named_so, tmp_path):
    loud = {"loss/total": lambda t: 60.0 + 8 * (-1) ** round(200 * t) if t < 0.4 else math.log(64)}
    run = collapse(planted=loud, extra={**FORCES, "pairs/auc": 0.7, "pairs/push_all": spreads})(tmp_path / "run")
    assert ("temperature_or_margin" in named(run)) is named_so
