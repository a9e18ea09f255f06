"""What is said while a run goes on, and what a run says that lost its numbers."""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress

import pytest
import torch
from plain_loops import OneTower, descend, infonce, pairs
from torch import nn

from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Event, Raised, Run
from collapse_probe.watching import watch


def _diverging(tmp_path, **options):
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, query="tower", document="tower", run=tmp_path / "run", **options) as w:
        for step, (a, b) in enumerate(pairs(160, rows=32), start=1):
            loss = infonce(model(a), model(b)) * (float("nan") if step >= 60 else 1.0)
            w.terms(loss=loss)
            descend(optimizer, loss)
    return w


def test_a_warning_names_kind_and_step_and_the_run_needs_no_name(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="collapse_probe"):
        _diverging(tmp_path, on_collapse="warn")
    said = [record.getMessage() for record in caplog.records if "divergence" in record.getMessage()]
    assert len(said) == 1
    assert "critical at step 100: divergence, since step 60" in said[0]


def test_a_diverged_run_is_not_a_damaged_one(tmp_path):
    """No score of its last evaluation is a number, nor is their mean: the journal is sound."""
    _diverging(tmp_path)
    found = diagnose(tmp_path / "run")
    assert found.status == "critical"
    assert "Damaged" not in found.summary
    row = next(one for one in found.retrieval if one["collection"] == "reference pairs")
    assert row["start"] > 0.2
    assert found.to_dict()["retrieval"][found.retrieval.index(row)]["end"] is None
    assert "-> not a number" in found.summary


@pytest.mark.parametrize("ends", ["completed", "failed"])
def test_a_run_in_memory_is_judged_as_its_folder_is(tmp_path, ends):
    """Bug: the end of the run was judged on disk alone, so one of the two had measured one finding more."""
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        suppress(KeyError),
        watch(model, optimizer=optimizer, query="tower", document="tower", run=tmp_path / "run") as w,
    ):
        for a, b in pairs(30):
            descend(optimizer, infonce(model(a), model(b)))
        assert not [one for one in diagnose(w).findings if one.code == "CP003" and one.judgement]
        w.evaluation("dev", {"mrr": 0.5}, per_query={"mrr": {"a": 0.5, "b": 0.5}})
        if ends == "failed":
            raise KeyError("the user's")
    assert diagnose(w).to_dict() == diagnose(tmp_path / "run").to_dict()
    assert w.live.status == ends


@pytest.mark.parametrize("stop", ["stop", "function"])
def test_a_loop_is_told_to_stop(tmp_path, stop):
    heard = []
    w = _diverging(tmp_path, on_collapse="stop" if stop == "stop" else heard.append)
    assert w.stop if stop == "stop" else {one.kind for one in heard} >= {"divergence"}


def test_geometry_is_no_alarm_where_retrieval_has_been_learnt(tmp_path):
    """Both sides pulled to one far point: a cone in which nearly every own document has become the first."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"query": nn.Linear(16, 32), "document": nn.Linear(16, 32)})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with watch(model, optimizer=optimizer, query="query", document="document", run=tmp_path / "run"):
        for a, b in pairs(200, rows=32, columns=16):
            q, d = model["query"](a), model["document"](b)
            loss = (q - d).square().sum(1).mean() + 0.1 * ((q - 3).square().mean() + (d - 3).square().mean())
            descend(optimizer, loss)
    found = diagnose(tmp_path / "run")
    assert not found.kinds and (found.status, found.exit_code) == ("healthy", 0)
    collapse = [one for one in found.findings if one.kind == "complete_collapse"]
    assert all(one.judgement.value < 0.1 for one in collapse), "the number is there, and no alarm"


def _scored(tmp_path, scores, **options):
    """Watch steps with one evaluation of 60 queries before each fifty of them, and whether it says to stop."""
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    noise = torch.randn(len(scores), 60) * 0.01
    options = {"query": "tower", "document": "tower", "reference": False, "run": tmp_path / "run", **options}
    stops = []
    with watch(model, optimizer=optimizer, **options) as w:
        for mean, one in zip(scores, noise, strict=True):
            values = {str(index): float(mean + value) for index, value in enumerate(one - one.mean())}
            w.evaluation("dev", {"ndcg@10": mean}, per_query={"ndcg@10": values}, domain="in")
            for a, b in pairs(50):
                loss = infonce(model(a), model(b))
                w.terms(loss=loss)
                descend(optimizer, loss)
            stops.append(w.stop)
    return w, stops


def test_what_becomes_graver_is_acted_on_again_and_what_goes_is_journalled(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="collapse_probe"):
        w, stops = _scored(tmp_path, [0.6, 0.592, 0.3, 0.3, 0.6, 0.61], on_collapse="stop")
    said = [one for one in caplog.messages if " of dev" in one]
    assert [one.split()[1] for one in said] == ["warning", "critical"]
    assert stops[:2] == [False, False] and stops[2]
    found = [(one.state, one.status) for one in Run.load(w.run).of(Raised) if one.subject == "dev"]
    statuses = list(dict.fromkeys(status for _, status in found))
    assert statuses == ["warning", "critical"]
    assert found[-1] == ("cleared", "critical")


def test_what_the_users_function_raises_is_theirs_and_ends_nothing(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")
    heard = []

    def fail(finding):
        heard.append(str(finding.status))
        raise ValueError("mine")

    with caplog.at_level(logging.WARNING, logger="collapse_probe"), warnings.catch_warnings():
        warnings.simplefilter("error")
        w, _ = _scored(tmp_path, [0.6, 0.592, 0.3, 0.3], on_collapse=fail)
    assert heard == ["warning", "critical"]
    assert [one for one in caplog.messages if "your on_collapse function raised ValueError: mine" in one] == [
        caplog.messages[0]
    ]
    assert not [one for one in Run.load(w.run).of(Event) if one.name == "error"]
    assert [one.subject for one in Run.load(w.run).of(Event) if "ValueError: mine" in one.message] == 2 * [
        "on_collapse"
    ]


def test_a_last_batch_of_one_pair_is_no_fall():
    """It falls on every due step, where an epoch ends: one pair alone is told apart from none."""
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with watch(model, optimizer=optimizer, run=False, reference=False) as w:
        for step, (a, b) in enumerate(pairs(200, rows=16), start=1):
            rows = 1 if step % 10 == 0 else 16
            descend(optimizer, infonce(model(a[:rows]), model(b[:rows])))
    assert 1 in w.live.series("pairs/auc", on="batch").n
    assert diagnose(w).status.value == "healthy"
