"""Training state comes back bit for bit, without pickle."""

from __future__ import annotations

import random

import numpy as np
import torch

from collapse_probe.respred.training._state import (
    complete_checkpoints,
    load_optimiser,
    load_random_state,
    save_optimiser,
    save_random_state,
)


def trained(steps: int) -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
    for _ in range(steps):
        layer(torch.ones(4, 3)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return layer, optimiser


def test_an_optimiser_goes_on_as_if_it_had_never_stopped(tmp_path):
    layer, optimiser = trained(3)
    save_optimiser(optimiser, tmp_path / "o.safetensors")
    other, fresh = trained(0)
    other.load_state_dict(layer.state_dict())
    load_optimiser(fresh, tmp_path / "o.safetensors")
    for model, steps in ((layer, optimiser), (other, fresh)):
        model(torch.ones(4, 3)).square().mean().backward()
        steps.step()
    assert torch.equal(layer.weight, other.weight)


def test_all_global_generators_come_back(tmp_path):
    save_random_state(tmp_path / "r.safetensors")
    draw = lambda: (random.random(), random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist())  # noqa: E731
    first = draw()
    load_random_state(tmp_path / "r.safetensors")
    assert draw() == first


def test_an_unfinished_checkpoint_is_passed_over(tmp_path):
    whole = '{"global_step": 1, "epoch": 1.0}'
    for step, state in ((9, whole), (10, whole), (11, '{"torn'), (13, "{}"), ("abc", whole)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    assert complete_checkpoints(tmp_path) == [tmp_path / "checkpoint-10", tmp_path / "checkpoint-9"]
    assert complete_checkpoints(tmp_path / "nowhere") == []
