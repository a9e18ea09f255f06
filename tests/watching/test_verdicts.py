"""What is said while a run goes on, and what a run says that lost its numbers."""

from __future__ import annotations

import logging

import pytest
import torch
from plain_loops import OneTower, infonce, pairs
from torch import nn

from collapse_probe.diagnosis import diagnose
from collapse_probe.watching import watch


def _diverging(tmp_path, **options):
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, query="tower", document="tower", run=tmp_path / "run", **options) as w:
        for step, (a, b) in enumerate(pairs(160, rows=32), start=1):
            loss = infonce(model(a), model(b)) * (float("nan") if step >= 60 else 1.0)
            w.terms(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
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


@pytest.mark.parametrize("stop", ["stop", "function"])
def test_a_loop_is_told_to_stop(tmp_path, stop):
    heard = []
    w = _diverging(tmp_path, on_collapse="stop" if stop == "stop" else heard.append)
    assert w.stop if stop == "stop" else {one.kind for one in heard} >= {"divergence"}


def test_geometry_alone_warns_where_retrieval_has_been_learnt(tmp_path):
    """Both sides pulled to one far point: a cone in which nearly every own document has become the first."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"query": nn.Linear(16, 32), "document": nn.Linear(16, 32)})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with watch(model, optimizer=optimizer, query="query", document="document", run=tmp_path / "run"):
        for a, b in pairs(200, rows=32, columns=16):
            q, d = model["query"](a), model["document"](b)
            loss = (q - d).square().sum(1).mean() + 0.1 * ((q - 3).square().mean() + (d - 3).square().mean())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    found = diagnose(tmp_path / "run")
    assert {one.kind for one in found.kinds} >= {"complete_collapse"}
    assert (found.status, found.exit_code) == ("warning", 0)
