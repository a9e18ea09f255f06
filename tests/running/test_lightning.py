"""Lightning: each ``fit`` is watched, by itself or by its callback, and trains the same bits; without it one line says
what to install.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from running.running_support import PROBE, ran

import collapse_probe
from collapse_probe.errors import InputError
from collapse_probe.journal import Run

LIGHTNING = importlib.util.find_spec("lightning") is not None

TRAIN = """
import json, sys, torch
import lightning
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader, TensorDataset

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(12, 16), nn.Dropout(0.1), nn.Tanh(), nn.Linear(16, 8))
    def training_step(self, batch, index):
        q, d = self.tower(batch[0]), self.tower(batch[1])
        return cross_entropy(10 * normalize(q, dim=1) @ normalize(d, dim=1).T, torch.arange(len(q)))
    def validation_step(self, batch, index):
        self.log("val_distance", (self.tower(batch[0]) - self.tower(batch[1])).square().mean())
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)

lightning.seed_everything(0)
x = torch.randn(320, 12)
data = TensorDataset(x, x + 0.3 * torch.randn(320, 12))
model = Model()
quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
callbacks = []
if "callback" in sys.argv:
    from collapse_probe import LightningCallback
    callbacks = [LightningCallback(run="runs/called")]
several = {"devices": 2, "strategy": "ddp"} if "several" in sys.argv else {}
trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **several, **quiet)
trainer.fit(model, DataLoader(data, 16, shuffle=True), DataLoader(data, 64))
print(json.dumps([len(trainer.callbacks) - len(callbacks), torch.randn(1).item()]))
torch.save(model.state_dict(), sys.argv[1])
"""


@pytest.mark.skipif(not LIGHTNING, reason="lightning is not installed")
def test_a_fit_is_watched_and_keeps_its_bits(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    plain = ran([sys.executable, "train.py", "plain.pt"], tmp_path)
    watched = ran([*PROBE, "train.py", "watched.pt"], tmp_path)
    called = ran([sys.executable, "train.py", "called.pt", "callback"], tmp_path)
    assert watched.stdout == plain.stdout == called.stdout, watched.stderr + called.stderr
    assert json.loads(plain.stdout.splitlines()[-1])[0] == 0
    before, *after = (torch.load(tmp_path / f"{name}.pt") for name in ("plain", "watched", "called"))
    assert all(torch.equal(before[name], one[name]) for name in before for one in after)
    for name in ("train", "called"):
        run = Run.load(tmp_path / "runs" / name)
        assert (run.status, run.steps, run.config.session["trainer"]) == ("completed", 40, "Lightning")
        assert run.coverage["query"].where == "output of module tower"
        assert run.series("pairs/mrr", on="reference").steps.tolist()[0] == 0


@pytest.mark.skipif(not LIGHTNING, reason="lightning is not installed")
def test_processes_that_it_starts_itself_are_watched_too(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    done = ran([*PROBE, "train.py", "watched.pt", "several"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "on rows of 2 processes" in " ".join(done.stderr.split()) and done.stderr.count("run     runs/train") == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["train"]


@pytest.mark.skipif(LIGHTNING, reason="lightning is installed")
def test_without_it_one_line_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r'lightning is not installed: pip install "collapse-probe\[lightning\]"'):
        _ = collapse_probe.LightningCallback
