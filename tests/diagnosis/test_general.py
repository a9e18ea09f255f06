"""Rules that say what no kind's own signature says: each once where it holds, and once where it does not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from journals_support import FALL, QUERIES, append, both, made, other_domain, ramp, wrong_pairs

from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Coverage, ReferenceInfo, StreamInfo

ADDED = tuple(
    StreamInfo(name=name, role=role)
    for name, role in {"query": "query", "document": "document", "delta": "correction"}.items()
)


def kinds(run) -> list[str]:
    return [one.kind for one in diagnose(run).kinds]


def causes(run) -> list[str]:
    return [one.cause for one in diagnose(run).causes]


@pytest.mark.parametrize(
    ("end", "said"), [(20.0, "dimensional_collapse"), (40.0, "loss_against_retrieval"), (6.0, "dimensional_collapse")]
)
def test_a_fall_that_nothing_explains_has_the_nearest_geometry(end, said, tmp_path):
    """A rank of a third is no collapse by itself, and what there is where retrieval falls; of two thirds it is not."""
    run = made(tmp_path / "run", {**FALL, **both("participation_ratio_corrected", ramp(60.0, end))})
    found = diagnose(run)
    assert found.kinds[0].kind == said and str(found.status) == "critical"


@pytest.mark.parametrize("end", [0.4, 3.0])
def test_norms_under_a_cosine_are_no_nearest_geometry(end, tmp_path):
    planted = {**FALL, **both("norm_median", ramp(1.0, end))}
    assert kinds(made(tmp_path / "cosine", planted, fields={"similarity": "cosine"})) == ["loss_against_retrieval"]
    assert kinds(made(tmp_path / "dot", planted, fields={"similarity": "dot"}))[0].startswith("scale_")


def test_a_geometry_that_is_near_and_harms_nothing_is_none(tmp_path):
    assert kinds(made(tmp_path / "run", both("participation_ratio_corrected", ramp(60.0, 20.0)))) == []


def test_ranks_of_batches_where_no_pair_was_read(tmp_path):
    fall = {**FALL, **both("participation_ratio_corrected", ramp(60.0, 4.0))}
    assert kinds(made(tmp_path / "run", fall, reference=False))[0] == "dimensional_collapse"
    assert "dimensional_collapse" not in kinds(made(tmp_path / "few", fall, reference=False, n=16))


@pytest.mark.parametrize(("change", "status"), [(-0.004, "healthy"), (-0.015, "warning")])
def test_geometry_beside_a_trifle_is_no_warning(change, status, tmp_path):
    """Neither is resolved of 40 pairs; .004 less would be none if it were."""
    cone = both("common_share", ramp(0.2, 0.7))
    run = made(tmp_path / "run", cone, scores=ramp(0.84, 0.84 + change), pairs=40)
    assert str(diagnose(run).status) == status


def test_pairs_that_never_get_better_are_wrong(tmp_path):
    chance = {"extra": {"pairs/auc": 0.51}}
    seen = {"reference": ReferenceInfo(source="replayed", n=400, seen=True)}
    assert kinds(made(tmp_path / "never", **chance, fields=seen))[0] == "mismatched_pairs"
    learns = {"pairs/auc": ramp(0.51, 0.9)}
    assert "mismatched_pairs" not in kinds(made(tmp_path / "learns", learns, **chance, fields=seen))
    still = {"drift/head": lambda t: 1e-4}
    assert "mismatched_pairs" not in kinds(made(tmp_path / "still", still, **chance, fields=seen))


def test_pairs_that_are_wrong_in_part_explain_no_explosion(tmp_path):
    grown = {**FALL, **both("norm_median", ramp(1.0, 900.0))}
    labelled = {"extra": {"pairs/auc": 0.72}}
    batch = {"kind": "readings", "step": 0, "on": "reference", "n": 400, "values": {"pairs/auc": 0.99}}
    run = append(made(tmp_path / "run", grown, **labelled), [batch])
    assert kinds(run)[0] == "scale_explosion"
    assert kinds(wrong_pairs(tmp_path / "wrong", 0.5))[0] == "mismatched_pairs"


@pytest.mark.parametrize(("end", "said"), [(0.9985, ["too_good"]), (0.95, [])])
def test_held_out_pairs_that_are_all_found_in_the_end(end, said, tmp_path):
    run = made(tmp_path / "run", {"pairs/mrr": ramp(0.84, end), "pairs/d_prime": ramp(3.4, 6.0)}, noise=0.0)
    assert kinds(run) == said


@pytest.mark.parametrize(
    ("forces", "said"),
    [
        ({"pairs/pull": 0.4, "pairs/push": -0.2}, "loss_computed_wrongly"),
        ({"pairs/pull": -0.4, "pairs/push": -0.2}, "no_repulsion"),
        ({"pairs/pull": -0.4, "pairs/push": -0.2, "pairs/push_all": -0.4}, "no_repulsion"),
        ({"pairs/pull": -0.8, "pairs/push": -0.2, "pairs/push_all": 0.12}, "temperature_or_margin"),
        ({"pairs/pull": 0.4, "pairs/push": 0.1}, "loss_computed_wrongly"),
    ],
)
def test_where_the_loss_moves_own_pairs(forces, said, tmp_path):
    cone = {**FALL, **both("common_share", ramp(0.2, 0.8))}
    assert causes(made(tmp_path / "run", cone, extra={**forces, "pairs/auc": 0.97}))[0] == said


@pytest.mark.parametrize(("start", "said"), [(0.9999, []), (0.2, ["no_repulsion"])])
def test_vectors_that_are_one_from_the_first_batch_on_cannot_be_pushed_apart(start, said, tmp_path):
    forces = {"pairs/pull": -0.02, "pairs/push": -0.01}
    cone = {**FALL, **both("common_share", ramp(start, 0.9999))}
    found = causes(made(tmp_path / "run", cone, extra={**forces, "pairs/auc": 0.97}, noise=0.0))
    assert [one for one in found if one == "no_repulsion"] == said


def test_own_pairs_that_are_driven_apart_with_all_others_at_first(tmp_path):
    """A sigmoid without its bias pushes everything, until own pairs are what is left to pull."""
    cone = {**FALL, **both("common_share", ramp(0.2, 0.8)), "pairs/pull": ramp(0.3, -0.2)}
    forces = {"pairs/pull": 0.3, "pairs/push": 0.15, "pairs/auc": 0.97}
    assert causes(made(tmp_path / "run", cone, extra=forces))[0] == "temperature_or_margin"


def test_a_loss_that_drives_own_pairs_apart_needs_no_large_fall(tmp_path):
    small = {"pairs/mrr": ramp(0.84, 0.833), "pairs/d_prime": ramp(3.4, 3.1)}
    forces = {"pairs/push": 0.1, "pairs/auc": 0.97}
    wrong = diagnose(made(tmp_path / "wrong", small, extra={**forces, "pairs/pull": 0.4}))
    right = diagnose(made(tmp_path / "right", small, extra={**forces, "pairs/pull": -0.4}))
    assert str(wrong.status) == "critical" and wrong.causes[0].cause == "loss_computed_wrongly"
    assert str(right.status) != "critical"


def test_rows_that_do_not_teach(tmp_path):
    cone = {**FALL, **both("common_share", ramp(0.2, 0.8))}
    extra = {"pairs/push": 0.2, "pairs/pull": -0.3, "pairs/auc": 0.97, "query/teaching": 0.02}
    assert causes(made(tmp_path / "few", cone, extra=extra)) == ["temperature_or_margin"]
    assert causes(made(tmp_path / "many", cone, extra={**extra, "query/teaching": 0.3})) == []


def test_a_teacher_that_a_gradient_reaches(tmp_path):
    point = {**FALL, **both("common_share", ramp(0.2, 0.995)), "pairs/mrr_centred": ramp(0.845, 0.5)}
    forces = {"pairs/push": -0.2, "pairs/pull": -0.5, "document/radial": 0.01}

    def run(name, where):
        teacher = Coverage(stream="document", step=1, calls=1, role="document", where=where, steps=1, n=64)
        record = {"kind": "coverage", **{name: getattr(teacher, name) for name in teacher.__dataclass_fields__}}
        return append(made(tmp_path / name, point, extra=forces), [record])

    assert causes(run("teacher", "module teacher")) == ["self_distillation"]
    assert causes(run("tower", "module document_tower")) == ["no_repulsion"]


def test_a_loss_of_nought_leaves_nothing_to_learn(tmp_path):
    nothing = {"gradient/norm": lambda t: 0.0, "loss/total": lambda t: 0.0}
    assert causes(made(tmp_path / "nought", nothing)) == ["nothing_left_to_learn_from"]
    assert causes(made(tmp_path / "cut", {"gradient/norm": lambda t: 0.0})) == ["not_trained"]


@pytest.mark.parametrize(
    ("batch_norm", "cause"), [(True, "batch_dependent_vectors"), (False, "training_and_scoring_differ")]
)
def test_batches_that_tell_pairs_apart_where_the_reference_does_not(batch_norm, cause, tmp_path):
    run = made(tmp_path / "run", extra={"pairs/auc": 0.97})
    records = [{"kind": "readings", "step": 0, "on": "reference", "n": 400, "values": {"pairs/auc": 0.52}}]
    if batch_norm:
        records.append({"kind": "event", "name": "batch_norm", "subject": "head.1", "message": "", "step": 1})
    # The journal's own reading of the pairs at step 0 comes first.
    lines = (run.folder / "journal.jsonl").read_text("utf-8").splitlines(keepends=True)
    lines = [one.replace('"pairs/auc"', '"pairs/other"') if '"reference"' in one else one for one in lines]
    (run.folder / "journal.jsonl").write_text("".join(lines), "utf-8")
    found = append(run, records)
    assert kinds(found) == ["path_mismatch"] and causes(found) == [cause]


def test_a_correction_that_shrank_is_not_called_constant(tmp_path):
    extra = {"delta/mean_abs": 0.04, "delta/constancy": 0.95, "delta/norm_median": 1.0}
    gone = {"delta/mean_abs": ramp(0.04, 0.01)}
    assert kinds(made(tmp_path / "gone", gone, extra=extra, fields={"streams": ADDED})) == ["delta_collapse"]
    assert kinds(made(tmp_path / "kept", extra=extra, fields={"streams": ADDED})) == ["constant_correction"]


def test_a_constant_correction_is_critical_where_nothing_else_is_trained(tmp_path):
    extra = {"delta/mean_abs": 0.04, "delta/constancy": 0.99, "delta/dead_dimensions": 1.0}

    def run(name, where):
        heard = {"kind": "coverage", "stream": "delta", "step": 1, "calls": 1, "role": "correction", "where": where}
        heard |= {"steps": 1, "n": 64}
        fields, rises = {"streams": ADDED}, ramp(0.84, 0.86)
        behind = {"update/head.first": 1e-6}
        run = other_domain(tmp_path / name, {}, extra=extra, terms=behind, fields=fields, scores=rises)
        return append(run, [heard])

    alone = diagnose(run("alone", "module head"))
    assert alone.kinds[0].kind == "constant_correction" and str(alone.kinds[0].status) == "critical"
    assert alone.causes[0].cause == "dead_units"
    assert kinds(run("beside", "module another"))[0] == "forgetting"


def test_batches_that_part_from_their_pairs(tmp_path):
    """Two loaders that go apart half way: the replayed pairs are told apart to the end."""
    batches = {"pairs/auc": lambda t: 0.98}
    run = made(tmp_path / "run", batches, extra={"pairs/auc": 0.98}, noise=0.001)
    lines = (run.folder / "journal.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    for one in records:
        if one["kind"] == "readings" and one.get("on", "batch") == "batch" and one["step"] > 100:
            one["values"]["pairs/auc"] = 0.5
    (run.folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
    found = diagnose(run.folder)
    assert found.kinds[0].kind == "mismatched_pairs" and found.causes[0].cause == "wrong_pairs"
    onset = found.kinds[0].judgement.onset
    assert onset is not None and 100 <= onset.low < onset.step <= 105


@pytest.mark.parametrize(("gradient", "said"), [(0.02, ["path_mismatch"]), (0.0, [])])
def test_a_side_that_is_trained_and_left_behind(gradient, said, tmp_path):
    """An index that was made once: documents of the batches move, those that are scored keep every bit."""
    moves = {"document/norm_median": ramp(1.0, 2.0), "document/common_share": ramp(0.2, 0.3)}
    extra = {"document/radial": gradient} if gradient else {}
    run = made(tmp_path / "run", moves, extra=extra)
    records = [json.loads(line) for line in (run.folder / "journal.jsonl").read_text("utf-8").splitlines()]
    for one in records:
        if one["kind"] == "readings" and one.get("on") == "reference":
            still = {name: 0.5 for name in one["values"] if name.startswith("document/")}
            one["values"] |= still
    (run.folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
    assert [one.kind for one in diagnose(run.folder).kinds] == said
    event = {"kind": "event", "name": "left_out", "subject": "documents", "message": "", "step": 20}
    forgotten = diagnose(append(run, [event]))
    if gradient:
        assert forgotten.kinds[0].kind == "side_not_trained" and str(forgotten.status) == "warning"
        assert forgotten.causes[0].cause == "not_trained" and forgotten.causes[0].locus == "documents"


def test_a_module_that_nobody_uses_is_no_cause(tmp_path):
    """A pooler beside a mean: it keeps every bit in every training, here in one whose pairs stay at chance."""
    planted = {"pairs/d_prime": lambda t: 0.05, "pairs/mrr": lambda t: 0.03, "pairs/auc": lambda t: 0.5}
    terms = {"drift/encoder": 0.3, "update/encoder": 0.01, "drift/pooler": 0.0, "update/pooler": 0.0}
    found = diagnose(made(tmp_path / "run", planted, terms=terms, scores=lambda t: 0.03))
    assert str(found.status) == "critical" and "not_trained" not in [one.cause for one in found.causes]
    assert "pooler" not in found.summary


def test_a_moving_average_that_hardly_moves(tmp_path):
    """The batches' separation rises, and what is scored keeps its neighbours and its separation."""

    def run(name, kept, gained):
        planted = {"pairs/d_prime": ramp(3.4, 5.0, since=0.0, until=0.8)}
        path = made(tmp_path / name, planted, extra={"pairs/neighbour_overlap": 0.99}, noise=0.001).folder
        records = [json.loads(line) for line in (path / "journal.jsonl").read_text("utf-8").splitlines()]
        for one in records:
            if one["kind"] == "readings" and one.get("on") == "reference":
                t = one["step"] / 200
                one["values"] |= {"pairs/d_prime": 3.4 + gained * t, "pairs/neighbour_overlap": 1 - (1 - kept) * t}
        (path / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
        return kinds(path)

    assert run("average", 0.99, 0.02) == ["path_mismatch"]
    assert run("learns", 0.99, 1.2) == []
    assert run("by_heart", 0.6, 0.02) == []


def test_a_temperature_alone_is_no_learning(tmp_path):
    """One group keeps every bit, and so does every score, while another group moves."""
    drifts = {"drift/head": lambda t: 0.0, "update/head": lambda t: 0.0, "drift/scale": lambda t: 0.1 * t}
    run = made(tmp_path / "run", drifts, terms={"drift/scale": 0.1, "update/scale": 1e-3}, reference=False)
    scored = []
    for at in (0, 100, 200):
        (run.folder / f"toy-{at}.json").write_text(json.dumps({"query_ids": ["a", "b"], "ndcg@10": [0.5, 0.6]}))
        one = {"kind": "evaluation", "collection": "toy", "step": at, "metrics": {"ndcg@10": 0.55}, "n_queries": 2}
        scored.append({**one, "per_query": f"toy-{at}.json", "domain": "out"})
    found = diagnose(append(run, scored))
    assert found.kinds[0].kind == "no_learning" and found.causes[0].cause == "not_trained"


def test_a_collection_that_began_below_the_encoder_and_rises_is_not_forgotten(tmp_path):
    raw = np.clip(QUERIES, 0, 1)

    def run(name, start):
        made_run, records = made(tmp_path / name, unmoved=True, scores=lambda t: 0.84), []
        for at, scores, variant in ((0, raw, "raw"), (0, raw - start, "model"), (200, raw - 0.15, "model")):
            file = f"toy-{at}-{variant}.json"
            content = {"query_ids": [str(i) for i in range(len(raw))], "ndcg@10": scores.tolist()}
            (made_run.folder / file).write_text(json.dumps(content))
            one = {"kind": "evaluation", "collection": "toy", "step": at, "metrics": {"ndcg@10": float(scores.mean())}}
            records.append({**one, "variant": variant, "n_queries": len(raw), "per_query": file, "domain": "out"})
        return kinds(append(made_run, records))[0]

    assert run("rises", 0.25) == "loss_against_retrieval"
    assert run("falls", 0.05) == "forgetting"


def test_pairs_that_were_replayed_in_another_order_say_nothing(tmp_path):
    """A loop that encodes in pieces: the pieces of one side are taken for a pair when they are replayed."""
    fields = {"reference": ReferenceInfo(source="replayed", n=400, seen=True)}
    run = made(tmp_path / "run", extra={"pairs/auc": 0.98}, noise=0.001, fields=fields)
    records = [json.loads(line) for line in (run.folder / "journal.jsonl").read_text("utf-8").splitlines()]
    for one in records:
        if one["kind"] == "readings" and one.get("on") == "reference":
            one["values"] |= {"pairs/auc": 0.51, "pairs/d_prime": 0.03, "pairs/mrr": 0.02}
    (run.folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
    assert str(diagnose(run.folder).status) == "healthy"


def test_weights_that_decay_to_nothing_in_an_optimiser_that_adds_decay_to_gradients(tmp_path):
    extra = {"delta/mean_abs": 0.04}
    gone = {"delta/mean_abs": ramp(0.04, 1e-9), "drift/head": ramp(0.1, 1.0)}
    terms = {"decay/head": 1.0, "rate/head": 1e-4}
    assert causes(made(tmp_path / "gone", gone, extra=extra, terms=terms, fields={"streams": ADDED}, noise=0.001)) == [
        "penalty_too_strong"
    ]


def test_own_documents_that_stand_in_the_batch_again(tmp_path):
    """Without a mask the loss moves own pairs apart to the end; under one nothing is said, nor of a few."""
    again = {"pairs/tied_share": 1.0, "pairs/auc": 0.94, "pairs/push": 0.05, "pairs/pull": -0.2}
    apart = {"pairs/pull": ramp(0.9, 0.5)}
    wrong = diagnose(made(tmp_path / "wrong", apart, extra=again))
    assert (wrong.kinds[0].kind, wrong.causes[0].cause) == ("false_negatives", "false_negatives")
    assert "false_negatives" not in kinds(made(tmp_path / "masked", extra=again))
    assert "false_negatives" not in kinds(made(tmp_path / "few", apart, extra={**again, "pairs/tied_share": 0.1}))


CONSTANT = ["constant_correction"]


@pytest.mark.parametrize(("end", "constancy", "said"), [(0.9, 0.85, []), (0.9, 0.99, CONSTANT), (0.84, 0.85, CONSTANT)])
def test_a_correction_that_is_mostly_constant_while_pairs_gain(end, constancy, said, tmp_path):
    extra = {"delta/mean_abs": 0.04, "delta/constancy": constancy}
    gains = {"pairs/mrr": ramp(0.84, end)}
    assert kinds(made(tmp_path / "run", gains, extra=extra, fields={"streams": ADDED}, noise=0.002)) == said
