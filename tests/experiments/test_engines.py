"""Where cells run: processes and Ray give the same, and what goes wrong there is one line."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

import pytest
from ablation_support import RECIPE, material

from collapse_probe.errors import InputError
from collapse_probe.experiments import CONTROL, Ablation, Intervention, keep, make_cells, run_in_processes, run_in_ray
from collapse_probe.journal import Run
from collapse_probe.respred._ablation import train_cell


def test_ray_gives_what_processes_give(base, ablation, tmp_path):
    pytest.importorskip("ray")
    cells = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[1])
    ((cell, files),) = run_in_ray(train_cell, cells, material(base.config), workers=1, address=None)
    mine = Run.load(keep(tmp_path, cell, files, {})).readings("loss/total")["value"].tolist()
    other = Ablation.load(ablation).runs(CONTROL)[1].readings("loss/total")["value"].tolist()
    assert mine and mine == other and cell == cells[0]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "ray_address=127.0.0.1:1: nothing answers"),
        ("nowhere", "ray_address=nowhere: host:port, ray://host:port or auto is needed"),
    ],
)
def test_an_unreachable_ray_is_one_line(base, address, message):
    pytest.importorskip("ray")
    with pytest.raises(InputError) as error:
        run_in_ray(train_cell, [], material(base.config), workers=1, address=address)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_workers_are_started_with_threads_that_wait(base, monkeypatch):
    for own, left in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if own is not None:
            monkeypatch.setenv("OMP_WAIT_POLICY", own)
        list(run_in_processes(train_cell, [], material(base.config), workers=1))
        assert os.environ["OMP_WAIT_POLICY"] == left


def test_a_worker_that_dies_is_one_line(base):
    """A worker killed in its first cell: no hang, no traceback, and what to do."""

    def kill() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for process in multiprocessing.active_children():
                process.kill()
                return
            time.sleep(0.05)

    threading.Thread(target=kill, daemon=True).start()
    cells = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[0, 1])
    with pytest.raises(InputError, match="a worker process died; the cells that were done are kept"):
        list(run_in_processes(train_cell, cells, material(base.config), workers=1))
