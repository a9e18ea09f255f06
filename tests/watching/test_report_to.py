"""A trainer that reports somewhere reports what is read as well; its own log and bits stay as they are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from watching.trainers_support import hf_trainer

import collapse_probe
from collapse_probe.watching import watch

TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second")


def trained(folder: Path, *, to: list[str], watched: bool) -> tuple[Any, Any]:
    torch.manual_seed(0)
    trainer = hf_trainer(folder, steps=20, report_to=to, logging_steps=5)
    watching = watch(trainer, run=folder / "run") if watched else None
    trainer.train()
    return trainer, watching


def test_tensorboard_gets_the_readings_at_their_steps_and_the_trainers_own_log_stays(tmp_path, monkeypatch):
    if find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = {}
    for watched in (False, True):
        monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / f"logs-{watched}"))
        trainer, watching = trained(tmp_path / str(watched), to=["tensorboard"], watched=watched)
        history = [{k: v for k, v in one.items() if k not in TIMES} for one in trainer.state.log_history]
        weights = torch.cat([one.detach().flatten() for one in trainer.model.parameters()])
        logs[watched] = (history, weights, torch.get_rng_state())
    assert logs[True][0] == logs[False][0]
    assert torch.equal(logs[True][1], logs[False][1]) and torch.equal(logs[True][2], logs[False][2])
    assert len(list((tmp_path / "logs-True").glob("*tfevents*"))) == 1

    read = EventAccumulator(str(tmp_path / "logs-True"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in read.Tags()["scalars"] if tag.startswith("train/collapse_probe/")]
    series = collapse_probe.Run.load(watching).series("query/norm_mean", on="batch")
    points = read.Scalars("train/collapse_probe/batch/query/norm_mean")
    assert [one.step for one in points] == series.steps.tolist() and len(points) == 20
    np.testing.assert_array_equal([one.value for one in points], series.values.astype(np.float32))
    (verdict,) = read.Scalars("train/collapse_probe/verdict")
    grades = {0.0: "healthy", 1.0: "warning", 2.0: "critical", 3.0: "not measured"}
    assert grades[verdict.value] == collapse_probe.diagnose(watching).status.value and verdict.step == 20
    assert len(tags) > 20


@pytest.mark.parametrize("off", [True, False])
def test_a_program_that_fails_ends_no_training_and_nothing_is_handed_where_it_is_off(tmp_path, monkeypatch, off):
    if find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed")
    from transformers.integrations import TensorBoardCallback

    calls = []
    own = TensorBoardCallback.on_log

    def on_log(self, args, state, control, logs=None, **kwargs):
        if any(name.startswith("collapse_probe/") for name in logs):
            calls.append(logs)
            raise OSError("no such server")
        own(self, args, state, control, logs=logs, **kwargs)

    monkeypatch.setattr(TensorBoardCallback, "on_log", on_log)
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "0")
    monkeypatch.setenv("COLLAPSE_PROBE_REPORT", "0" if off else "1")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    if off:
        watching = trained(tmp_path / "t", to=["tensorboard"], watched=True)[1]
        assert calls == []
    else:
        with pytest.warns(RuntimeWarning, match="no such server"):
            watching = trained(tmp_path / "t", to=["tensorboard"], watched=True)[1]
        assert len(calls) == 1
    assert collapse_probe.Run.load(watching).status == "completed"
