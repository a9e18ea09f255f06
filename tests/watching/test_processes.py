"""Trainings of several processes: one run, of the rows of all, and nobody waits for anybody."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from processes_support import KINDS, Team, in_parts, some_leave, start, with_and_without

from collapse_probe.diagnosis import diagnose
from collapse_probe.errors import InputError
from collapse_probe.journal import Event, JournalWriter, Run
from collapse_probe.measures import FUNCTIONS
from collapse_probe.recording import _exchange
from collapse_probe.watching import _agreed, watch
from collapse_probe.watching._agreed import Agreed


def test_two_processes_write_one_run_of_all_rows_and_keep_their_bits(tmp_path):
    assert start(with_and_without, 2, tmp_path) == [0, 0]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]
    run = Run.load(tmp_path / "runs" / "mine")
    rows = [np.fromfile(tmp_path / f"rows-{rank}", dtype=np.float32).reshape(22, -1, 6) for rank in range(2)]
    losses = np.stack([np.fromfile(tmp_path / f"losses-{rank}", dtype=np.float32) for rank in range(2)])
    found = run.series("query/spread", on="batch")
    assert found.steps.tolist() == list(range(1, 21)) and set(found.n.tolist()) == {16}
    for name in ("spread", "common_share", "norm_median", "mean_cosine", "dead_dimensions"):
        for step, value in zip(found.steps, run.series(f"query/{name}", on="batch").values, strict=True):
            whole = torch.cat([torch.from_numpy(one[step - 1]) for one in rows])
            assert value == pytest.approx(FUNCTIONS[name](whole).item(), rel=1e-5, abs=1e-7), (name, step)
    np.testing.assert_allclose(run.series("loss/pull").values, losses.mean(axis=0), rtol=1e-5)
    # What is not merged has the first process's rows beside it, and the pairs were replayed by it alone.
    assert set(run.series("pairs/d_prime", on="batch").n.tolist()) == {6}
    assert len(run.series("pairs/d_prime", on="reference")) > 1
    assert run.config.processes == 2
    assert "on rows of 2 processes (pairs: of the first)" in " ".join(diagnose(run).summary.split())
    assert not [one for one in run.of(Event) if one.name == "error"]


def test_what_lies_in_parts_is_never_read_and_keeps_its_bits(tmp_path):
    assert start(in_parts, 2, tmp_path) == [0, 0]
    for kind in KINDS:
        run = Run.load(tmp_path / "runs" / kind)
        rows = run.series("query/spread", on="batch")
        assert (run.steps, set(rows.n.tolist())) == (11, {16}), kind
        said = "\n".join(one.message for one in run.of(Event))
        assert "stream 'parts' is not read: it lies in parts on several processes" in said
        parted = kind.startswith("FSDP")
        assert len(run.series("gradient/norm")) == (0 if parted else 11)
        assert ("gradient/norm is not measured: the gradients lie in parts on several processes" in said) == parted
        gate = run.coverage.get("gate")
        assert (0 if gate is None else gate.steps) == (0 if parted else 11), kind
        assert "a model, or a part, of its own" not in said and not [e for e in run.of(Event) if e.name == "error"]


def test_four_processes_go_on_without_those_that_leave(tmp_path):
    codes = start(some_leave, 4, tmp_path)
    assert codes == [0, 0, 0, 1]
    run = Run.load(tmp_path / "runs" / "mine")
    found = run.series("query/spread", on="batch")
    rows = dict(zip(found.steps.tolist(), found.n.tolist(), strict=True))
    assert rows == {step: 5 + 4 * (step < 12) + 5 * (step < 9) - 3 * (step == 5) for step in range(1, 17)}
    said = [one.message for one in run.of(Event) if one.subject == "processes"]
    assert any("process 3 ended before step 9" in one for one in said)
    assert any("process 2 ended before step 12" in one for one in said)
    lines = (tmp_path / "runs" / "mine" / "journal.jsonl").read_text().splitlines()
    assert {json.loads(one).get("processes") for one in lines if '"readings"' in one} >= {2, 3, 4}


def test_all_processes_stop_after_the_same_step(monkeypatch):
    monkeypatch.setattr(_agreed, "processes", lambda: 2)
    team = Team(monkeypatch, 2)
    stops = [Agreed(recorder, asked=True, say=lambda key, message: None) for recorder in team.recorders]
    stopped: list[list[int]] = [[], []]
    for step in range(1, 9):
        for rank in (1, 0):
            due = team.recorders[rank].due
            team.step(rank, None)
            if stops[rank].after_step(due=due):
                stopped[rank].append(step)
        if step == 3:
            assert not stops[0].ask()
    assert stopped == [[4, 5, 6, 7, 8]] * 2


def test_a_process_without_a_variable_is_told_by_the_group(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(_exchange, "_has_group", lambda: True)
    monkeypatch.setattr(_exchange.distributed, "get_rank", lambda: 3)
    assert _exchange.process_rank() == 3


def test_a_process_that_is_not_the_first_writes_says_and_scores_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(steps, **given):
        with watch(model, optimizer=optimizer, **given) as w:
            for _ in range(steps):
                (model(torch.randn(5, 4)) - model(torch.randn(5, 4))).square().mean().backward()
                optimizer.step()
            w.evaluation("mine", {"mrr": 0.5})
        return w

    train(3, run="first", reference=False)
    before = (tmp_path / "first" / "journal.jsonl").read_bytes()
    caplog.clear()
    monkeypatch.setenv("RANK", "1")

    def never():
        raise AssertionError("the first process reads the pairs")

    with JournalWriter(tmp_path / "first"):  # as where the first process goes on with it
        w = train(4, run=Run.load(tmp_path / "first"), reference=never, raw=never)
    assert (w.run, w.recorder.done, len(w.live.keys), caplog.text) == (None, 7, 0, "")
    assert (tmp_path / "first" / "journal.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize(("rank", "why"), [(1, "each process writes"), (0, "met at a file")])
def test_what_cannot_be_merged_is_a_reason(tmp_path, monkeypatch, rank, why):
    store = _exchange.distributed.FileStore(str(tmp_path / "met"), 2)
    monkeypatch.setattr(_exchange, "_has_group", lambda: True)
    monkeypatch.setattr(_exchange.distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(_exchange.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(_exchange.distributed.distributed_c10d, "_get_default_store", lambda: store)
    with pytest.raises(InputError, match=why):
        _exchange.connect("x", first=True)
