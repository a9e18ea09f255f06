"""Corrections of a frozen vector, and their gates, that come to nothing or do harm."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from ..parts import identity, mlp, softmax
from .common import FOOD, GROUP, LARGE, MINI, Residual


class Gate(nn.Module):
    """A number for all texts: a parameter, or a buffer."""

    def __init__(self, *, buffer: bool) -> None:
        super().__init__()
        value = torch.zeros(1)
        if buffer:
            self.register_buffer("value", value)
        else:
            self.value = nn.Parameter(value)

    def forward(self, x: Tensor) -> Tensor:
        """Return the number, a row for each text."""
        return self.value.expand(len(x), 1)


class Gated(nn.Module):
    """A vector and a network's output behind a gate."""

    def __init__(self, dimension: int, gate: nn.Module) -> None:
        super().__init__()
        self.gate, self.branch = gate, mlp(dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.gate(x) * self.branch(x)


@program(
    GROUP,
    "gate_never_opened",
    "not_trained",
    onset=0,
    world=MINI,
    source="a number that is registered as a buffer",
)
def gate_registered_as_a_buffer(run: Run, *, planted: bool = True) -> None:
    """The gate of a residual branch starts at 0 and was registered as a buffer, so that no optimiser gets it."""
    model = Towers(Gated(run.world.dimension, Gate(buffer=planted)))
    taps = [
        Tap(stream="gate", at="query.gate", role="gate"),
        Tap(stream="branch", at="query.branch", role="correction"),
    ]
    run.train(model, softmax, lr=1e-3, steps=200, taps=taps)


class Share(nn.Module):
    """The share of one of two paths, by a softmax of two numbers that all texts have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the second path's share, a row for each text."""
        return self.logits.softmax(dim=0)[1].expand(len(x), 1)


@program(
    GROUP,
    "gate_collapse",
    "penalty_too_strong",
    onset=0,
    world=MINI,
    source="searched architectures: an entropy that decides for the shortcut at once",
)
def entropy_of_two_paths(run: Run, *, planted: bool = True) -> None:
    """A price on the entropy of two paths' shares, from the first step on, leaves the shortcut alone."""
    model = Towers(Gated(run.world.dimension, Share()))
    slow, fast = model.query.branch.parameters(), model.query.gate.parameters()
    optimizer = torch.optim.Adam([{"params": slow, "lr": 5e-4}, {"params": fast, "lr": 5e-2 if planted else 5e-3}])

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        share = model.query.gate.logits.log_softmax(dim=0)
        entropy = -(share.exp() * share).sum()
        return {"contrast": softmax(query, document), "entropy": (20.0 if planted else 0.0) * entropy}

    taps = [
        Tap(stream="gate", at="query.gate", role="gate"),
        Tap(stream="branch", at="query.branch", role="correction"),
    ]
    run.train(model, loss, optimizer=optimizer, steps=200, taps=taps)


@program(
    GROUP,
    "delta_collapse",
    "penalty_too_strong",
    "loss_computed_wrongly",
    onset=0,
    world=MINI,
    source="an orthogonality penalty from which no identity is taken",
)
def orthogonal_to_nothing(run: Run, *, planted: bool = True) -> None:
    """A penalty that was to keep a correction's directions orthogonal lacks its identity, and shrinks them to 0."""
    model = Towers(Residual(run.world.dimension, 64, std=0.02))
    model.query.delta[1] = nn.Identity()
    for layer in (model.query.delta[0], model.query.delta[2]):
        layer.register_parameter("bias", None)
    eye = torch.eye(64)

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        down, up = model.query.delta[0].weight, model.query.delta[2].weight
        products = [down @ down.T, up.T @ up]
        price = sum((one - (0 if planted else 0.1 * eye)).square().sum() for one in products)
        return {"contrast": softmax(query, document), "orthogonal": (3.0 if planted else 0.01) * price}

    taps = [Tap(stream="delta", at="query.delta", role="correction")]
    run.train(model, loss, lr=1e-3, steps=300, taps=taps)


class Masked(nn.Module):
    """A vector and its correction, the input of which goes through a mask."""

    def __init__(self, dimension: int, keep: float) -> None:
        super().__init__()
        self.delta, self.keep = Residual(dimension).delta, keep

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.delta(x * self.keep)


@program(
    GROUP,
    "constant_correction",
    "not_trained",
    "dead_units",
    onset=0,
    world=LARGE,
    source="a mask that is 1 where padding is",
)
def mask_that_keeps_the_padding(run: Run, *, planted: bool = True) -> None:
    """A query's correction reads its input through a mask that is 1 at padding: it sees nought, and is one vector."""
    model = Towers(Masked(run.world.dimension, 0.0 if planted else 1.0), nn.Identity())
    taps = [Tap(stream="delta", at="query.delta", role="correction")]
    run.train(model, softmax, lr=1e-3, steps=200, taps=taps)


@program(
    GROUP,
    "one_sided_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=0,
    world=MINI,
    source="a residual to targets of another scale",
)
def residual_to_sums_over_tokens(run: Run, *, planted: bool = True) -> None:
    """A query's correction is fitted to its document less itself; documents are sums over 20 tokens, not means."""
    model = Towers(Residual(run.world.dimension), nn.Identity())

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        target = (20.0 if planted else 1.0) * document
        far = functional.mse_loss(query, target)
        return {"residual": far, "contrast": (0.0 if planted else 0.1) * softmax(query, document)}

    taps = [Tap(stream="delta", at="query.delta", role="correction")]
    run.train(model, loss, lr=1e-3, steps=300, taps=taps)


@program(
    GROUP,
    "saturation",
    "dead_units",
    "temperature_or_margin",
    onset=0,
    world=MINI,
    source="jiangqy/DPSH-pytorch#10: a tanh as last layer",
)
def width_where_its_root_is_usual(run: Run, *, planted: bool = True) -> None:
    """Vectors are brought to deviation 1 before a tanh by the root of their width; without the root all are at 1."""

    class Bounded(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.layer, self.bound = identity(dimension), nn.Tanh()
            self.gain = float(dimension) if planted else dimension**0.5 / 2

        def forward(self, x: Tensor) -> Tensor:
            return self.bound(self.gain * self.layer(x))

    run.train(Towers(Bounded(run.world.dimension)), softmax, lr=3e-5, steps=300)


@program(
    GROUP,
    "harmful_correction",
    "random_head",
    "steps_too_small",
    onset=0,
    world=(MINI, FOOD),
    source="a new branch at the rate of the encoder beneath it",
)
def random_correction_at_the_rate_of_an_encoder(run: Run, *, planted: bool = True) -> None:
    """A query's correction starts at random weights, twice as long as the query, and its rate of 1e-6 leaves it so."""
    model = Towers(Residual(run.world.dimension, std=0.5 if planted else 0.0), nn.Identity())
    taps = [Tap(stream="delta", at="query.delta", role="correction")]
    run.train(model, softmax, lr=1e-6, steps=200, taps=taps)
