"""Loss modules that nobody named are heard in every step, the outermost alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from collapse_probe.watching import Watch, watch


class Softmax(nn.Module):
    def forward(self, query: torch.Tensor, document: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(query @ document.T, torch.arange(len(query)))


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.softmax = Softmax()

    def forward(self, query: torch.Tensor, document: torch.Tensor) -> torch.Tensor:
        return self.softmax(query, document) + query.square().mean()


def trained(loss: nn.Module, *, named: bool = False) -> tuple[Watch, list[float]]:
    """Return the watch of a short loop, and its losses."""
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    values = []
    with watch(model, optimizer=optimizer, loss=loss if named else None, run=False) as watching:
        for _ in range(25):
            x = torch.randn(16, 8)
            value = loss(model(x), model(x + 0.1))
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            values.append(value.item())
    return watching, values


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("loss", [Softmax, Outer])
def test_a_loss_is_heard_in_every_step(loss: type[nn.Module], named: bool) -> None:
    watching, values = trained(loss(), named=named)
    assert list(watching.live.series(f"loss/{loss.__name__}").values) == pytest.approx(values)
    assert list(watching.live.series("loss/total").values) == pytest.approx(values)
    assert loss is Softmax or not len(watching.live.series("loss/Softmax").values)


class Loop(nn.Module):
    """What is watched and its loss, in a module of the user's that returns no loss alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.loss = Outer()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        q, d = self.model(x), self.model(x + 0.1)
        return {"loss": self.loss(q, d), "query": q}


def test_a_loss_inside_of_the_users_own_module_is_heard() -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loop, values = Loop(model), []
    with watch(model, optimizer=optimizer, run=False) as watching:
        for _ in range(5):
            value = loop(torch.randn(16, 8))["loss"]
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            values.append(value.item())
    assert list(watching.live.series("loss/Outer").values) == pytest.approx(values)
    assert not len(watching.live.series("loss/Softmax").values)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("same", [False, True])
def test_losses_whose_weights_nobody_knows_have_no_total(same: bool, accumulate: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    first, second = nn.MSELoss(), nn.MSELoss() if same else nn.L1Loss()
    with watch(model, optimizer=optimizer, run=False) as watching:
        for _ in range(25):
            for _ in range(accumulate):
                x = torch.randn(16, 8)
                q, d = model(x), model(x + 0.1)
                (10 * first(q, d) + second(q, x)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert len(watching.live.series("loss/MSELoss").values) == 25
    assert not len(watching.live.series("loss/total").values)


@pytest.mark.parametrize("shared", [False, True])
def test_the_loss_of_another_model_is_none_of_the_watched_one(shared: bool) -> None:
    torch.manual_seed(0)
    model, other = nn.Linear(8, 8), nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    mine = nn.MSELoss()
    others = mine if shared else nn.L1Loss()
    values = []
    with watch(model, optimizer=optimizer, run=False) as watching:
        for step in range(25):
            x = torch.randn(16, 8)
            others(other(x) * (float("nan") if step > 5 else 1), x).backward()
            value = mine(model(x), model(x + 0.1))
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            values.append(value.item())
    assert list(watching.live.series("loss/MSELoss").values) == pytest.approx(values)
    assert list(watching.live.series("loss/total").values) == pytest.approx(values)
    assert not len(watching.live.series("loss/L1Loss").values)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_loss_whose_graph_hides_the_parameters_is_heard(reentrant: bool) -> None:
    torch.manual_seed(0)
    model, temperature = nn.Linear(8, 8), nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([*model.parameters()], lr=0.01)
    mse = nn.MSELoss()
    with watch(model, optimizer=optimizer, run=False) as watching:
        for _ in range(3):
            x = torch.randn(16, 8)
            if reentrant:
                start = x.clone().requires_grad_()
                q, d = (checkpoint(model, one, use_reentrant=True) for one in (start, start + 0.1))
                mse(q * temperature, d).backward()
            else:
                q, d = model(x), model(x + 0.1)
                apart = [one.detach().requires_grad_() for one in (q, d)]
                mse(apart[0] * temperature, apart[1]).backward()
                torch.autograd.backward([q, d], [one.grad for one in apart])
            optimizer.step()
            optimizer.zero_grad()
    assert len(watching.live.series("loss/MSELoss").values) == 3
