"""No watched step waits for the device: on ``meta`` whatever reads a value raises; a mode sees what hooks dispatch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_loops import OneTower, infonce, pairs
from sentence_transformers.sentence_transformer import losses
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from watching.trainers_support import encoder, hf_trainer, search, st_trainer

from collapse_probe.recording import Call, Containment, Tap, output
from collapse_probe.watching import Watch, watch

MAY_WAIT = {"writing", "window", "coverage", "reference pairs", "end", "closing", "verdict"}
"""What runs at the edges of windows alone, or hands out what lies on the CPU."""

MAY_WAIT |= {"beginning", "training", "baseline", "evaluation", "evaluator's rankings"}
"""What runs around a trainer's steps."""

REFUSED = ["_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "allclose", "_unique2", "histc"]
REFUSED += ["_linalg_eigh", "_linalg_svd"]


class Refuse(TorchDispatchMode):
    """Refuses every operation that makes a GPU wait."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        by_mask = name == "index" and any(isinstance(i, Tensor) and i.dtype is torch.bool for i in args[1])
        if name in REFUSED or by_mask:
            raise RuntimeError(f"waits for the device: {name}")
        return function(*args, **(kwargs or {}))


@pytest.fixture
def refusing(monkeypatch):
    """Enter the mode inside of everything of ours that runs on a training step, and nowhere else."""
    inner = Containment.run
    entered = set()

    def run(self: Containment, probe: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def within(*args: Any, **kwargs: Any) -> Any:
            entered.add(probe)
            with _disable_current_modes() if probe in MAY_WAIT else Refuse():
                return function(*args, **kwargs)

        return inner(self, probe, within, *args, **kwargs)

    monkeypatch.setattr(Containment, "run", run)
    return entered


def train(steps: int, *, device: str, declared: bool = True, reference: Any = False, **options: Any) -> Watch:
    """Train with AdamW, clipping, dropout and batch norm, everything on one device."""
    model = OneTower(dropout=0.1).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sides = {"query": "tower", "document": "tower"} if declared else {}
    w = watch(model, optimizer=optimizer, run=False, reference=reference, **sides, **options)
    try:
        for a, b in pairs(steps):
            q, d = model(a.to(device)), model(b.to(device))
            loss = infonce(q, d)
            w.observe("by hand", q)
            w.terms({"infonce": loss})
            w.monitor(size=q.norm())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    finally:
        w.detach()
    return w


@pytest.mark.parametrize(("declared", "steps", "due"), [(True, 30, 21), (False, 12, 12)])
def test_no_watched_step_reads_a_value(declared, steps, due):
    w = train(steps, device="meta", declared=declared)
    assert w.recorder.streams["query"].steps == w.recorder.streams["document"].steps == due


@pytest.mark.parametrize("declared", [True, False])
def test_keeping_inputs_for_the_reference_reads_no_value(declared):
    w = train(19, device="meta", declared=declared, reference=None)
    replay = w._calls.replay
    assert replay is not None and replay.rows >= 180


@pytest.mark.parametrize("declared", [True, False])
def test_our_hooks_dispatch_nothing_that_waits(refusing, declared):
    w = train(30, device="cpu", declared=declared, reference=None)
    assert w.recorder.streams["query"].steps >= 20
    assert {"streams", "terms", "weights", "before the step", "after the step", "reference pairs"} <= refusing


def trainer(kind: str, bert: Path, folder: Path) -> Any:
    """Return a trainer of 25 steps with an evaluation between."""
    if kind == "transformers":
        return hf_trainer(folder, steps=25, eval_strategy="steps", eval_steps=10)
    model = encoder(bert)
    loss = losses.MultipleNegativesRankingLoss(model)
    return st_trainer(model, loss, folder, steps=25, evaluator=search(), eval_strategy="steps", eval_steps=10)


TRAINERS = ["sentence-transformers", "transformers"]


@pytest.mark.parametrize("kind", TRAINERS)
def test_our_hooks_in_trainers_dispatch_nothing_that_waits(refusing, kind, bert, tmp_path):
    made = trainer(kind, bert, tmp_path)
    w = watch(made, run=False)
    made.train()
    assert w.recorder.streams["query"].steps >= 20
    expected = {"before the step", "after the step", "loss", "streams", "terms", "gradient norm", "evaluation", "steps"}
    assert expected <= refusing


def by_branch(x: Tensor) -> None:
    if x.sum():
        pass


PLANTED: dict[str, Callable[[Tensor], Any]] = {
    ".item()": lambda x: x.sum().item(),
    ".cpu()": lambda x: x.cpu(),
    ".tolist()": lambda x: x.tolist(),
    ".numpy()": lambda x: x.detach().numpy(),
    "if t": by_branch,
    "x[x > 0]": lambda x: x[x > 0],
}
ON_CPU_TOO = (".item()", "if t", "x[x > 0]")


def planted(name: str) -> Callable[[Call], Tensor | None]:
    def take(call: Call) -> Tensor | None:
        found = output(call)
        assert found is not None
        PLANTED[name](found)
        return found

    return take


@pytest.mark.parametrize("name", PLANTED)
def test_the_meta_loop_fails_for_what_waits_in_a_hook(name):
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        train(1, device="meta", taps=[Tap(stream="planted", at="tower.0", take=planted(name))])


@pytest.mark.parametrize("name", ON_CPU_TOO)
def test_the_mode_fails_for_what_waits_in_a_hook(refusing, name):
    with pytest.raises(RuntimeError, match="waits for the device"):
        train(1, device="cpu", taps=[Tap(stream="planted", at="tower.0", take=planted(name))])


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_mode_fails_for_what_waits_in_a_hook_in_a_trainer(refusing, kind, bert, tmp_path):
    made = trainer(kind, bert, tmp_path)
    at = "head.0" if kind == "transformers" else ""
    take = planted("if t")
    watch(made, run=False, taps=[Tap(stream="planted", at=at, take=take)])
    with pytest.raises(RuntimeError, match="waits for the device"):
        made.train()


def test_the_mode_lets_the_user_read_values(refusing):
    assert torch.ones(1).item() == 1.0
