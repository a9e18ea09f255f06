"""Parameters that a gradient reaches and that nothing updates: named, without a false word about others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import collapse_probe
from collapse_probe.journal import Event
from collapse_probe.watching._left_out import LeftOut


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def trained(tmp_path, watched, *, steps: int = 25, frozen: bool = False, other=None) -> list[str]:
    """Return the modules that are said to be left out."""
    torch.manual_seed(0)
    model = Two()
    if frozen:
        model.body.requires_grad_(False)
    optimizer = torch.optim.SGD(watched(model), lr=0.1)
    further = torch.optim.SGD(other(model), lr=0.1) if other else None
    options = {"query": "", "document": "", "reference": False}
    with collapse_probe.watch(model, optimizer=optimizer, run=tmp_path / "run", **options) as w:
        for _ in range(steps):
            x = torch.randn(4, 8)
            (model(x) - model(x + 0.1).detach()).square().mean().backward()
            optimizer.step()
            if further is not None:
                further.step()
            model.zero_grad()
    return [one.subject for one in w.live.of(Event) if one.name == "left_out"]


def test_a_module_that_no_optimiser_holds_is_named_by_step_twenty(tmp_path):
    assert trained(tmp_path, lambda m: m.head.parameters()) == ["body"]
    found = collapse_probe.diagnose(tmp_path / "run")
    learning = next(one for one in found.findings if one.kind == "no_learning")
    assert learning.status.value == "warning"
    assert [(one.cause, one.locus) for one in found.causes][:1] == [("not_trained", "body")]


def test_what_is_left_out_is_named_by_the_largest_module_that_is_left_out_whole():
    tower = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    model = nn.ModuleDict(
        {"kept": nn.Linear(2, 2), "lost": tower, "parted": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))}
    )
    left = LeftOut(model, [*model["kept"].parameters(), *model["parted"][0].parameters()])
    for one in model.parameters():
        one.grad = torch.ones_like(one)
    left.before_step()
    assert left.found() == {"lost": 4, "parted.1": 2}


@pytest.mark.parametrize(
    ("watched", "more"),
    [
        (lambda m: m.parameters(), {}),
        (lambda m: m.head.parameters(), {"frozen": True}),
        (lambda m: m.head.parameters(), {"other": lambda m: m.body.parameters()}),
        (lambda m: m.head.parameters(), {"steps": 5}),
    ],
    ids=["all are held", "frozen on purpose", "held by an optimiser that is not watched", "too few steps"],
)
def test_nothing_is_said_where_nothing_is_left_out(tmp_path, watched, more):
    assert trained(tmp_path, watched, **more) == []


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 512), nn.Linear(512, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        (["head.bias"], "head.bias: nothing else is trained, 8 of the model's 37,384 parameters"),
        (["head.bias", "body.bias"], ""),
        (["head.bias", "head.weight"], ""),
    ],
)
def test_a_bias_that_is_all_that_is_trained_is_noted(trained, said, tmp_path):
    model = Wide()
    for name, one in model.named_parameters():
        one.requires_grad_(name in trained)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with collapse_probe.watch(model, optimizer=optimizer, query="", document="", reference=False, run=tmp_path / "run"):
        for _ in range(3):
            x = torch.randn(4, 64)
            (model(x) - model(x + 0.1).detach()).square().mean().backward()
            optimizer.step()
    found = collapse_probe.diagnose(tmp_path / "run")
    assert said in " ".join(found.summary.split()) and ("nothing else is trained" in found.summary) is bool(said)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (lambda model, kept: model.body.load_state_dict(kept.state_dict()), ["updates_undone"]),
        (lambda model, kept: kept.load_state_dict(model.body.state_dict()), []),
        (lambda model, kept: model.body.weight.data.clamp_(-0.3, 0.3), []),
    ],
    ids=["put back", "copied from", "clipped"],
)
def test_weights_that_are_put_back_after_each_step_are_named(after, said, tmp_path):
    torch.manual_seed(0)
    model, kept = Two(), nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept.load_state_dict(model.body.state_dict())
    with collapse_probe.watch(model, optimizer=optimizer, query="", document="", reference=False, run=tmp_path / "run"):
        for _ in range(12):
            x = torch.randn(4, 8)
            (model(x) - model(x + 0.1).detach()).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                after(model, kept)
    found = collapse_probe.diagnose(tmp_path / "run")
    assert [one.kind for one in found.kinds if one.kind == "updates_undone"] == said
    assert [one.locus for one in found.causes if one.cause == "weights_overwritten"] == (["body"] if said else [])


def test_a_temperature_that_is_held_at_its_bound_is_not_put_back(tmp_path):
    """As CLIP's is, which begins there when it is trained further."""
    model = Two()
    model.scale = nn.Parameter(torch.tensor(4.6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with collapse_probe.watch(model, optimizer=optimizer, query="", document="", reference=False, run=tmp_path / "run"):
        for _ in range(12):
            x = torch.randn(4, 8)
            ((model(x) - model(x + 0.1).detach()).square().mean() - model.scale).backward()
            optimizer.step()
            optimizer.zero_grad()
            model.scale.data.clamp_(max=4.6)
    found = collapse_probe.diagnose(tmp_path / "run")
    assert not [one for one in found.kinds if one.kind == "updates_undone"]


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1)).requires_grad_(False).eval()
        self.head = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.frozen(x))


@pytest.mark.parametrize("trains", [True, False])
def test_a_model_that_is_trained_in_evaluation_mode_is_noted(trains, tmp_path):
    """What is frozen may stay in it."""
    model = Dropping()
    model.head.train(trains)
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    with collapse_probe.watch(model, optimizer=optimizer, query="", document="", reference=False, run=tmp_path / "run"):
        for _ in range(3):
            x = torch.randn(4, 8)
            (model(x) - model(x + 0.1).detach()).square().mean().backward()
            optimizer.step()
    said = " ".join(collapse_probe.diagnose(tmp_path / "run").summary.split())
    assert ("trained in evaluation mode" in said) is not trains
