"""A plain loop that goes on with the run of an earlier one."""

from __future__ import annotations

import pytest
import torch
from plain_loops import OneTower, infonce, pairs

from collapse_probe.journal import Event, JournalError, Run
from collapse_probe.watching import watch


def _train(steps, seed, **options):
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, query="tower", document="tower", **options) as w:
        for a, b in pairs(steps, seed=seed):
            loss = infonce(model(a), model(b))
            w.terms(infonce=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return w


def test_a_run_goes_on_after_its_last_step(tmp_path):
    _train(30, 0, run=tmp_path / "run")
    before = Run.load(tmp_path / "run").series("loss/infonce")
    w = _train(25, 1, run=Run.load(tmp_path / "run"))
    assert w.run == tmp_path / "run"
    run = Run.load(tmp_path / "run")
    after = run.series("loss/infonce")
    assert after.steps.tolist() == list(range(1, 56)) and not run.damage
    assert after.values[:30].tolist() == before.values.tolist()
    assert [one.step for one in run.of(Event) if one.name == "resumed"] == [30]
    assert run.status == "completed" and run.steps == 55
    assert w.live.series("loss/infonce").steps.tolist() == after.steps.tolist()
    # The pairs of the first steps are not mixed with others.
    assert set(run.series("pairs/mrr", on="reference").steps.tolist()) <= set(range(31))


def test_a_run_that_is_being_written_or_is_nowhere_is_refused(tmp_path):
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, run=tmp_path / "run"):
        other = OneTower()
        steps = torch.optim.SGD(other.parameters(), lr=0.1)
        with pytest.raises(JournalError, match="is writing this run"):
            watch(other, optimizer=steps, run=Run.load(tmp_path / "run"))
