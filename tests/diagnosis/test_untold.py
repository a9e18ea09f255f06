"""What a run shows that was read wrongly before: each once as it is, and once without what makes it so."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from journals_support import FALL, QUERIES, append, both, made, other_domain, ramp, scored, step

from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Event, JournalWriter, ReferenceInfo, Run, StreamInfo

SEEN = {"reference": ReferenceInfo(source="replayed", n=400, seen=True)}


def kind(run) -> str | None:
    found = diagnose(run).kinds
    return found[0].kind if found else None


def causes(run) -> list[str]:
    return [one.cause for one in diagnose(run).causes]


def test_a_group_that_begins_at_zero_is_judged_by_its_own_size(tmp_path):
    fall = {**FALL, **both("common_share", ramp(0.2, 0.995)), "pairs/mrr_centred": ramp(0.845, 0.5)}
    from_zero = {"update/prompt": lambda t: 0.7 if t < 0.02 else 0.01, "drift/prompt": lambda t: 2e11 * (1 + t)}
    bias = {"terms": {"update/prompt": 0.01, "drift/prompt": 1.0}, "extra": {"pairs/push": 0.2}}
    assert "steps_too_large" not in causes(made(tmp_path / "small", {**fall, **from_zero}, **bias))
    prompt = {**from_zero, "drift/prompt": lambda t: 5e12 * (1 + t)}
    assert causes(made(tmp_path / "long", {**fall, **prompt}, **bias)) == ["steps_too_large"]


@pytest.mark.parametrize(("radial", "named"), [(0.15, ["no_scale_anchor"]), (0.0, [])])
def test_a_loss_that_is_not_heard_is_told_by_where_it_pushes(radial, named, tmp_path):
    grown = {**FALL, **both("norm_median", ramp(1.0, 900.0, since=0.0, until=1.0))}
    extra = {"query/radial": radial, "document/radial": radial, "pairs/push": 0.2, "loss/total": math.nan}
    run = made(tmp_path / "run", grown, extra={name: value for name, value in extra.items() if value == value})
    assert kind(run) == "scale_explosion" and causes(run) == named


def test_pairs_that_a_collection_says_are_wrong(tmp_path):
    batch = {"pairs/auc": ramp(0.5, 0.95)}
    elsewhere = other_domain(tmp_path / "scored", batch, extra={"pairs/auc": 0.5}, fields=SEEN)
    assert kind(elsewhere) == "mismatched_pairs" and causes(elsewhere) == ["wrong_pairs"]
    alone = made(tmp_path / "alone", batch, extra={"pairs/auc": 0.5}, fields=SEEN)
    assert kind(alone) != "mismatched_pairs"


def test_pairs_that_are_all_found_say_nothing_of_their_domain(tmp_path):
    found = other_domain(tmp_path / "solved", {}, fields=SEEN, scores=lambda t: 9.0)
    assert kind(found) == "loss_against_retrieval"
    assert kind(other_domain(tmp_path / "open", {})) == "forgetting"


def test_zeros_of_gradients_computed_in_half(tmp_path):
    run = made(tmp_path / "run", terms={"zeros/head": 0.95})
    assert kind(run) == "underflow" and causes(run) == ["half_precision"]
    assert kind(made(tmp_path / "float", terms={"zeros/head": 0.0})) is None


@pytest.mark.parametrize(("share", "said"), [(0.6, "ties"), (0.05, "forgetting")])
def test_ties_of_the_scored_pairs_explain_what_falls_elsewhere(share, said, tmp_path):
    run = other_domain(tmp_path / "run", {}, extra={"pairs/tied_share": share})
    assert kind(run) == said


def test_an_adapter_that_no_optimiser_holds(tmp_path):
    def run(name, *records):
        fields = {"streams": _streams()}
        extra = {"adapter/correction_over_residual": 0.0}
        made_run = made(tmp_path / name, extra=extra, fields=fields, scores=lambda t: 0.84)
        return append(made_run, list(records))

    left_out = Event(name="left_out", subject="up", message="", step=20)
    record = {"kind": "event", **{name: getattr(left_out, name) for name in ("name", "subject", "message", "step")}}
    found = diagnose(run("left", record))
    assert found.kinds[0].kind == "identity" and str(found.status) == "critical"
    assert [one.cause for one in found.causes] == ["not_trained"]
    assert str(diagnose(run("held")).status) == "warning"


def _streams():
    from collapse_probe.journal import StreamInfo

    roles = {"query": "query", "document": "document", "adapter": "correction"}
    return tuple(StreamInfo(name=name, role=role) for name, role in roles.items())


def test_a_raw_encoder_of_other_pairs_is_no_start(tmp_path):
    """Pairs of the first batches, beside a user's own for the raw encoder."""
    found = made(tmp_path / "run", fields=SEEN)
    (tmp_path / "run" / "raw.json").write_text('{"query_ids": ["0", "1"], "mrr": [1.0, 1.0]}')
    raw = {"kind": "evaluation", "collection": "reference pairs", "step": 0, "metrics": {"mrr": 1.0}, "variant": "raw"}
    raw |= {"per_query": "raw.json", "domain": "in", "n_queries": 2}
    readings = {"kind": "readings", "step": 0, "on": "raw", "n": 2, "values": {"pairs/mrr": 1.0}}
    said = diagnose(append(found, [raw, readings]))
    assert str(said.status) == "healthy" and said.retrieval[0]["raw"] is None


def test_a_gate_that_closes_at_one_blow_closes_by_its_steps(tmp_path):
    closed = {"gate/value": ramp(0.6, 0.0, since=0.01, until=0.02)}
    blow = {"update/gate": lambda t: 0.6 if t < 0.02 else 0.001}
    levels = {"terms": {"update/gate": 0.001}, "extra": {"pairs/push": 0.2, "gate/value": 0.6}}
    gates = {"streams": (*made(tmp_path / "sides").config.streams, StreamInfo(name="gate", role="gate"))}
    found = made(tmp_path / "blow", {**closed, **blow}, fields=gates, **levels)
    assert kind(found) == "gate_collapse" and causes(found) == ["steps_too_large"]
    assert causes(made(tmp_path / "calm", closed, fields=gates, **levels)) == []


@pytest.mark.parametrize(("way", "named"), [(0.004, ["steps_too_small"]), (0.2, [])])
def test_a_correction_that_hardly_a_step_moved(way, named, tmp_path):
    terms = {"update/net": 1e-4, "drift/net": 1e-4, "update/last": 0.05, "drift/last": 3e8}
    fields = {"streams": (*made(tmp_path / "sides").config.streams, StreamInfo(name="delta", role="correction"))}
    extra = {"gradient/norm": 0.6, "delta/correction_over_residual": 0.005}
    found = made(tmp_path / "run", {"drift/net": ramp(1e-4, way)}, fields=fields, terms=terms, extra=extra)
    assert kind(found) == "identity" and causes(found) == named


def test_a_loss_whose_terms_leave_some_of_it(tmp_path):
    what = [
        one.what for one in diagnose(made(tmp_path / "rest", terms={"loss/rest": 0.12, "loss/total": 1.0})).not_measured
    ]
    assert "0.12 of the loss" in what
    whole = diagnose(made(tmp_path / "whole", terms={"loss/rest": 1e-7, "loss/total": 1.0})).not_measured
    assert not [one for one in whole if "of the loss" in one.what]


@pytest.mark.parametrize(("score", "named"), [(1.0, "evaluator"), (0.8, None)])
def test_a_collection_that_is_perfect_whatever_the_model_is(score, named, tmp_path):
    run = made(tmp_path / "run")
    found = diagnose(append(run, scored(run.folder, {at: np.full(300, score) for at in (0, 100, 200)})))
    assert [one.kind for one in found.kinds] == (["too_good"] if named else [])
    assert [one.cause for one in found.causes] == ([named] if named else [])
    assert str(found.status) == ("warning" if named else "healthy")


def test_steps_that_replace_the_weights_are_not_the_losss_sign(tmp_path):
    grown = {**FALL, **both("norm_median", ramp(1.0, 9000.0, since=0.0, until=0.1))}
    apart = {"pairs/pull": 0.4, "pairs/push": -0.1, "pairs/auc": 0.99}
    calm = made(tmp_path / "calm", grown, extra=apart, terms={"update/net": 0.01})
    assert causes(calm) == ["loss_computed_wrongly"]
    blown = {**grown, "update/net": lambda t: 6.0 if t < 0.01 else 0.01, "pairs/push": step(0.2, -0.1, at=0.01)}
    assert causes(made(tmp_path / "blown", blown, extra=apart, terms={"update/net": 0.01})) == ["steps_too_large"]


def test_what_multiplies_embeddings_drives_them_to_their_bound(tmp_path):
    bound = {**FALL, **both("pass_through", ramp(0.9, 0.01, since=0.2, until=0.6))}
    extra = {"query/pass_through": 0.9, "document/pass_through": 0.9, "pairs/push": 0.2, "pairs/auc": 0.99}
    near = made(tmp_path / "near", {**bound, "drift/net": ramp(0.001, 0.4)}, terms={"drift/net": 0.4}, extra=extra)
    assert kind(near) == "saturation" and causes(near) == ["temperature_or_margin"]
    far = made(tmp_path / "far", {**bound, "drift/net": ramp(0.001, 9.0)}, terms={"drift/net": 0.4}, extra=extra)
    assert kind(far) == "saturation" and "temperature_or_margin" not in causes(far)


def test_a_penalty_that_grows_until_it_is_the_stronger(tmp_path):
    fields = {"streams": (*made(tmp_path / "sides").config.streams, StreamInfo(name="delta", role="correction"))}
    weak, strong = {"share": ramp(0.01, 0.96), "radial": -0.98}, {"share": ramp(0.99, 0.04), "radial": 0.01}
    forces = {f"force/size@delta/{name}": value for name, value in weak.items()}
    forces |= {f"force/contrast@delta/{name}": value for name, value in strong.items()}
    planted = {"delta/mean_abs": ramp(0.1, 0.001), **{name: one for name, one in forces.items() if callable(one)}}
    levels = {name: 0.5 if callable(one) else one for name, one in forces.items()}
    found = made(tmp_path / "run", planted, fields=fields, extra={"delta/mean_abs": 0.1}, terms=levels)
    assert kind(found) == "delta_collapse" and causes(found) == ["penalty_too_strong"]
    held = {name: one for name, one in planted.items() if not name.startswith("force/size")}
    levels["force/size@delta/share"] = 0.01
    assert causes(made(tmp_path / "held", held, fields=fields, extra={"delta/mean_abs": 0.1}, terms=levels)) == []


def test_most_steps_without_a_gradient_teach_nothing_unless_the_domain_rises(tmp_path):
    often = {"gradient/norm": lambda t: 0.0 if int(t * 200) % 5 < 3 else 0.03}
    extra = {"terms": {"gradient/norm": 0.03, "update/head": 1e-3}}
    assert kind(made(tmp_path / "level", often, **extra)) == "no_learning"
    rising = made(tmp_path / "rising", {**often, "pairs/mrr": ramp(0.84, 0.93)}, **extra)
    assert kind(rising) != "no_learning"


def test_what_falls_while_the_trained_domain_rises_is_of_another(tmp_path):
    run = made(tmp_path / "rises", {"pairs/mrr": ramp(0.84, 0.93)})
    untold = [{**one, "domain": None} for one in scored(run.folder, {at: QUERIES - at / 2000 for at in (0, 100, 200)})]
    assert kind(append(run, untold)) == "forgetting"
    level = made(tmp_path / "level")
    untold = [
        {**one, "domain": None} for one in scored(level.folder, {at: QUERIES - at / 2000 for at in (0, 100, 200)})
    ]
    assert kind(append(level, untold)) == "loss_against_retrieval"


def test_pairs_that_were_seen_once_are_not_too_few(tmp_path):
    rises = {"planted": {}, "scores": lambda t: 0.84 + 0.09 * t}
    often = other_domain(tmp_path / "often", examples=300, **rises)
    once = other_domain(tmp_path / "once", examples=900, n=4, **rises)
    assert causes(often) == ["too_few_pairs"] and causes(once) == ["narrow_data"]


@pytest.mark.parametrize(
    ("share", "auc", "rank", "said"),
    [
        (0.99, 0.97, None, "warning"),
        (0.9, 0.97, None, "healthy"),
        (0.99, 0.6, None, "healthy"),
        (0.99, 0.97, 0.95, "healthy"),
    ],
)
def test_a_loss_at_its_chance_is_seen_in_the_first_steps(share, auc, rank, said, tmp_path):
    planted = {"loss/total": lambda t: share * math.log(64)}
    rises = {} if rank is None else {"pairs/mrr": ramp(0.84, rank, since=0.0, until=1.0)}
    run = made(tmp_path / "run", {**planted, **rises}, steps=20, noise=0.001, extra={"pairs/auc": auc})
    found = diagnose(run)
    assert str(found.status) == said and (said == "healthy" or found.kinds[0].kind == "no_learning")
    assert said == "healthy" or [one.cause for one in found.causes] == ["temperature_or_margin"]


def test_what_no_optimiser_holds_is_noted_where_nothing_is_found(tmp_path):
    said = "up: 2 parameters have a gradient, and no optimiser holds them"
    record = {"kind": "event", "name": "left_out", "subject": "up", "message": said, "step": 20}
    found = diagnose(append(made(tmp_path / "run", {"pairs/mrr": ramp(0.84, 0.93)}), [record]))
    assert str(found.status) == "healthy" and f"Note       {said}" in found.summary


@pytest.mark.parametrize(("loss", "auc", "said"), [(2.5, 0.97, True), (0.3, 0.97, False), (2.5, 0.7, False)])
def test_a_softmax_that_may_be_too_warm_is_noted(loss, auc, said, tmp_path):
    """It pushes all texts, and hardly the nearest."""
    extra = {"pairs/auc": auc, "pairs/push": -0.04, "pairs/push_all": 0.09, "loss/total": loss}
    found = diagnose(made(tmp_path / "run", {"pairs/mrr": ramp(0.84, 0.93)}, extra=extra))
    assert str(found.status) == "healthy" and ("too warm" in " ".join(found.summary.split())) is said


@pytest.mark.parametrize(("dtype", "said"), [("float16", ["half_precision"]), ("float32", [])])
def test_vectors_of_half_precision_that_are_zeros_from_the_start(dtype, said, tmp_path):
    made(tmp_path / "run", {"document/norm_median": lambda t: 0.0})
    path = tmp_path / "run" / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    typed = [{**one, "dtype": dtype} if one["kind"] == "readings" else one for one in lines]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in typed))
    run = Run.load(tmp_path / "run")
    found = diagnose(run)
    assert found.kinds[0].kind == "scale_collapse" and causes(run) == said


@pytest.mark.parametrize(("pull", "named"), [(0.06, ["loss_computed_wrongly"]), (-0.3, ["wrong_pairs"])])
def test_a_loss_that_does_not_pull_own_pairs_is_no_matter_of_the_pairs(pull, named, tmp_path):
    """A softmax over the wrong axis: its batches stay at chance as those of wrong pairs do."""
    chance = {f"pairs/{name}": lambda t, at=at: at for name, at in (("mrr", 0.01), ("d_prime", 0.01), ("auc", 0.5))}
    extra = {"pairs/auc": 0.5, "pairs/pull": pull}
    run = made(tmp_path / "run", chance, extra=extra, terms={"drift/head": 0.5}, fields=SEEN, noise=1e-4)
    assert causes(run) == named


def test_a_pretrained_model_that_begins_blind_is_noted(tmp_path):
    """Means over padding: it rises from chance, where the encoder that was loaded tells texts apart."""

    def summary(name, start, *events):
        rises = {"pairs/d_prime": ramp(start, 3.4, since=0.0), "pairs/mrr": ramp(0.1, 0.84, since=0.0)}
        return diagnose(
            append(made(tmp_path / name, rises), [{"kind": "event", "step": 1, **one} for one in events])
        ).summary

    loaded = {"name": "pretrained", "subject": "encoder"}
    assert "Note       weights named as pretrained told no pairs apart at the start (d' .0" in summary(
        "blind", 0.02, loaded
    )
    assert "pretrained" not in summary("random", 0.02) + summary("sees", 1.4, loaded)


def test_reference_pairs_that_could_not_be_read_say_why(tmp_path):
    fields = {"reference": ReferenceInfo(source="given", declared=True)}
    said = "no reference pairs from step 0 on: all 300 query embeddings are equal at step 0"
    record = {"kind": "event", "name": "note", "subject": "reference pairs", "message": said, "step": 0}
    found = diagnose(append(made(tmp_path / "run", fields=fields, reference=False), [record]))
    assert found.summary.startswith("NOT MEASURED  reference pairs: all 300 query embeddings are equal at step 0")


@pytest.mark.parametrize(("share", "said"), [(0.02, True), (0.2, False)])
def test_what_is_made_of_vectors_after_training_is_not_what_was_trained(share, said, tmp_path):
    """Whitened when served by statistics of before: another length and mean from the start, and a separation that
    falls while that of the batches does not. Another length alone may be a normalisation."""
    shapes = {**both("norm_median", lambda t: 20.0), **both("common_share", lambda t: share)}
    elsewhere = {**FALL, **shapes, "pairs/d_prime": step(3.4, 1.5, at=0.01)}
    settings = {"extra": {"pairs/side_gap": 0.3, "pairs/push": 0.2}, "terms": {"drift/head": 0.2}}
    found = made(tmp_path / "run", held=elsewhere, scores=ramp(0.84, 0.5), **settings)
    assert (kind(found) == "path_mismatch") == said


@pytest.mark.parametrize(("scored_gap", "scored_length", "said"), [(0.9, 4.0, "path_mismatch"), (0.3, 1.0, None)])
def test_scored_pairs_that_part_from_those_of_the_batches(scored_gap, scored_length, said, tmp_path):
    """What goes one way has one length and one gap, learnt by heart or not; towers exchanged when they are served."""
    elsewhere = {
        **FALL,
        "pairs/side_gap": step(0.3, scored_gap, at=0.01),
        "query/norm_median": step(1.0, scored_length, at=0.01),
        "pairs/d_prime": step(3.4, 1.5, at=0.01),
    }
    extra = {"pairs/side_gap": 0.3, "pairs/push": 0.2}
    terms = {"drift/head": 0.2}
    found = made(tmp_path / "run", held=elsewhere, extra=extra, terms=terms, scores=ramp(0.84, 0.5))
    assert (kind(found) == "path_mismatch") == (said is not None)
    assert ("training_and_scoring_differ" in causes(found)) == (said is not None)


@pytest.mark.parametrize(("gradient", "named"), [(3e-9, "nothing_left_to_learn_from"), (0.5, "steps_too_small")])
def test_a_loss_that_is_the_same_for_every_batch_looks_at_no_text(gradient, named, tmp_path):
    small = {"update/head": lambda t: 1e-7, "drift/head": lambda t: 2e-5 * t, "gradient/norm": lambda t: gradient}
    found = made(tmp_path / "run", small, noise=1e-7)
    assert kind(found) == "no_learning" and causes(found) == [named]


def _with_delta(folder, planted, **settings):
    fields = {"streams": (*made(folder / "sides").config.streams, StreamInfo(name="delta", role="correction"))}
    return made(folder / "run", planted, fields=fields, **settings)


@pytest.mark.parametrize(("cost", "named"), [(30.0, ["penalty_too_strong"]), (0.1, [])])
def test_a_penalty_on_weights_has_no_force_at_what_it_shrinks(cost, named, tmp_path):
    falls = ramp(cost, 0.01, since=0.0, until=0.2)
    planted = {"delta/mean_abs": ramp(0.1, 0.001), "loss/orthogonal": falls, "loss/total": lambda t: 0.4 + falls(t)}
    terms = {"loss/contrast": 0.4, "loss/orthogonal": cost}
    terms |= {"force/contrast/share": 1.0, "force/contrast/radial": 0.0, "force/contrast@delta/share": 1.0}
    found = _with_delta(tmp_path, planted, extra={"delta/mean_abs": 0.1}, terms=terms)
    assert kind(found) == "delta_collapse" and causes(found) == named


@pytest.mark.parametrize(("dead", "named"), [(1.0, ["dead_units"]), (0.2, [])])
def test_a_correction_that_is_one_vector_for_every_row(dead, named, tmp_path):
    extra = {"delta/constancy": 1.0, "delta/dead_dimensions": dead}
    found = _with_delta(tmp_path, {}, extra=extra, terms={"update/delta": 1e-3, "update/bias": 0.02}, noise=1e-4)
    assert kind(found) == "constant_correction" and causes(found) == named


@pytest.mark.parametrize(("others", "named"), [(-0.3, ["penalty_too_strong"]), (0.3, ["loss_computed_wrongly"])])
def test_a_term_that_pulls_is_drowned_by_one_that_shrinks(others, named, tmp_path):
    shrunk = {**FALL, **both("norm_median", ramp(1.0, 0.1, since=0.0, until=1.0))}
    terms = {"force/logits/share": 0.99, "force/logits/radial": -0.5, "force/logits/pull": 0.4}
    terms |= {"force/contrast/share": 0.01, "force/contrast/radial": 0.0, "force/contrast/pull": others}
    extra = {"pairs/pull": 0.4, "pairs/push": -0.1, "pairs/auc": 0.98}
    assert causes(made(tmp_path / "run", shrunk, extra=extra, terms=terms)) == named


def test_what_draws_all_rows_together_is_no_penalty(tmp_path):
    shrunk = {**FALL, **both("norm_median", ramp(1.0, 0.1, since=0.0, until=1.0))}
    extra = {"query/radial": -0.9, "document/radial": -0.9, "pairs/pull": -0.1}
    assert causes(made(tmp_path / "draws", shrunk, extra={**extra, "pairs/push": -0.4})) == ["no_repulsion"]
    assert causes(made(tmp_path / "shrinks", shrunk, extra={**extra, "pairs/push": 0.0})) == ["penalty_too_strong"]


@pytest.mark.parametrize(("end", "named"), [(1.0, []), (None, ["penalty_too_strong"])])
def test_weights_that_pass_by_their_own_length_have_not_vanished(end, named, tmp_path):
    fall = {**FALL, **both("common_share", ramp(0.2, 0.995)), "pairs/mrr_centred": ramp(0.845, 0.5)}
    way = (lambda t: 1.0) if end is None else (lambda t: end * t)
    extra = {"extra": {"pairs/push": 0.2}, "terms": {"decay/0": 0.01, "drift/tower": 1.0}, "noise": 1e-3}
    assert causes(made(tmp_path / "run", {**fall, "drift/tower": way}, **extra)) == named


def _with_raw(run, level, values=None):
    """A run whose reference pairs were scored with the raw encoder, too."""
    ranks = np.clip(np.random.default_rng(0).normal(level, 0.25, 400), 0, 1)
    (run.folder / "raw.json").write_text(json.dumps({"query_ids": [str(i) for i in range(400)], "mrr": list(ranks)}))
    raw = {"kind": "evaluation", "collection": "reference pairs", "step": 0, "metrics": {"mrr": float(ranks.mean())}}
    raw |= {"variant": "raw", "n_queries": 400, "per_query": "raw.json", "domain": "in"}
    readings = {"kind": "readings", "step": 0, "on": "raw", "n": 400, "values": values or {"pairs/mrr": level}}
    return append(run, [raw, readings])


def _with_elsewhere(run, *, lost):
    """A run beside a collection of another domain, on which every step is below the raw encoder."""
    elsewhere = scored(run.folder, {at: QUERIES - lost for at in (0, 100, 200)})
    content = {"query_ids": [f"q{i}" for i in range(len(QUERIES))], "ndcg@10": list(QUERIES)}
    (run.folder / "toy-raw.json").write_text(json.dumps(content))
    raw = {**elsewhere[0], "variant": "raw", "per_query": "toy-raw.json", "metrics": {"ndcg@10": float(QUERIES.mean())}}
    return append(run, [*elsewhere, raw])


def test_a_collapse_of_rank_before_the_first_step_is_no_force_of_training(tmp_path):
    thin = both("participation_ratio_corrected", lambda t: 6.0)
    kept = {"pairs/push": -0.2, "pairs/neighbour_overlap": 0.1}
    run = made(tmp_path / "run", thin, extra=kept, scores=lambda t: 0.6)
    found = _with_raw(run, 0.84, {f"{side}/participation_ratio_corrected": 60.0 for side in ("query", "document")})
    assert kind(found) == "dimensional_collapse" and causes(found) == ["random_head"]
    later = {**FALL, **both("participation_ratio_corrected", ramp(60.0, 6.0))}
    assert causes(made(tmp_path / "later", later, extra=kept)) == ["no_repulsion"]


@pytest.mark.parametrize(("length", "said"), [(0.07, "path_mismatch"), (0.9, None)])
def test_running_statistics_that_are_none_of_the_batches(length, said, tmp_path):
    shorter = {f"{side}/norm_median": (lambda t: length) for side in ("query", "document")}
    run = made(tmp_path / "run", FALL, held=shorter, extra={"pairs/push": 0.2})
    norm = {"kind": "event", "name": "batch_norm", "subject": "net.1", "message": "", "step": 1}
    found = append(run, [norm])
    assert (kind(found) == "path_mismatch") == (said is not None)
    assert causes(found)[:1] == (["batch_dependent_vectors"] if said else [])
    assert kind(made(tmp_path / "plain", FALL, held=shorter, extra={"pairs/push": 0.2})) != "path_mismatch"


@pytest.mark.parametrize(("later", "named"), [(0.012, []), (0.03, ["steps_too_large"])])
def test_first_steps_are_no_half_of_a_run_because_each_is_read(later, named, tmp_path):
    """Twenty readings of the first twenty steps stand beside few of all the others."""
    fall = {**FALL, **both("common_share", ramp(0.2, 0.995)), "pairs/mrr_centred": ramp(0.845, 0.5)}
    steps = {"update/net": lambda t: 0.03 if t <= 0.1 else later}
    settings = {"extra": {"pairs/push": 0.2}, "terms": {"update/net": 0.03}, "every": 10, "noise": 1e-3}
    assert causes(made(tmp_path / "run", {**fall, **steps}, **settings)) == named


@pytest.mark.parametrize(("end", "said"), [(0.85, "forgetting"), (0.6, "loss_against_retrieval")])
def test_a_start_that_knew_nothing_learns_its_own_domain_again(end, said, tmp_path):
    """What the raw encoder knew of another is then forgotten; not where the own domain stays below the raw encoder."""
    run = _with_raw(made(tmp_path / "run", {"pairs/mrr": ramp(0.3, end)}, scores=ramp(0.3, end)), 0.8)
    assert kind(_with_elsewhere(run, lost=0.4)) == said


@pytest.mark.parametrize(("raw", "named"), [(0.5, "temperature_or_margin"), (0.84, "random_head")])
def test_a_bound_that_embeddings_were_at_before_the_first_step(raw, named, tmp_path):
    """Random weights would have cost retrieval; what multiplies embeddings before their bound has not."""
    bound = both("pass_through", lambda t: 0.05)
    extra = {f"{side}/pass_through": 0.05 for side in ("query", "document")}
    extra |= {"pairs/push": 0.2, "pairs/auc": 0.99}
    run = made(tmp_path / "run", bound, extra=extra, scores=lambda t: 0.6 + 0.06 * t)
    found = _with_elsewhere(_with_raw(run, raw), lost=0.2)
    assert kind(found) == "saturation" and causes(found)[0] == named


@pytest.mark.parametrize(("message", "said"), [("interrupted after step 200", ""), ("by hand", ": by hand")])
def test_how_a_run_ended_is_said_once(message, said, tmp_path):
    run = made(tmp_path / "run", ends=False)
    with JournalWriter(run.folder) as writer:
        writer.end("interrupted", step=200, message=message)
    assert f"Ended      interrupted after step 200{said}\n" in diagnose(run.folder).summary
