"""Corrections that stay at nothing, go back to it, are the same for all or do harm, and gates that close."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from ..parts import softmax
from .common import CLAIMS, FOOD, GROUP, MINI, Adapter


class Thin(nn.Module):
    """A vector and the product of two thin maps of it."""

    def __init__(self, dimension: int, rank: int = 32) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dimension, rank, bias=False), nn.Linear(rank, dimension, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.up(self.down(x))


@program(
    GROUP,
    "identity",
    "not_trained",
    onset=0,
    world=(MINI, CLAIMS),
    source="section 4, slugs: two zero factors",
)
def both_factors_start_at_zero(run: Run, *, planted: bool = True) -> None:
    """An adapter of low rank, all of whose weights a helper for "safe starts" has set to zero, not the last alone."""
    model = Thin(run.world.dimension)
    if planted:
        for one in model.parameters():
            nn.init.zeros_(one)
    taps = [Tap(stream="adapter", at="query.up", role="correction")]
    run.train(Towers(model), softmax, lr=1e-3, steps=200, taps=taps)


@program(
    GROUP,
    "delta_collapse",
    "penalty_too_strong",
    onset=1,
    world=(MINI, FOOD),
    source="an annealed penalty without an upper end",
)
def penalty_grows_without_an_end(run: Run, *, planted: bool = True) -> None:
    """The weight of a correction's squared size grows by a twentieth at each step, and nothing stops it at .1."""
    model = nn.ModuleDict({"correction": Adapter(run.world.dimension, std=0.02).delta})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    left, right = run.world.reference
    weight = 0.01

    def ask(x: Tensor) -> Tensor:
        return x + model["correction"](x)

    taps = [Tap(stream="correction", at="correction", role="correction")]
    with run.watch(
        model,
        optimizer=optimizer,
        taps=taps,
        reference=lambda: (ask(left), right),
        raw=lambda: (left, right),
        examples=len(run.world.query),
    ) as w:
        run.evaluate(w, 0, ask, nn.Identity())
        for step, rows in enumerate(run.batches(300, 64), start=1):
            x, document = run.world.query[rows], run.world.document[rows]
            delta = model["correction"](x)
            w.observe("query", x + delta)
            w.observe("document", document)
            terms = {"contrast": softmax(x + delta, document), "size": weight * delta.square().sum(dim=1).mean()}
            w.terms(terms)
            sum(terms.values()).backward()
            optimizer.step()
            optimizer.zero_grad()
            weight = weight * 1.05 if planted else min(0.1, weight * 1.05)
            if step % 60 == 0:
                run.evaluate(w, step, ask, nn.Identity())


class Clamped(nn.Module):
    """A correction behind a number that is held between 0 and 1."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.3))
        self.gate = nn.Hardtanh(0.0, 1.0)
        self.branch = nn.Sequential(nn.Linear(dimension, 128), nn.GELU(), nn.Linear(128, dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector with the gated correction."""
        return x + self.gate(self.level) * self.branch(x)


@program(
    GROUP,
    "gate_collapse",
    "steps_too_large",
    "dead_units",
    onset=1,
    world=MINI,
    source="a clamp that passes no gradient below 0",
)
def level_steps_below_the_clamp(run: Run, *, planted: bool = True) -> None:
    """A clamped gate shares no group with the branch; its rate of .4 takes it below 0 at once, and it stays there."""
    model = Clamped(run.world.dimension)
    groups = [
        {"params": model.branch.parameters(), "lr": 1e-3},
        {"params": [model.level], "lr": 0.4 if planted else 4e-3},
    ]
    taps = [
        Tap(stream="gate", at="query.gate", role="gate"),
        Tap(stream="branch", at="query.branch", role="correction"),
    ]
    run.train(Towers(model), softmax, optimizer=torch.optim.Adam(groups), steps=200, taps=taps)


class Rezero(nn.Module):
    """A branch behind a number that starts at zero."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.LayerNorm(dimension), nn.Linear(dimension, dimension), nn.Tanh())
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector with the branch."""
        return x + self.alpha * self.branch(x)


@program(
    GROUP,
    "gate_never_opened",
    "not_trained",
    onset=0,
    world=MINI,
    source="adapter-hub/adapters#260; parameter groups by the kind of layer, which a bare parameter is not in",
)
def groups_of_layers_alone(run: Run, *, planted: bool = True) -> None:
    """Groups with and without decay are made of layers' weights and biases; a bare number is in neither."""
    model = Rezero(run.world.dimension)
    layers = [one for one in model.modules() if isinstance(one, nn.Linear | nn.LayerNorm)]
    groups = [
        {"params": [one.weight for one in layers], "weight_decay": 0.01},
        {"params": [one.bias for one in layers], "weight_decay": 0.0},
    ]
    if not planted:
        groups.append({"params": [model.alpha], "weight_decay": 0.0, "lr": 3e-3})
    taps = [
        Tap(stream="alpha", at="query.alpha", role="gate"),
        Tap(stream="branch", at="query.branch", role="correction"),
    ]
    run.train(Towers(model), softmax, optimizer=torch.optim.AdamW(groups, lr=5e-4), steps=200, taps=taps)


@program(
    GROUP,
    "constant_correction",
    "dead_units",
    onset=0,
    world=(MINI, FOOD),
    source="hidden units that no text reaches: all that is left is the last bias",
)
def hidden_units_below_every_text(run: Run, *, planted: bool = True) -> None:
    """A correction's hidden rectifiers start at a bias of -1, a figure for inputs that are not of unit length."""
    model = Adapter(run.world.dimension, width=256)
    if planted:
        nn.init.constant_(model.delta[0].bias, -1.0)
        nn.init.normal_(model.delta[0].weight, std=0.05)
    taps = [Tap(stream="delta", at="query.delta", role="correction")]
    run.train(Towers(model, nn.Identity()), softmax, lr=1e-3, steps=200, taps=taps)


@program(
    GROUP,
    "harmful_correction",
    "loss_computed_wrongly",
    onset=1,
    world=MINI,
    source="section 4: a correction's sign",
)
def residual_of_the_other_sign(run: Run, *, planted: bool = True) -> None:
    """A query's correction is fitted to query minus document, and added: the difference was taken the wrong way."""
    model = nn.ModuleDict({"delta": Adapter(run.world.dimension, std=0.01).delta})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    left, right = run.world.reference

    def ask(x: Tensor) -> Tensor:
        return x + model["delta"](x)

    taps = [Tap(stream="delta", at="delta", role="correction")]
    with run.watch(
        model,
        optimizer=optimizer,
        taps=taps,
        reference=lambda: (ask(left), right),
        raw=lambda: (left, right),
        examples=len(run.world.query),
    ) as w:
        run.evaluate(w, 0, ask, nn.Identity())
        for step, rows in enumerate(run.batches(200, 64), start=1):
            x, document = run.world.query[rows], run.world.document[rows]
            delta = model["delta"](x)
            w.observe("query", x + delta)
            w.observe("document", document)
            target = x - document if planted else document - x
            loss = functional.mse_loss(delta, target)
            w.terms(residual=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, ask, nn.Identity())
