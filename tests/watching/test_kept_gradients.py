"""Gradients that nobody clears: told from how often they are written, and from nothing else."""

from __future__ import annotations

import pytest
import torch
from plain_loops import OneTower, infonce, pairs

from collapse_probe import diagnose
from collapse_probe.journal import Event
from collapse_probe.watching import watch


@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize("clears", ["never", "to none", "in place", "two backwards", "every other step", "by data"])
def test_gradients_that_are_never_cleared(clears, clips):
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    w = watch(model, optimizer=optimizer, run=False)
    for step, (a, b) in enumerate(pairs(30)):
        if clears in ("to none", "in place", "two backwards") or (clears == "every other step" and step % 2 == 0):
            optimizer.zero_grad(set_to_none=clears != "in place")
        if clears == "by data":  # which is no write that the gradient counts
            for one in model.parameters():
                if one.grad is not None:
                    one.grad.data.zero_()
        if clears == "two backwards":
            infonce(model(a), model(b)).backward()
        (infonce(model(a), model(b)) * min(1, (step + 1) / 20)).backward()
        if clips:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e6)
        optimizer.step()
    w.close()
    assert any(one.name == "gradients_kept" for one in w.live.of(Event)) is (clears in ("never", "by data"))
    kinds = [one.kind for one in diagnose(w).kinds]
    assert ("gradients_add_up" in kinds) is (clears == "never")
