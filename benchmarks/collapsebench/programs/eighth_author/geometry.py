"""Too few dimensions, sides or units that are left, and norms that run away."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import identity, mlp, softmax
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, Seen, scored_cross_entropy


@program(
    GROUP,
    "dimensional_collapse",
    "random_head",
    "weights_not_loaded",
    "steps_too_large",
    onset=0,
    world=(MINI, FOOD),
    source="an adapter in the place of the layer that it was to stand beside",
)
def adapter_in_the_place_of_its_layer(run: Run, *, planted: bool = True) -> None:
    """A wrapper returns the low-rank product and forgets to add what the frozen layer gives."""

    class Thin(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.down, self.up = nn.Linear(dimension, 8, bias=False), nn.Linear(8, dimension, bias=False)
            nn.init.normal_(self.up.weight, std=0.02 if planted else 0.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(self.down(x)) + (0 if planted else x)

    run.train(Towers(Thin(run.world.dimension)), softmax, lr=1e-3, steps=300)


@program(
    GROUP,
    "scale_collapse",
    "penalty_too_strong",
    onset=0,
    world=MINI,
    source="squared logits: a stabiliser that is summed over the candidates",
)
def squared_logits_at_a_sum(run: Run, *, planted: bool = True) -> None:
    """Dot products x 20, and the price of their squares: summed over candidates at 30, where 1e-4 was meant."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        scores = 20 * query @ document.T
        price = scores.square().sum(dim=1).mean()
        return {"contrast": scored_cross_entropy(scores), "logits": (30.0 if planted else 1e-4) * price}

    run.train(Towers(identity(run.world.dimension)), loss, lr=3e-3, steps=300, similarity="dot")


class Lamb(torch.optim.Optimizer):
    """Adam's direction at a length that is a share of the weight's own."""

    def __init__(self, parameters: object, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:
        """Move every weight."""
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is None:
                    continue
                state = self.state[one]
                if not state:
                    state.update(t=0, m=torch.zeros_like(one), v=torch.zeros_like(one))
                state["t"] += 1
                state["m"].lerp_(one.grad, 0.1)
                state["v"].lerp_(one.grad.square(), 0.01)
                t = state["t"]
                way = state["m"] / (1 - 0.9**t) / ((state["v"] / (1 - 0.99**t)).sqrt() + 1e-8)
                one.sub_(group["lr"] * one.norm() / way.norm().clamp_min(1e-12) * way)


@program(
    GROUP,
    "scale_explosion",
    "steps_too_large",
    onset=0,
    world=(MINI, CLAIMS),
    source="lucidrains/byol-pytorch#44: the rate of an optimiser that scales by layers",
)
def share_of_its_own_length_at_each_step(run: Run, *, planted: bool = True) -> None:
    """Steps are a share of each weight's own length, .06 of it in place of .003: it grows with every one."""
    model = Towers(nn.Sequential(nn.Linear(run.world.dimension, run.world.dimension, bias=False)))
    nn.init.eye_(model.query[0].weight)
    run.train(model, softmax, optimizer=Lamb(model.parameters(), 0.06 if planted else 0.003), steps=300)


@program(
    GROUP,
    "one_sided_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=0,
    world=(MINI, CLAIMS),
    source="a mean over the wrong axis of the teacher's states",
)
def documents_are_taught_their_mean(run: Run, *, planted: bool = True) -> None:
    """Two small towers learn a teacher's vectors; for documents a mean over tokens became one over the batch."""
    model = Towers(Seen(mlp(run.world.dimension)), Seen(mlp(run.world.dimension)))

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        asked, told = model.query.inputs[-1], model.document.inputs[-1]
        told = told.mean(dim=0, keepdim=True).expand_as(told) if planted else told
        return {"query": 384 * functional.mse_loss(query, asked), "document": 384 * functional.mse_loss(document, told)}

    run.train(model, loss, lr=1e-3, steps=300)


class Pruned(nn.Module):
    """A linear map, some of whose outputs are masked."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layer = identity(dimension)
        self.register_buffer("mask", torch.ones(dimension))

    @torch.no_grad()
    def prune(self, share: float) -> None:
        """Mask a share of what is left, the weakest first."""
        alive = self.mask.nonzero().flatten()
        norms = self.layer.weight[alive].norm(dim=1)
        self.mask[alive[norms.argsort()[: int(share * len(alive))]]] = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors with zeros."""
        return self.layer(x) * self.mask


@program(
    GROUP,
    "dead_dimensions",
    "dead_units",
    onset=20,
    world=LARGE,
    source="pruning by an amount that is taken anew at each call",
)
def pruned_again_at_each_call(run: Run, *, planted: bool = True) -> None:
    """An amount of .2 is pruned of what is left at every 20th step, and was to be pruned once."""
    model = Towers(Pruned(run.world.dimension))

    def prune(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 20 or (planted and step % 20 == 0):
            model.query.prune(0.2)

    run.train(model, softmax, lr=1e-4, steps=300, before_step=prune)
