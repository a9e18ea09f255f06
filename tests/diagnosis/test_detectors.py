"""One battery over every detector: power, false alarms, transients, silence, and that each is documented."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from journals_support import (
    FALL,
    LOST_RANK,
    QUERIES,
    STREAM,
    Shape,
    append,
    both,
    config,
    live,
    made,
    other_domain,
    ramp,
    step,
    still,
    transient,
    write,
    wrong_pairs,
)

from collapse_probe.cli._explain import explained
from collapse_probe.diagnosis import AUDITS, BY_CODE, DETECTORS, Status, diagnose
from collapse_probe.diagnosis._evaluations import Evaluations
from collapse_probe.diagnosis._evidence import Evidence
from collapse_probe.diagnosis._kinds import ORDER
from collapse_probe.journal import (
    CollectionInfo,
    Evaluation,
    JournalWriter,
    Readings,
    ReferenceInfo,
    Run,
    StreamInfo,
    write_config,
)

CORRECTION = {"streams": (StreamInfo(name="query", role="query"), StreamInfo(name="delta", role="correction"))}
KEPT_RANK = {**FALL, "pairs/mrr_centred": ramp(0.845, 0.8)}


def scored(folder: Path, scores: dict[tuple[str, int], np.ndarray], *, fields=None, **more) -> Run:
    """A run with one collection, scored by variant and step; ``more`` are fields of every evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config(folder.name, **(fields or {})))
    with JournalWriter(folder) as writer:
        write(writer, ends=False)
        for (variant, at), values in scores.items():
            file = f"toy-{variant}-{at}.json"
            ids = [f"q{i}" for i in range(len(values))]
            (folder / file).write_text(json.dumps({"query_ids": ids, "ndcg@10": list(values)}))
            numbers = {"metrics": {"ndcg@10": float(np.mean(values))}, "n_queries": len(values), "per_query": file}
            writer.write(Evaluation(collection="toy", step=at, variant=variant, epoch=at // 100, **numbers, **more))
        writer.end("completed", step=200)
    return Run.load(folder)


def losses(folder: Path, values: list[float], falls: list[float]) -> Run:
    """A run of some checkpoints with a validation loss and a score each."""
    run = scored(folder, {("model", 40 * i): QUERIES - fall for i, fall in enumerate(falls)})
    assert run.folder is not None
    lines = (folder / "journal.jsonl").read_text().splitlines()
    at = {i: lines.index(line) for i, line in enumerate(x for x in lines if '"toy"' in x)}
    renumbered = [json.loads(line) for line in lines]
    for i, loss in enumerate(values):
        renumbered[at[i]]["epoch"] = i
        reading = {"validation/total": loss}
        renumbered.append({"kind": "readings", "step": 40 * i, "on": "reference", "epoch": i, "values": reading})
    end = next(one for one in renumbered if one["kind"] == "end")
    renumbered = [one for one in renumbered if one is not end]
    end["records"] = len(renumbered) + 1
    text = [json.dumps({**one, "seq": i}) for i, one in enumerate([*renumbered, end])]
    (folder / "journal.jsonl").write_text("\n".join(text) + "\n")
    return Run.load(folder)


def unverified(folder: Path) -> Run:
    return scored(folder, {("raw", 0): QUERIES, ("model", 200): QUERIES}, verified=False)


def memory(folder: Path) -> Run:
    seen = [f"q{i}" for i in range(100)]
    gain = np.where(np.arange(300) < 100, 0.1, 0.0) + np.random.default_rng(1).normal(0, 0.01, 300)
    collections = (CollectionInfo(name="toy", seen_queries=seen),)
    return scored(folder, {("raw", 0): QUERIES, ("model", 200): QUERIES + gain}, fields={"collections": collections})


def correction(folder: Path) -> Run:
    after = {("no_predictor", at): QUERIES for at in (0, 200)}
    return scored(folder, {**after, ("predictor", 200): QUERIES - 0.1}, fields={"judged": "predictor"})


def solved(folder: Path, at: float = 1.0) -> Run:
    return made(folder, {"pairs/mrr": lambda t: at, "pairs/mrr_centred": lambda t: at})


def at_chance(folder: Path, auc: float, elsewhere: float) -> Run:
    """A run whose reference pairs are training pairs, with a collection that the same weights search."""
    fields = {"reference": ReferenceInfo(source="replayed", seen=True)}
    run = scored(folder, {("model", 0): QUERIES - QUERIES.mean() + elsewhere, ("model", 200): QUERIES}, fields=fields)
    rows = {"kind": "readings", "on": "batch", "n": 64, "values": {"pairs/auc": auc}}
    return append(run, [{**rows, "step": at} for at in (1, 2, 3)])


def ranges(folder: Path) -> Run:
    declared = {"own": {"expected": [{"reading": "query/norm_median", "max": 1.5, "critical_above": 2.0}]}}
    return made(folder, {"query/norm_median": step(1.0, 3.0)}, fields={"probes": declared})


def with_delta(measure: str, start: float, end: float) -> Callable[[Path], Run]:
    planted = {f"delta/{measure}": ramp(start, end)}
    return lambda folder: made(folder, planted, fields=CORRECTION, extra={f"delta/{measure}": start})


GAP = {"pairs/side_gap": 0.3}
HUBS = {"pairs/hub_occurrence": 0.3}


def with_gate(start: float, end: float) -> Callable[[Path], Run]:
    fields = {"streams": (StreamInfo(name="query", role="query"), StreamInfo(name="alpha", role="gate"))}
    return lambda folder: made(folder, {"alpha/value": ramp(start, end)}, fields=fields, extra={"alpha/value": start})


def cold(folder: Path, *, losses: Shape | None = None, term: str = "total", **other: float) -> Run:
    sides = {f"{side}/teaching": 0.6 for side in ("query", "document")}
    extra = {"pairs/auc": 0.9, "pairs/mrr": 0.6, "pairs/push_all": -0.02, **sides, **other}
    varies = losses or (lambda t: 100.0 - 70.0 * t + 10 * (-1) ** round(200 * t))
    return made(folder, {f"loss/{term}": varies}, extra=extra, terms={f"loss/{term}": 1.0}, noise=1e-3)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        pytest.param({}, "warning", id="saturated"),
        pytest.param({"pairs/push_all": 0.02}, "healthy", id="a sum over random triplets spreads the batch"),
        pytest.param({"losses": lambda t: 100.0 - 70.0 * t}, "healthy", id="a constant beside it varies little"),
        pytest.param({"pairs/mrr": 0.95}, "healthy", id="rows teach whose own document is the first"),
        pytest.param({"losses": lambda t: 100.0, "term": "InfoNCE"}, "warning", id="a softmax by its name"),
    ],
)
def test_a_loud_loss_is_saturated_only_where_no_sum_and_no_constant_makes_it(other, said, tmp_path):
    found = next(one for one in diagnose(cold(tmp_path / "run", **other)).findings if one.code == "CP518")
    assert found.status.value == said


def one_side(folder: Path, *, idle: float, where: str = "output of module tower") -> Run:
    """Documents whose scored vectors keep every bit, beside a group that never moved."""
    run = made(folder, {"pairs/mrr": ramp(0.1, 0.4)}, terms={"drift/tower": idle}, noise=1e-3)
    path = folder / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for one in lines:
        if one["kind"] == "readings" and one.get("on") == "reference":
            one["values"] |= {f"document/{name}": value for name, value in STREAM.items()}
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    heard = {"kind": "coverage", "stream": "document", "step": 1, "calls": 1, "role": "document", "where": where}
    return append(Run.load(run.folder), [{**heard, "finite_share": 1.0}])


def added_up(folder: Path) -> Run:
    run = made(folder, {"gradient/norm": lambda t: 0.5 * (1 + 60 * t)}, terms={"gradient/own": 0.6})
    return append(run, [{"kind": "event", "name": "gradients_kept", "step": 4}])


def scheduled(folder: Path, *, until: int) -> Run:
    """A rate that falls to 0 at a step."""
    at = until / 200
    return made(folder, {"rate/head": step(1e-3, 0.0, at=at), "update/head": step(1e-3, 0.0, at=at)})


def padded(folder: Path) -> Run:
    run = made(folder)
    message = "a mean of all tokens, padding among them"
    told = {"kind": "terms", "step": 2, "values": {"padding/share": 0.4}}
    return append(run, [told, {"kind": "event", "name": "padding_pooled", "message": message, "step": 2}])


def seen(folder: Path, name: str) -> Run:
    return append(made(folder), [{"kind": "event", "name": name, "message": "it was seen", "step": 2}])


PLANTED: dict[str, Callable[[Path], Run]] = {
    "CP001": lambda folder: made(folder, {"loss/total": step(1.0, math.nan)}),
    "CP002": lambda folder: made(folder, silent=("query",)),
    "CP003": lambda folder: made(folder, ends=False),
    "CP101": ranges,
    "CP201": lambda folder: made(folder, FALL),
    "CP202": correction,
    "CP203": lambda folder: losses(folder, [3, 2, 1], [0.0, 0.1, 0.2]),
    "CP205": lambda folder: losses(folder, [6, 5, 4, 3, 2, 1], [0.0, 0.02, 0.05, 0.1, 0.15, 0.2]),
    "CP206": memory,
    "CP204": lambda folder: scored(folder, {("model", 0): QUERIES}, tied_share=0.4),
    "CP410": lambda folder: made(folder, {**LOST_RANK, **both("common_share", ramp(0.2, 0.995))}),
    "CP411": lambda folder: made(folder, {**FALL, **both("norm_median", ramp(1.0, 0.1))}),
    "CP412": lambda folder: made(folder, {**FALL, **both("norm_median", ramp(1.0, 50.0))}),
    "CP421": lambda folder: made(folder, {**KEPT_RANK, **both("common_share", ramp(0.2, 0.9))}),
    "CP422": lambda folder: made(folder, {**FALL, **both("participation_ratio_corrected", ramp(60.0, 3.0))}),
    "CP423": lambda folder: made(folder, {**FALL, **both("dead_dimensions", ramp(0.01, 0.6))}),
    "CP430": lambda folder: made(folder, {**FALL, "query/norm_median": ramp(1.0, 0.1)}),
    "CP431": lambda folder: made(
        folder, {**FALL, "pairs/side_gap": ramp(0.3, 1.5), "pairs/mrr_centred": ramp(0.845, 0.8)}, extra=GAP
    ),
    "CP450": lambda folder: made(folder, {**FALL, "pairs/hub_occurrence": ramp(0.3, 0.8)}, extra=HUBS),
    "CP440": with_delta("correction_over_residual", 0.3, 0.005),
    "CP441": with_delta("mean_abs", 0.02, 1e-4),
    "CP442": with_gate(0.1, 1e-3),
    "CP443": with_gate(0.0, 1e-5),
    "CP445": lambda folder: made(
        folder, {**FALL, "delta/pass_through": ramp(0.9, 0.02)}, fields=CORRECTION, extra={"delta/pass_through": 0.9}
    ),
    "CP444": with_delta("constancy", 0.2, 0.97),
    "CP501": lambda folder: made(folder, {"gradient/norm": lambda t: 0.0}),
    "CP502": lambda folder: other_domain(folder, {"pairs/mrr": ramp(0.84, 0.95, since=0.1, until=0.5)}),
    "CP503": lambda folder: other_domain(folder, {}),
    "CP504": lambda folder: made(folder, extra={"lost/head": 0.9}),
    "CP513": lambda folder: wrong_pairs(folder, 0.5),
    "CP514": lambda folder: made(folder, FALL, extra={"pairs/near_own": 4.0}),
    "CP516": solved,
    "CP518": cold,
    "CP519": lambda folder: one_side(folder, idle=0.0),
    "CP520": added_up,
    "CP521": still,
    "CP522": lambda folder: scheduled(folder, until=12),
    "CP523": padded,
    "CP524": lambda folder: made(folder, terms={"undone/body": 1.0, "undone/head": 0.0}),
    "CP525": lambda folder: seen(folder, "softmax_twice"),
    "CP526": lambda folder: seen(folder, "one_text"),
    "CP511": lambda folder: scored(folder, {("raw", 0): 0 * QUERIES, ("model", 200): 0 * QUERIES}),
    "CP512": unverified,
}

FALLS = [code for code, make in PLANTED.items() if BY_CODE[code].per == "stream" and code.startswith(("CP41", "CP42"))]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.code)
def test_what_is_planted_is_found(detector, tmp_path):
    found = [one for one in diagnose(PLANTED[detector.code](tmp_path / "run")).findings if one.code == detector.code]
    if detector.code == "CP002":
        assert {one.subject: one.status.value for one in found} == {"query": "not measured", "document": "healthy"}
        return
    worst = found[0]
    # Grave alone where something else is so, too.
    warns = detector.code in ("CP101", "CP204", "CP440", "CP442", "CP443", "CP444", "CP516")
    assert worst.status in (detector.gravest, Status.WARNING if warns else detector.gravest)
    assert worst.state in ("raised", "confirmed")
    assert worst.judgement.outside or detector.code == "CP205"


@pytest.mark.parametrize("code", FALLS)
def test_the_kind_leads_and_its_onset_is_where_it_was_planted(code, tmp_path):
    found = diagnose(PLANTED[code](tmp_path / "run"))
    assert (found.status, found.kinds[0].code) == (Status.CRITICAL, code)
    onset = found.kinds[0].judgement.onset
    assert onset.low <= onset.step <= onset.high
    assert 60 <= onset.step <= 120, "planted from step 80 on"


def test_two_sides_of_one_vector_each_are_no_collapse_of_one_side(tmp_path):
    # What the rank of one vector's rounding is says nothing of either side.
    one_vector = both("common_share", ramp(0.2, 1.0))
    found = diagnose(
        made(tmp_path / "run", {**LOST_RANK, **one_vector, "query/participation_ratio_corrected": ramp(60.0, 8.0)})
    )
    assert (found.kinds[0].kind, found.kinds[0].status) == ("complete_collapse", Status.CRITICAL)
    assert "one_sided_collapse" not in {one.kind for one in found.kinds}


@pytest.mark.parametrize("noise", [0.01, 0.05])
@pytest.mark.parametrize("every", [5, 50])
def test_noise_alone_raises_no_alarm(noise, every, tmp_path):
    for seed in range(6):
        run = made(tmp_path / str(seed), noise=noise, every=every, seed=seed, n=16 if seed % 2 else 256)
        found = diagnose(run)
        assert found.status is Status.HEALTHY, found.summary


@pytest.mark.parametrize("reference", [True, False])
def test_what_comes_back_is_history(reference, tmp_path):
    planted = {
        "pairs/mrr": transient(0.84, 0.4),
        "pairs/d_prime": transient(3.4, 1.2),
        "query/common_share": transient(0.2, 0.995),
        "query/norm_median": transient(1.0, 0.01),
    }
    run = made(tmp_path / "run", planted, reference=reference, fields={"reference": None})
    found = diagnose(run)
    assert found.status is Status.HEALTHY
    cone = next(one for one in found.findings if (one.code, one.subject) == ("CP421", "query"))
    assert cone.state == "cleared"


@pytest.mark.parametrize("code", FALLS)
def test_geometry_is_no_alarm_while_retrieval_rises(code, tmp_path):
    planted = {
        "query/common_share": ramp(0.2, 0.995),
        "query/norm_median": ramp(1.0, 50.0 if code == "CP412" else 0.1),
        "query/participation_ratio_corrected": ramp(60.0, 3.0),
        "query/dead_dimensions": ramp(0.01, 0.6),
        "pairs/mrr": ramp(0.84, 0.95),
        "pairs/d_prime": ramp(3.4, 4.5),
    }
    assert diagnose(made(tmp_path / "run", planted)).status is Status.HEALTHY


def test_batches_alone_show_a_fall_and_its_onset(tmp_path):
    planted = {**LOST_RANK, **both("common_share", ramp(0.2, 0.995))}
    found = diagnose(made(tmp_path / "run", planted, reference=False, fields={"reference": None}))
    assert (found.status, found.kinds[0].kind) == (Status.CRITICAL, "complete_collapse")
    assert 60 <= found.kinds[0].judgement.onset.step <= 120


@pytest.mark.parametrize(("auc", "elsewhere", "said"), [(0.5, 0.5, True), (0.5, 0.01, False), (0.9, 0.5, False)])
def test_pairs_at_chance_are_mismatched_where_the_same_weights_search_a_collection(auc, elsewhere, said, tmp_path):
    """An encoder that finds nothing anywhere is untrained, and its pairs may be right."""
    found = diagnose(at_chance(tmp_path / "run", auc, elsewhere))
    assert any(one.kind == "mismatched_pairs" for one in found.kinds) is said


def test_pairs_of_which_some_are_not_solved_are_not_too_good(tmp_path):
    assert not any(one.kind == "too_good" for one in diagnose(solved(tmp_path / "run", 0.9)).kinds)


def test_geometry_alone_warns_where_nothing_says_whether_it_harms(tmp_path):
    run = made(tmp_path / "run", {"query/common_share": ramp(0.2, 0.99)}, silent=("document",), reference=False)
    cone = next(one for one in diagnose(run).findings if (one.code, one.subject) == ("CP421", "query"))
    assert cone.status is Status.WARNING


@pytest.mark.parametrize(("similarity", "status"), [("cosine", Status.HEALTHY), ("dot", Status.CRITICAL)])
def test_scale_alone_is_a_note_under_a_cosine(similarity, status, tmp_path):
    planted = {**FALL, "query/norm_median": ramp(1.0, 0.1)}
    found = diagnose(made(tmp_path / "run", planted, fields={"similarity": similarity}))
    (scale,) = [one for one in found.findings if (one.code, one.subject) == ("CP411", "query")]
    assert scale.status is status
    assert scale.judgement.value == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean", None])
def test_norms_that_fall_nineteen_decades_are_critical(similarity, tmp_path):
    planted = {"query/norm_median": lambda t: 10 ** (-19 * t)}
    found = diagnose(made(tmp_path / "run", planted, fields={"similarity": similarity}))
    assert (found.status, found.kinds[0].kind) == (Status.CRITICAL, "scale_collapse")


def test_a_fall_from_the_best_stretch_is_seen_where_the_start_was_low(tmp_path):
    def late(t: float) -> float:
        return 0.6 + 0.7 * t if t < 0.5 else 0.95 - 0.4 * (t - 0.5)

    planted = {"pairs/d_prime": lambda t: 4 * late(t), "pairs/mrr": late}
    found = diagnose(made(tmp_path / "run", planted, reference=False, noise=0.01, fields={"reference": None}))
    assert found.status is Status.CRITICAL
    assert 80 <= found.kinds[0].judgement.onset.step <= 150


def test_nan_from_a_step_on_is_a_divergence_with_that_step(tmp_path):
    found = diagnose(made(tmp_path / "run", {"loss/total": step(1.0, math.nan, at=0.3)}))
    assert (found.status, found.kinds[0].kind) == (Status.CRITICAL, "divergence")
    assert found.kinds[0].judgement.onset.step == 60
    assert "since step 60" in found.summary


def test_a_loss_of_zero_beside_a_gradient_that_is_no_number_is_a_divergence(tmp_path):
    planted = {"loss/total": step(1.0, 0.0), "gradient/norm": step(0.5, math.nan)}
    assert diagnose(made(tmp_path / "run", planted)).kinds[0].kind == "divergence"


def test_what_nobody_heard_is_not_measured(tmp_path):
    found = diagnose(made(tmp_path / "run", silent=("query", "document"), reference=False))
    assert (found.status, found.exit_code) == (Status.NOT_MEASURED, 1)
    assert found.summary.startswith("NOT MEASURED")
    assert {one.what for one in found.not_measured if one.essential} >= {"retrieval or separation", "stream query"}


def test_a_declared_collection_that_was_never_scored_is_not_measured(tmp_path):
    fields = {"collections": (CollectionInfo(name="scifact"),)}
    found = diagnose(made(tmp_path / "run", fields=fields))
    assert found.status is Status.NOT_MEASURED
    assert "scifact" in found.summary


def test_a_converged_start_is_no_alarm_and_a_dead_rate_is(tmp_path):
    small = {"update/head": lambda t: 1e-7, "drift/head": lambda t: 2e-5 * t}
    found = diagnose(made(tmp_path / "run", small, noise=1e-5))
    (learning,) = [one for one in found.findings if one.code == "CP501"]
    assert learning.status is Status.WARNING, "without the raw encoder, small updates only warn"
    dead = diagnose(made(tmp_path / "dead", {"update/head": lambda t: 0.0}))
    assert (dead.status, dead.kinds[0].kind) == (Status.CRITICAL, "no_learning")


@pytest.mark.parametrize(("rows", "first"), [(1, "data: put more than one pair"), (8, "optimizer: give the optimiser")])
def test_a_batch_of_one_candidate_is_said_where_no_gradient_came(tmp_path, rows, first):
    found = diagnose(made(tmp_path / "run", {"gradient/norm": lambda t: 0.0}, n=rows))
    assert found.kinds[0].kind == "no_learning"
    (seen,) = [line for line in found.summary.splitlines() if "CP501" in line]
    assert ("number of candidates in a batch is 1" in seen) == (rows == 1)
    (do,) = [line for line in found.summary.splitlines() if line.startswith("Do")]
    assert do.split(maxsplit=1)[1].startswith(first)


def test_evaluations_of_one_epoch_do_not_replace_each_other(tmp_path):
    """Bug: they were keyed by epoch, and the fall in between disappeared."""
    values = {("model", at): QUERIES - fall for at, fall in ((0, 0.0), (50, 0.3), (99, 0.01))}
    run = scored(tmp_path / "run", values)
    assert [one.step for one in Evaluations(run).of("toy", "model")] == [0, 50, 99]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.code)
def test_every_detector_is_documented(detector):
    assert detector.why.endswith(".") and detector.remedies and detector.formula
    for one in detector.thresholds.values():
        assert one.source and ".md" not in one.source, "a source is said in words: users have no design documents"
    text = explained(detector.code)
    assert detector.why.split()[0] in text and f"{detector.code} {detector.kind}" in text
    assert "--" not in text, "the library's words have no flags"
    if detector.gravest is Status.CRITICAL and detector.code != "CP101":
        assert detector.kind in ORDER


def test_codes_and_kinds_are_unique():
    assert len({one.code for one in DETECTORS}) == len({one.kind for one in DETECTORS}) == len(DETECTORS)
    assert PLANTED.keys() == {one.code for one in DETECTORS}
    assert BY_CODE.keys() == {one.code for one in (*DETECTORS, *AUDITS)}
    assert all(BY_CODE[one.code].kind == one.kind for one in AUDITS)


def test_a_probe_moves_a_cut_and_ignores_a_code(tmp_path):
    planted = {**FALL, "query/norm_median": ramp(1.0, 0.5)}
    moved = {"own": {"detectors": {"CP411": {"critical": 0.6}, "CP201": {"ignore": "known"}}}}
    found = diagnose(made(tmp_path / "run", planted, fields={"probes": moved}))
    assert [one.code for one in found.kinds] == ["CP411"]
    ignored = [one for one in found.findings if one.code == "CP201"]
    assert ignored[0].ignored == "known" and ignored[0].status is Status.CRITICAL
    assert "Ignored: CP201 (known)." in " ".join(found.summary.split()), "with the reason that the probe gives"


def test_what_is_ignored_does_not_count(tmp_path):
    run = made(tmp_path / "run", FALL)
    found = diagnose(run, ignore=["CP201"])
    assert (found.status, found.kinds) == (Status.HEALTHY, ())


def test_a_live_run_is_judged_as_the_one_on_disk(tmp_path):
    for planted in ({}, {**LOST_RANK, "query/common_share": ramp(0.2, 0.995)}):
        on_disk = diagnose(made(tmp_path / str(len(planted)), planted, reference=False, fields={"reference": None}))
        in_memory = diagnose(live(planted, reference=False, fields={"reference": None}))
        assert (in_memory.status, [one.code for one in in_memory.kinds]) == (
            on_disk.status,
            [one.code for one in on_disk.kinds],
        )


def test_streams_of_any_name_are_judged(tmp_path):
    fields = {"streams": (StreamInfo(name="tower a", role="left"),), "reference": None}
    extra = {f"tower a/{name}": value for name, value in STREAM.items()}
    planted = {**FALL, "tower a/norm_median": ramp(1.0, 0.01)}
    found = diagnose(made(tmp_path / "run", planted, fields=fields, extra=extra))
    assert ("CP411", "tower a") in [(one.code, one.subject) for one in found.kinds]


def test_towers_that_begin_at_chance_and_solve_their_loss_have_collapsed(tmp_path):
    """Two random towers under a squared error alone gain a little separation, from none, while they collapse."""
    planted = {
        "loss/total": ramp(1.0, 0.005, since=0.1),
        **both("common_share", ramp(0.44, 0.95)),
        "pairs/d_prime": ramp(0.02, 0.9, since=0.0),
        "pairs/mrr": ramp(0.02, 0.08, since=0.0),
        "pairs/mrr_centred": ramp(0.02, 0.13, since=0.0),
    }
    found = diagnose(made(tmp_path / "run", planted))
    assert (found.status, found.kinds[0].kind) == (Status.CRITICAL, "cone")
    learns = {**planted, "pairs/d_prime": ramp(0.02, 4.0, since=0.0), "pairs/mrr": ramp(0.02, 0.9, since=0.0)}
    assert diagnose(made(tmp_path / "learns", learns)).status is Status.HEALTHY


def test_ranks_among_fewer_pairs_are_not_compared(tmp_path):
    """Between evaluations a part of the reference pairs is read, and among fewer documents every rank is better."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, config("run"))
    with JournalWriter(folder) as writer:
        for at in range(0, 101, 10):
            n, rank = (400, 0.8 if at == 0 else 0.6) if at in (0, 100) else (128, 0.9)
            writer.write(Readings(step=at, on="reference", values={"pairs/mrr": rank}, n=n))
        writer.write(Readings(step=110, on="reference", values={"pairs/mrr": 0.9}, n=128))
    (row,) = diagnose(folder).retrieval
    assert (row["start"], row["end"], row["n"]) == (0.8, 0.6, 400)


def test_what_depends_on_the_number_of_pairs_is_of_one_number_of_pairs(tmp_path):
    """Also for a declared range and a figure, which name no sample."""
    write_config(tmp_path, config("run"))
    with JournalWriter(tmp_path) as writer:
        for at in (0, 50, 100):
            for n, rank in ((128, 0.9), (512, 0.6)) if at != 50 else ((128, 0.9),):
                sample = {"n": n, "dimension": 8, "dtype": "float32"}
                values = {"pairs/mrr": rank, "pairs/d_prime": rank}
                writer.write(Readings(step=at, on="reference", values=values, **sample))
    evidence = Evidence(Run.load(tmp_path))
    mrr, d_prime = evidence.series("pairs/mrr"), evidence.series("pairs/d_prime")
    assert (mrr.steps.tolist(), mrr.values.tolist()) == ([0, 100], [0.6, 0.6])
    assert (d_prime.steps.tolist(), d_prime.values.tolist()) == ([0, 50, 100], [0.9] * 3)


@pytest.mark.parametrize(("ratio", "named"), [(0.8, ["random_head"]), (0.05, [])])
def test_a_correction_that_is_as_long_as_its_query_before_any_step(ratio, named, tmp_path):
    streams = (*made(tmp_path / "sides").config.streams, StreamInfo(name="delta", role="correction"))
    variants = {("raw", 0): QUERIES, ("predictor", 0): QUERIES - 0.2, ("predictor", 200): QUERIES - 0.19}
    variants |= {("no_predictor", at): QUERIES for at in (0, 200)}
    run = scored(tmp_path / "run", variants, fields={"judged": "predictor", "streams": streams})
    rows = {"kind": "readings", "on": "batch", "n": 64, "values": {"delta/correction_over_query": ratio}}
    found = diagnose(append(run, [{**rows, "step": at} for at in range(1, 9)]))
    assert [one.kind for one in found.kinds] == ["harmful_correction"] and [one.cause for one in found.causes] == named


def test_a_side_is_not_trained_where_weights_that_should_move_do_not(tmp_path):
    found = diagnose(one_side(tmp_path / "idle", idle=0.0))
    assert [one.kind for one in found.kinds] == ["side_not_trained"] and found.status is Status.WARNING
    assert [one.cause for one in found.causes] == ["not_trained"]
    assert not diagnose(one_side(tmp_path / "frozen", idle=0.1)).kinds
    given = diagnose(one_side(tmp_path / "given", idle=0.0, where="observe('document')"))
    assert not given.kinds  # what never moved is a pooler that nobody uses


@pytest.mark.parametrize(("until", "said"), [(12, ["rate_at_zero"]), (200, [])])
def test_a_schedule_that_ends_before_its_run(until, said, tmp_path):
    found = diagnose(scheduled(tmp_path / "run", until=until))
    assert [one.kind for one in found.kinds if one.kind != "no_learning"] == said
