"""Whole programs by ``collapse-probe run``: the examples, several processes, workers, and runs that are cut short."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from processes_support import start
from running.running_support import PROBE, QUIET, ran, session
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from watching.trainers_support import encoder, save_bert, st_trainer

from collapse_probe import diagnose
from collapse_probe.journal import JOURNAL, Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("example", "status", "kinds"),
    [
        ("healthy_softmax", "healthy", []),
        ("adapter_gate", "critical", ["gate_never_opened"]),
        ("pooling_mask", "critical", ["no_learning", "padding_pooled"]),
    ],
)
def test_an_example_is_judged_as_it_says(tmp_path, trains, example, status, kinds):
    (folder := tmp_path / "w").mkdir()
    code, out, err = trains(folder, (str(EXAMPLES / f"{example}.py"), "--save", "watched.pt"))
    assert code == 0, err
    assert out.startswith("step 0: loss ") and "collapse-probe" not in out
    found = diagnose(folder / "runs" / example)
    assert (found.status.value, [one.kind for one in found.kinds]) == (status, kinds)
    assert err.splitlines()[0].strip() == found.summary.splitlines()[0].strip()
    assert {one["role"] for one in found.to_dict()["heard"]} >= {"query", "document"}


def test_an_example_has_the_same_weights_without_us(tmp_path, trains, monkeypatch, capsys):
    script = str(EXAMPLES / "pooling_mask.py")
    (folder := tmp_path / "w").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [script, "--cured", "--save", "plain.pt"])
    with torch.random.fork_rng():
        runpy.run_path(script, run_name="__main__")
    code, out, err = trains(folder, (script, "--cured", "--save", "watched.pt"))
    assert (code, out) == (0, capsys.readouterr().out), err
    before, after = (torch.load(folder / f"{name}.pt") for name in ("plain", "watched"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert diagnose(folder / "runs" / "pooling_mask").status.value == "healthy"


class Mine(SentenceTransformerTrainer):
    """A class of somebody's own."""


def test_a_trainer_of_sentence_transformers_is_watched_by_itself(tmp_path, monkeypatch, bert_folder):
    monkeypatch.chdir(tmp_path)
    model = encoder(bert_folder)
    with session(tmp_path / "mine") as (_, said):
        st_trainer(model, MultipleNegativesRankingLoss(model), tmp_path / "out", trainer=Mine).train()
    run = Run.load(tmp_path / "mine")
    assert run.status == "completed" and run.config.session["trainer"] == "Mine"
    assert run.coverage["query"].rule == "argument of the loss"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]
    assert said.lines[-2].endswith("mine")


RANKS = """
import os, sys, torch
from torch import distributed, nn
from torch.nn.functional import cross_entropy, normalize
from torch.nn.parallel import DistributedDataParallel
if not distributed.is_initialized():
    distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 8)))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
generator = torch.Generator().manual_seed(rank)
for step in range(25):
    x = torch.randn(10, 12, generator=generator)
    both = model(torch.cat([x, x + 0.3 * torch.randn(10, 12, generator=generator)]))
    loss = cross_entropy(10 * normalize(both[:10], dim=1) @ normalize(both[10:], dim=1).T, torch.arange(10))
    optimizer.zero_grad(); loss.backward(); optimizer.step()
if rank == 0:
    torch.save(model.state_dict(), sys.argv[1])
distributed.barrier()
"""


def as_written(rank: int, world: int, folder: Path) -> None:
    """Train as the program does, with nobody watching."""
    sys.argv = ["train.py", "plain.pt"]
    runpy.run_path("train.py")


def test_several_processes_train_as_they_would_and_the_first_one_writes(tmp_path):
    (tmp_path / "train.py").write_text(RANKS)
    assert start(as_written, 2, tmp_path) == [0, 0]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    watched = ran([*launcher, "-m", "collapse_probe", "run", "train.py", "watched.pt"], tmp_path)
    assert watched.returncode == 0, watched.stderr
    before, after = (torch.load(tmp_path / f"{name}.pt") for name in ("plain", "watched"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["train"]
    run = Run.load(tmp_path / "runs" / "train")
    assert (run.status, run.steps) == ("completed", 25)
    assert watched.stderr.count("run     runs/train") == 1


LONG = """
import os, sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
model = nn.Linear(12, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(40, 12)
for epoch in range(100_000):
    for (a,) in DataLoader(TensorDataset(x), 10, num_workers=1 if epoch == 1 else 0):
        loss = (model(a) - model(a + 0.1)).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    if epoch == 2 and not os.fork():
        sys.exit(0)
    if epoch == 12:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_cut_short_can_be_read(tmp_path, number):
    (tmp_path / "train.py").write_text(LONG)
    with subprocess.Popen(
        [*PROBE, "train.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=QUIET
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        journal = tmp_path / "runs" / "train" / JOURNAL
        deadline = time.monotonic() + 60
        while journal.read_text().count("\n") < 30 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == -number
    run = Run.load(tmp_path / "runs" / "train")
    ended = number is signal.SIGTERM
    assert run.status == ("interrupted" if ended else "unfinished") and run.steps >= 40 and not run.damaged
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["train"]
    ours: list[Any] = [line for line in said.splitlines() if line.startswith("collapse-probe: heard ")]
    assert len(ours) == ended, said


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))
