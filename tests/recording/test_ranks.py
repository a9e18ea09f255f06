"""Several processes' readings, merged by the first: here each is a recorder, and they share a store in memory."""

from __future__ import annotations

import pytest
import torch
from processes_support import Team
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from collapse_probe.errors import InputError
from collapse_probe.journal import Histogram
from collapse_probe.journal.vocabulary import Role
from collapse_probe.measures import FUNCTIONS
from collapse_probe.recording import Wishes, _exchange, _ranks, alone
from collapse_probe.recording._exchange import KEPT


@pytest.fixture
def team(monkeypatch):
    return lambda world, **options: Team(monkeypatch, world, **options)


def batch(n: int, seed: int) -> Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed)) + 1


def test_readings_are_those_of_all_rows_and_terms_the_mean_of_the_processes(team):
    three, sizes = team(3), (4, 7, 2)
    for step in range(1, 6):
        for rank, n in reversed(list(enumerate(sizes))):
            three.step(rank, batch(n, 10 * step + rank), loss=float(step * rank))
    for recorder in reversed(three.recorders):
        recorder.close()
    found = three.read("query/spread")
    assert list(found) == [1, 2, 4] and three.rows("query/spread") == [13, 13, 13]
    for step, value in found.items():
        whole = torch.cat([batch(n, 10 * step + rank) for rank, n in enumerate(sizes)])
        assert value == pytest.approx(FUNCTIONS["spread"](whole).item(), rel=1e-6)
        assert three.read("query/norm_median")[step] == pytest.approx(FUNCTIONS["norm_median"](whole).item(), rel=1e-6)
    assert three.read("loss/pull") == {step: float(step) for step in range(1, 6)}
    assert three.notes()[0].startswith("3 processes: ") and len(three.notes()) == 1
    left = [key for key in three.store.list_keys() if "/step/" in key or "/rest/" in key]
    assert left == []


def test_a_process_without_a_batch_is_waited_for_by_nobody_and_left_out_of_the_rows(team):
    two = team(2)
    for step in range(1, 5):
        two.step(1, batch(3, step) if step != 2 else None)
        two.step(0, batch(4, step))
    assert dict(zip(two.read("query/spread"), two.rows("query/spread"), strict=True)) == {1: 7, 2: 4, 4: 7}


def test_a_process_that_falls_silent_is_given_up_and_the_rest_is_written(team):
    three = team(3)
    steps = 2 * (KEPT + 4)
    for step in range(1, steps + 1):
        if step <= 2:
            three.step(2, batch(2, step))
        three.step(1, batch(3, step))
        three.step(0, batch(4, step))
    assert min(three.rows("query/spread")[2:]) == 7
    for recorder in three.recorders[1::-1]:
        recorder.close()
    assert three.rows("query/spread") == [9, 9] + [7] * (KEPT + 3)
    assert len(three.read("loss/pull")) == steps
    assert any("process 2 left nothing of step 4" in note for note in three.notes())
    assert any("process 2 left nothing of 3 due steps in a row" in note for note in three.notes())


def test_processes_in_which_nobody_watches_are_not_waited_for(team, monkeypatch):
    two = team(2)
    monkeypatch.setattr(_ranks, "PATIENCE", 3600.0)
    for step in range(1, 4):
        two.step(0, batch(4, step))
    two.recorders[0].close()
    assert two.rows("query/spread") == [4, 4] and len(two.read("loss/pull")) == 3
    assert "process 1 never left anything (is watch() called in it, too, or" in two.notes()[0]


def test_a_process_that_ends_early_says_so(team):
    two = team(2)
    for step in range(1, 7):
        two.step(1, batch(3, step)) if step <= 2 else None
        two.step(0, batch(4, step))
        if step == 2:
            two.recorders[1].close("failed", "it raised")
    two.recorders[0].close()
    assert two.rows("query/spread") == [7, 7, 4, 4]
    assert any("process 1 ended before step 4" in note for note in two.notes())


def test_a_store_that_fails_leaves_the_first_process_alone(team, monkeypatch):
    two = team(2)

    def gone(*args):
        raise distributed.DistNetworkError("connection reset")

    for step in range(1, 9):
        two.step(1, batch(3, step))
        two.step(0, batch(4, step))
        if step == 3:
            for recorder in two.recorders:
                store = type("S", (), dict.fromkeys(("check", "set", "delete_key"), gone))()
                monkeypatch.setattr(recorder.ranks._exchange, "_found", lambda store=store: store)
    assert two.rows("query/spread") == [7, 7, 4, 4, 4]
    assert len(two.read("loss/pull")) == 8
    assert two.notes()[-1].startswith("readings are of the first process's batch alone: DistNetworkError")


def test_a_group_that_is_gone_when_the_run_ends_is_said_of_what_it_lacks(team, monkeypatch):
    two = team(2)
    for step in range(1, 4):
        two.step(1, batch(3, step))
        two.step(0, batch(4, step))
    monkeypatch.setattr(_ranks, "reachable", lambda: False)
    two.recorders[0].close()
    assert two.rows("query/spread") == [7, 7] and len(two.read("loss/pull")) == 3
    assert two.notes()[1:] == [
        "loss terms from step 3 on are the first process's: the group of processes was destroyed before the watch was "
        "closed"
    ]


def test_processes_with_other_gradients_are_not_merged(team):
    two = team(2)
    for step in range(1, 5):
        two.step(1, batch(3, step), norm=2.0)
        two.step(0, batch(4, step), norm=1.0)
    assert two.rows("query/spread") == [4, 4, 4]
    assert "a model, or a part, of its own" in two.notes()[-1]


def test_terms_that_are_not_finite_and_a_step_after_the_last_due_one_are_averaged_too(team):
    two = team(2)
    for step, (mine, theirs) in enumerate([(1.0, 3.0), (float("inf"), float("-inf")), (2.0, 6.0)], 1):
        two.step(1, batch(3, step), loss=theirs)
        two.step(0, batch(4, step), loss=mine)
    for recorder in reversed(two.recorders):
        recorder.close()
    found = two.read("loss/pull")
    assert (found[1], found[3]) == (2.0, 4.0) and found[2] != found[2]


def test_micro_batches_are_merged_one_by_one_and_averaged(team):
    two = team(2)
    micros = [[batch(4, 1), batch(6, 2)], [batch(3, 3)]]
    for rank in (1, 0):
        for rows in micros[rank]:
            trained = rows.clone().requires_grad_()
            two.recorders[rank].observe("query", trained * 1, role=Role.query)
            two.recorders[rank].backward()
        two.step(rank, None)
    first = FUNCTIONS["spread"](torch.cat([micros[0][0], micros[1][0]])).item()
    second = FUNCTIONS["spread"](micros[0][1]).item()
    assert two.read("query/spread")[1] == pytest.approx((first + second) / 2, rel=1e-6)
    assert two.rows("query/spread") == [7]


def test_batches_of_other_data_sets_are_not_merged(team):
    two = team(2)
    for rank in (1, 0):
        two.recorders[rank].dataset(f"set {rank}")
        two.step(rank, batch(4 - rank, rank), loss=float(rank))
    assert two.stores[0].series("query/spread", on="batch", dataset="set 0").n.tolist() == [4]
    two.recorders[0].close()
    assert two.stores[0].series("loss/pull", dataset="set 0").values.tolist() == [0.0]


def test_gathered_rows_are_counted_once(team):
    two = team(2)
    for step in range(1, 3):
        for rank in (1, 0):
            two.step(rank, batch(6, step))
    assert two.rows("query/spread") == [6, 6]
    assert two.notes()[-1] == "query: every process has the same rows, which are counted once"


def test_histograms_of_a_window_are_added_up(team):
    two = team(2, wishes=Wishes(every_step=("query",), histograms=("query",)))
    for step in range(1, 5):
        two.step(1, batch(3, step))
        two.step(0, batch(4, step))
    for recorder in reversed(two.recorders):
        recorder.window()
    (found,) = two.stores[0].of(Histogram)
    assert found.n == 4 * 7 and sum(found.counts) + found.below + found.above == 4 * 7 * 5


def test_a_forward_of_ours_calls_no_other_process(monkeypatch):
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
        monkeypatch.setattr(_exchange, "processes", lambda: 2)
        with alone([wrapped]):
            wrapped.eval()(torch.ones(2, 3))
        assert wrapped.require_forward_param_sync
        with pytest.raises(InputError, match="calls the other processes"), alone([wrapped]):
            distributed.all_reduce(torch.ones(1))
        wrapped.module[0].weight.ds_id = 0
        with pytest.raises(InputError, match="in parts on several processes"), alone([wrapped]):
            pass
    finally:
        distributed.destroy_process_group()
