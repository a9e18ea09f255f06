"""Detectors on journals that were written for them: power, false alarms, and silence that is not health."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests_support import FoundingWriter, founding_config

from collapse_probe.diagnosis import FindingRow, Status, agreement, diagnose, findings, selection
from collapse_probe.diagnosis._rows import NOT_FINITE
from collapse_probe.diagnosis._status import status_of
from collapse_probe.diagnosis.detectors._ranges import _sides, judged
from collapse_probe.journal import CollectionInfo, Run, Series, write_config
from collapse_probe.statistics import paired_difference


class Writer:
    """Writes a run folder record by record."""

    def __init__(self, folder: Path, **config: object) -> None:
        folder.mkdir(exist_ok=True)
        write_config(folder, founding_config("r", **config))
        self.folder = folder
        self.journal = FoundingWriter(folder / "journal.jsonl")

    def reading(self, name: str, value: float, step: int, epoch: int = 1) -> None:
        self.journal.readings({name: value}, step=step, epoch=epoch, n=64, dimension=8, dtype="float32")

    def evaluation(self, path: str, epoch: int, scores: np.ndarray, *, tied: float = 0.0) -> None:
        file = f"{path}-{epoch}.json"
        ids = [f"q{i}" for i in range(len(scores))]
        (self.folder / file).write_text(json.dumps({"query_ids": ids, "ndcg@10": list(scores)}))
        record = {"collection": "toy", "split": "test", "step": 10 * epoch, "epoch": epoch, "path": path}
        numbers = {"metrics": {"ndcg@10": float(np.mean(scores))}, "n_queries": len(scores), "n_documents": 9}
        rest = {"similarity": "cosine", "tied_share": tied, "per_query": file}
        self.journal.append("evaluation", {**record, **numbers, **rest})

    def found(self, code: str) -> list[FindingRow]:
        self.journal.close()
        return [finding for finding in findings(Run.load(self.folder)) if finding.code == code]


def declared(**entry: object) -> dict[str, object]:
    return {"p": {"expected": [{"reading": "delta/alpha", "source": "s", "why": "w", "remedy": "r", **entry}]}}


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (0.5, Status.HEALTHY),
        (0.3, Status.WARNING),
        (0.05, Status.CRITICAL),
        (2.0, Status.WARNING),
        (float("nan"), Status.CRITICAL),
    ],
)
def test_ranges_are_judged_by_the_last_reading(tmp_path, value, status):
    writer = Writer(tmp_path, probes=declared(min=0.4, max=1.0, critical_below=0.1))
    for step, reading in enumerate((0.5, value, value)):
        writer.reading("delta/alpha", reading, step)
    (finding,) = writer.found("CP101")
    assert finding.status is status
    assert finding.onset_step == (None if status is Status.HEALTHY else 2)
    assert finding.n == 64


def test_the_onset_is_the_step_from_which_it_stays_outside(tmp_path):
    writer = Writer(tmp_path, probes=declared(min=0.4))
    for step, value in enumerate((0.1, 0.5, 0.1, 0.1)):
        writer.reading("delta/alpha", value, step)
    assert writer.found("CP101")[0].onset_step == 3


def test_value_and_onset_come_from_one_series(tmp_path):
    """Bug: the value was an epoch's mean, the onset that of single readings, and they could disagree."""
    writer = Writer(tmp_path, probes=declared(min=0.4))
    writer.reading("delta/alpha", 0.1, 5)
    writer.reading("delta/alpha.mean", 0.5, 9)
    (finding,) = writer.found("CP101")
    assert (finding.status, finding.value, finding.onset_step) == (Status.WARNING, 0.1, 6)


@pytest.mark.parametrize("below", ["critical_below", "collapsed_below"])
def test_runs_that_said_collapsed_are_read(tmp_path, below):
    writer = Writer(tmp_path, probes=declared(**{"min": 0.4, below: 0.1}))
    writer.reading("delta/alpha", 0.05, 5)
    assert writer.found("CP101")[0].status is Status.CRITICAL


def test_a_reading_that_is_not_finite_is_not_explained_by_its_range(tmp_path):
    """Bug: not a number below a minimum was said to have shrunk towards zero."""
    writer = Writer(tmp_path, probes=declared(min=0.4))
    writer.reading("delta/alpha", float("nan"), 5)
    (finding,) = writer.found("CP101")
    assert (finding.status, finding.why) == (Status.CRITICAL, NOT_FINITE)


def test_a_range_relative_to_another_reading(tmp_path):
    writer = Writer(tmp_path, probes=declared(relative_to="raw_query/norm_mean", min=0.5))
    writer.reading("raw_query/norm_mean", 4.0, 0)
    writer.reading("delta/alpha", 1.0, 5)
    (finding,) = writer.found("CP101")
    assert (finding.value, finding.status) == (0.25, Status.WARNING)


@pytest.mark.parametrize("relative_to", [None, "raw_query/norm_mean"])
def test_what_was_not_read_is_not_measured(tmp_path, relative_to):
    entry = {"min": 0.5} if relative_to is None else {"min": 0.5, "relative_to": relative_to}
    writer = Writer(tmp_path, probes=declared(**entry))
    if relative_to is not None:
        writer.reading("delta/alpha", 1.0, 5)
    assert writer.found("CP101")[0].status is Status.NOT_MEASURED


def test_residual_ranges_do_not_apply_without_a_residual_predictor(tmp_path):
    writer = Writer(tmp_path, probes=declared(min=0.5), recipe={"predictor": "direct"})
    assert writer.found("CP101")[0].status is Status.NOT_APPLICABLE


def test_a_range_does_not_apply_where_nothing_was_trained(tmp_path):
    writer = Writer(tmp_path, probes={"p": {"expected": [{"reading": "query/norm_mean", "min": 0.5}]}}, trains=False)
    assert writer.found("CP101")[0].status is Status.NOT_APPLICABLE


@given(
    value=st.floats(-10, 10),
    cuts=st.lists(st.floats(-10, 10), min_size=4, max_size=4, unique=True).map(sorted),
)
@settings(deadline=None, max_examples=50)
def test_a_status_gets_graver_away_from_the_range(value, cuts):
    entry = dict(zip(("critical_below", "min", "max", "critical_above"), cuts, strict=True))
    inside = cuts[1] <= value <= cuts[2]
    near = cuts[0] <= value <= cuts[3]
    one = np.array([1])
    series = Series("x", "batch", None, one, np.array([value]), one, one, one)
    found = status_of(judged(series, series.values, _sides(entry), evidence=()))
    assert found is (Status.HEALTHY if inside else Status.WARNING if near else Status.CRITICAL)


def scores(mean: float, n: int = 300, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.3, size=n), 0, 1)


def test_a_planted_fall_is_found_with_its_onset(tmp_path):
    writer = Writer(tmp_path)
    start = scores(0.6)
    writer.evaluation("raw", 0, start)
    for epoch, fall in enumerate((0.0, 0.01, 0.1, 0.15)):
        noise = np.random.default_rng(epoch).normal(0, 0.2, size=300)
        noise -= noise.mean()
        writer.evaluation("no_predictor", epoch, start - fall + (noise if epoch else 0))
    against_step0, against_raw = writer.found("CP201")
    assert {against_step0.status, against_raw.status} == {Status.CRITICAL}
    assert against_step0.onset_step == 20 and "step 0" in against_step0.title
    assert against_step0.value == pytest.approx(-0.15, abs=0.04)


def test_noise_alone_rarely_raises_an_alarm(tmp_path):
    """At 95 % two-sided, a fall is called by chance in one run of forty."""
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        start = scores(0.6, seed=seed)
        alarms += paired_difference(start, start + rng.normal(0, 0.3, size=300)).high < 0
    assert alarms <= 12


def test_a_fall_that_scoring_with_the_predictor_did_not_make_is_said_to_be_so(tmp_path):
    writer = Writer(tmp_path)
    start = scores(0.6)
    writer.evaluation("no_predictor", 0, start)
    writer.evaluation("no_predictor", 1, start - 0.1)
    writer.evaluation("predictor", 1, start - 0.1 + np.random.default_rng(0).normal(0, 0.01, size=300))
    assert writer.found("CP202")[0].status is Status.HEALTHY
    assert agreement(Run.load(tmp_path), "toy", 1) is not None


@pytest.mark.parametrize(("judged", "status"), [("predictor", Status.CRITICAL), ("no_predictor", Status.WARNING)])
def test_a_harmful_predictor_is_not_healthy(tmp_path, judged, status):
    """Bug: a predictor that took nDCG from .67 to .33 was called healthy, since it differed from no predictor."""
    writer = Writer(tmp_path, recipe={"predictor": "residual", "scoring_path": judged})
    start = scores(0.67)
    for path, fall in (("no_predictor", 0.0), ("predictor", 0.34)):
        writer.evaluation(path, 0, start)
        writer.evaluation(path, 1, start - fall)
    assert writer.found("CP202")[0].status is status
    assert agreement(Run.load(tmp_path), "toy", 1) is None


@pytest.mark.parametrize(("losses", "status"), [((3, 2, 1), Status.WARNING), ((1, 2, 3), Status.HEALTHY)])
def test_selection_by_validation_loss_is_judged_by_what_it_loses(tmp_path, losses, status):
    writer = Writer(tmp_path)
    for epoch, loss in enumerate(losses):
        writer.reading("validation/total", loss, 10 * epoch, epoch)
        writer.evaluation("no_predictor", epoch, scores(0.6) - 0.1 * epoch)
    (finding,) = writer.found("CP203")
    assert (finding.status, finding.n) == (status, 3)
    assert finding.value == pytest.approx(0.2 if status is Status.WARNING else 0.0)


def test_a_chosen_checkpoint_needs_not_be_the_worst_one_to_mislead(tmp_path):
    """Bug: the smallest validation loss at the second-worst epoch was called healthy."""
    writer = Writer(tmp_path)
    for epoch, (loss, fall) in enumerate(((3, 0.0), (2, 0.2), (1, 0.19))):
        writer.reading("validation/total", loss, 10 * epoch, epoch)
        writer.evaluation("no_predictor", epoch, scores(0.6) - fall)
    (finding,) = writer.found("CP203")
    assert (finding.status, finding.value) == (Status.WARNING, pytest.approx(0.19))


def test_a_regret_within_noise_is_no_warning(tmp_path):
    writer = Writer(tmp_path)
    noise = np.random.default_rng(3).normal(0, 0.3, size=300)
    for epoch, change in enumerate((0.0, noise - noise.mean() - 0.001)):
        writer.reading("validation/total", -epoch, 10 * epoch, epoch)
        writer.evaluation("no_predictor", epoch, scores(0.6) + change)
    (finding,) = writer.found("CP203")
    assert (finding.status, finding.value) == (Status.HEALTHY, pytest.approx(0.001))


def test_a_validation_loss_that_is_not_finite_is_no_candidate(tmp_path):
    writer = Writer(tmp_path)
    for epoch, loss in enumerate((3.0, 2.0, float("nan"))):
        writer.reading("validation/total", loss, 10 * epoch, epoch)
        writer.evaluation("no_predictor", epoch, scores(0.6) - 0.1 * epoch)
    writer.journal.close()
    found = selection(Run.load(tmp_path), "toy")
    assert (found.chosen, found.best, found.n) == (1, 0, 2)


def test_one_query_or_one_path_is_not_measured_rather_than_healthy(tmp_path):
    """Bug: an interval of one query is not a number, and a fall on it was called healthy."""
    writer = Writer(tmp_path)
    for epoch, value in enumerate((0.9, 0.1)):
        writer.evaluation("no_predictor", epoch, np.array([value]))
    (change,) = writer.found("CP201")
    assert (change.status, change.value) == (Status.NOT_MEASURED, pytest.approx(-0.8))
    assert writer.found("CP202")[0].status is Status.NOT_APPLICABLE
    assert diagnose(Run.load(tmp_path)).status is Status.NOT_MEASURED


def damaged(folder: Path, how: str, **config: object) -> Run:
    """Return a run that fell and whose last per-query file is gone, torn, or without the metric."""
    writer = Writer(folder, **config)
    for epoch in range(3):
        writer.reading("validation/total", 3.0 - epoch, 10 * epoch, epoch)
        writer.evaluation("no_predictor", epoch, scores(0.6) - 0.1 * epoch)
    writer.evaluation("raw", 0, scores(0.6))
    writer.evaluation("predictor", 2, scores(0.4))
    writer.journal.close()
    file = folder / "no_predictor-2.json"
    file.unlink()
    if how != "missing":
        file.write_text("{" if how == "torn" else json.dumps({"query_ids": ["q0"], "mrr@10": [0.5]}))
    return Run.load(folder)


@pytest.mark.parametrize("how", ["missing", "torn", "without the metric"])
def test_a_damaged_per_query_file_is_not_measured_and_never_raises(tmp_path, how):
    """Bug: it raised out of the findings where a query's document had been trained on, or the metric was missing."""
    seen = [{"name": "toy", "split": "test", "seen_queries": ["q0", "q1"]}]
    found = findings(damaged(tmp_path, how, collections=seen))
    assert {f.status for f in found if f.code in ("CP201", "CP202", "CP203")} == {Status.NOT_MEASURED}
    assert {f.status for f in found if f.code == "CP206"} <= {Status.NOT_MEASURED, Status.NOT_APPLICABLE}


@pytest.mark.parametrize("others", [0.0, 0.15])
def test_a_gain_on_trained_documents_alone_is_found(tmp_path, others):
    seen = [f"q{i}" for i in range(100)]
    writer = Writer(tmp_path, collections=(CollectionInfo(name="toy", split="test", seen_queries=seen),))
    start = scores(0.4)
    noise = np.random.default_rng(0).normal(0, 0.1, size=300)
    writer.evaluation("raw", 0, start)
    writer.evaluation("no_predictor", 0, start)
    writer.evaluation("no_predictor", 1, start + noise + np.where(np.arange(300) < 100, 0.15, others))
    (finding,) = writer.found("CP206")
    assert finding.status is (Status.HEALTHY if others else Status.WARNING)
    assert finding.n == 200


def test_choosing_the_best_of_equal_checkpoints_is_no_alarm(tmp_path):
    """Bug: judged by the queries that chose it, the best of 21 equal checkpoints was a warning in a fifth of runs."""
    alarms = 0
    for seed in range(20):
        writer = Writer(tmp_path / str(seed))
        rng = np.random.default_rng(seed)
        for epoch in range(21):
            writer.reading("validation/total", float(-epoch), epoch, epoch)
            writer.evaluation("no_predictor", epoch, rng.normal(0.5, 0.2, size=60))
        writer.journal.close()
        found = selection(Run.load(writer.folder), "toy")
        assert found.regret == pytest.approx(-found.change.value) and found.n_queries == 60
        alarms += found.misleads
    assert alarms <= 2


def test_ties_are_reported(tmp_path):
    writer = Writer(tmp_path)
    writer.evaluation("raw", 0, scores(0.5), tied=0.4)
    (finding,) = writer.found("CP204")
    assert (finding.status, finding.value) == (Status.WARNING, 0.4)


def coverage(writer: Writer, tap: str, calls: int, share: float | None) -> None:
    record = {
        "tap": tap,
        "step": 1,
        "epoch": 1,
        "calls": calls,
        "dtype": "float32",
        "finite_share": share,
        "n": 4,
    }
    writer.journal.append("coverage", record)


def test_a_tap_that_heard_nothing_is_never_healthy(tmp_path):
    writer = Writer(tmp_path, session={"watch": ["coverage"]})
    coverage(writer, "delta", 0, None)
    coverage(writer, "query", 3, 1.0)
    coverage(writer, "document", 3, 0.5)
    statuses = {finding.subject: finding.status for finding in writer.found("CP002")}
    assert statuses == {"delta": Status.NOT_MEASURED, "query": Status.HEALTHY, "document": Status.WARNING}
    assert diagnose(Run.load(tmp_path)).status in (Status.CRITICAL, Status.NOT_MEASURED)


def test_a_loss_that_was_not_finite_is_a_collapse_with_its_step(tmp_path):
    writer = Writer(tmp_path)
    writer.journal.event("nan_loss", "x", step=17, epoch=1)
    (finding,) = writer.found("CP001")
    assert (finding.status, finding.onset_step) == (Status.CRITICAL, 18)


def test_a_loss_that_was_not_finite_needs_no_event(tmp_path):
    """Bug: only the founding system's event was looked for, so NaN in the journal was called healthy."""
    writer = Writer(tmp_path)
    for step in range(10):
        writer.reading("loss/total", 1.0 if step < 3 else float("nan"), step)
    (finding,) = writer.found("CP001")
    assert (finding.status, finding.onset_step) == (Status.CRITICAL, 4)


def test_a_run_without_anything_is_not_called_healthy(tmp_path):
    writer = Writer(tmp_path)
    writer.journal.close()
    found = diagnose(Run.load(tmp_path))
    assert (found.status, found.exit_code) == (Status.NOT_MEASURED, 1)


def test_paired_difference_is_scipys():
    a, b = scores(0.5, seed=1), scores(0.55, seed=2)
    found = paired_difference(a, b)
    test = stats.ttest_rel(b, a)
    interval = test.confidence_interval(0.95)
    assert (found.p_value, found.low, found.high) == pytest.approx((test.pvalue, interval.low, interval.high))
    assert found.n == 300


def test_degenerate_pairs():
    assert paired_difference([0.5, 0.5], [0.5, 0.5]).p_value == 1
    assert not paired_difference([0.5], [0.7]).resolved
    with pytest.raises(ValueError, match="the same queries twice, got 1 and 2"):
        paired_difference([0.5], [0.5, 0.6])


def test_a_missing_file_of_scores_is_said_and_ends_nothing(tmp_path):
    """Bug: the detector of trained documents raised on it."""
    collection = CollectionInfo(name="toy", split="test", seen_queries=["q1"])
    writer = Writer(tmp_path, collections=(collection,))
    for path, epoch in (("raw", 0), ("no_predictor", 0), ("no_predictor", 1)):
        writer.evaluation(path, epoch, scores(0.6))
    (tmp_path / "no_predictor-1.json").unlink()
    writer.journal.close()
    found = diagnose(Run.load(tmp_path))
    assert found.status is Status.NOT_MEASURED
    assert any("no_predictor-1.json" in one.why for one in found.not_measured)


def test_an_empty_and_a_full_run_are_diagnosed(tmp_path, respred_run):
    write_config(tmp_path, founding_config("empty", trains=False))
    (tmp_path / "journal.jsonl").touch()
    assert diagnose(tmp_path).findings and diagnose(respred_run).findings
