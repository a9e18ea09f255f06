"""Journals of schemas 1 and 2 are read as what they would be today."""

from __future__ import annotations

import json
import math

import pytest

from collapse_probe.journal import Artifact, Counterfactual, Coverage, Evaluation, Event, FieldError, Run
from collapse_probe.journal._legacy import modern_line

LINES = [
    {"kind": "start", "recipe": "respred"},
    {"kind": "reading", "name": "delta/mean_abs", "step": 0, "epoch": 1, "value": 0.5, "n": 64, "dimension": 8},
    {"kind": "reading", "name": "delta_eval/norm", "step": 2, "epoch": 1, "value": 2.0, "n": 9, "dimension": 8},
    {"kind": "reading", "name": "raw_query/isoscore", "step": 0, "epoch": 0, "value": 0.25, "n": 9, "dimension": 8},
    {"kind": "reading", "name": "query/norm_mean", "step": 0, "epoch": 0, "value": 1.5, "n": 9, "dimension": 8},
    {"kind": "reading", "name": "delta/alpha.mean", "step": 2, "epoch": 1, "value": 0.1, "n": 128, "dimension": 8},
    {"kind": "reading", "name": "loss/total", "step": 1, "epoch": 1, "value": "NaN", "n": 64, "dimension": 1},
    {"kind": "evaluation", "collection": "toy", "split": "test", "step": 2, "epoch": 1, "path": "no_predictor"},
    {"kind": "counterfactual", "collection": "toy", "step": 2, "path": "predictor", "family": "delta", "name": "x"},
    {"kind": "coverage", "tap": "query", "step": 2, "epoch": 1, "calls": 2, "dtype": "float32", "finite_share": 1.0},
    {"kind": "event", "name": "checkpoint", "message": "checkpoints/checkpoint-2", "step": 2, "epoch": 1},
    {"kind": "event", "name": "nan_loss", "message": "m", "step": 1, "epoch": 1},
    {"kind": "end", "status": "failed", "step": 2, "epoch": 1, "message": ""},
]


@pytest.fixture
def run(tmp_path):
    recipe = {"predictor": "residual", "similarity": "euclidean", "scoring_path": "predictor"}
    pairs = {"train": 100}
    modules = {"projection": {"trained": True, "on_evaluated_path": False}}
    content = {"schema": 2, "name": "old", "recipe": recipe, "pairs": pairs, "modules": modules, "git": None}
    (tmp_path / "run.json").write_text(json.dumps(content))
    text = "".join(json.dumps({"schema": 2, "time": "t", "metrics": {"ndcg@10": 0.5}, **line}) + "\n" for line in LINES)
    (tmp_path / "journal.jsonl").write_text(text)
    return Run.load(tmp_path)


def test_its_configuration_has_todays_shape(run):
    assert (run.config.judged, run.config.similarity, run.config.trains) == ("predictor", "euclidean", True)
    assert {stream.name: stream.role for stream in run.config.streams} == {
        "query": "query",
        "document": "document",
        "delta": "correction",
        "alpha": "gate",
    }
    assert run.config.module("projection").trained and not run.config.module("projection").scored
    assert run.config.session["recipe"]["predictor"] == "residual"


def test_its_readings_have_todays_names(run):
    assert run.damage == [] and run.torn == 0
    batch = run.series("delta/mean_abs", on="batch")
    assert (batch.steps.tolist(), batch.values.tolist()) == ([1], [0.5])
    assert run.series("delta/norm_mean", on="reference").values.tolist() == [2.0]
    assert run.series("query/isoscore_corrected", on="raw").values.tolist() == [0.25]
    assert run.series("query/norm_mean", on="reference").values.tolist() == [1.5]
    assert run.series("alpha/value.mean", on="batch").values.tolist() == [0.1]
    assert math.isnan(run.series("loss/total").values[0])


def test_its_other_records_have_todays_fields(run):
    assert run.of(Evaluation)[0].variant == "no_predictor"
    assert run.of(Counterfactual)[0].variant == "predictor"
    assert run.of(Coverage)[0].stream == "query"
    assert run.of(Artifact)[0].path == "checkpoints/checkpoint-2"
    assert [(one.name, one.step) for one in run.of(Event)] == [("not_finite", 2)]
    assert run.status == "failed"


def test_the_step_after_a_checkpoint_is_superseded_though_it_has_its_number(run):
    """Steps were counted by those done before: the first of the next epoch had the checkpoint's number."""
    lines = [{**LINES[1], "step": 2, "epoch": 2}, {"kind": "event", "name": "resumed", "step": 2, "epoch": 1}]
    lines += [{**LINES[1], "step": 2, "epoch": 2, "value": 7.0}]
    with (run.folder / "journal.jsonl").open("a") as file:
        file.writelines(json.dumps({"schema": 2, **line}) + "\n" for line in lines)
    assert Run.load(run.folder).series("delta/mean_abs", on="batch").values.tolist() == [0.5, 7.0]


def test_a_torn_line_before_a_resumption_is_no_damage(run):
    path = run.folder / "journal.jsonl"
    path.write_text(
        path.read_text() + '{"schema": 2, "kind": "rea\n' + '{"schema": 2, "kind": "event", "name": "resumed"'
    )
    path.write_text(path.read_text() + ', "step": 1, "epoch": 1}\n')
    again = Run.load(run.folder)
    assert (again.torn, again.damage) == (1, [])


def test_a_name_that_is_no_reading_is_said_as_a_fault_of_its_line():
    with pytest.raises(FieldError, match="'alone' is no reading"):
        modern_line({"schema": 2, "kind": "reading", "name": "alone", "step": 1, "value": 1.0})
