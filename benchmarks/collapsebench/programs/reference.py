"""The reference programs: trainings of a head over frozen vectors whose kind and cause were measured before."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from . import program
from .parts import Founding, cosines, identity, mlp, one_minus_cosine, softmax

GROUP = "reference"


@program(GROUP, "complete_collapse", "no_repulsion")
def minus_cosine_random_head(run: Run) -> None:
    """Minus a cosine, no predictor and no stop-gradient."""
    run.train(Towers(mlp(run.world.dimension)), one_minus_cosine)


@program(GROUP, "complete_collapse", "no_repulsion")
def minus_cosine_from_identity(run: Run) -> None:
    """One minus a cosine alone."""
    run.train(Towers(identity(run.world.dimension)), one_minus_cosine, steps=200)


@program(GROUP, "cone", "no_repulsion")
def pull_alone_from_half_time(run: Run) -> None:
    """A softmax, and from step 150 on one minus a cosine alone."""
    done = [0]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        done[0] += 1
        return softmax(query, document) if done[0] < 150 else one_minus_cosine(query, document)

    run.train(Towers(identity(run.world.dimension)), loss)


@program(GROUP, "cone", "no_repulsion")
def squared_error_two_towers(run: Run) -> None:
    """Squared error between two random towers."""
    dimension = run.world.dimension
    run.train(Towers(mlp(dimension), mlp(dimension)), functional.mse_loss)


@program(GROUP, "cone", "no_repulsion")
def founding_random_head(run: Run) -> None:
    """The founding losses over a random head."""
    losses = Founding(run.world.dimension)
    model = Towers(mlp(run.world.dimension))
    held = [*model.parameters(), *losses.parameters()]
    run.train(model, losses, optimizer=torch.optim.AdamW(held, lr=1e-3), steps=450, similarity="euclidean")


@program(GROUP, "hubness", "no_repulsion")
def founding_from_identity(run: Run) -> None:
    """The founding losses over a linear head from the identity."""
    losses = Founding(run.world.dimension)
    model = Towers(identity(run.world.dimension))
    held = [*model.parameters(), *losses.parameters()]
    run.train(model, losses, optimizer=torch.optim.AdamW(held, lr=1e-3), similarity="euclidean")


@program(GROUP, "dimensional_collapse", "no_repulsion")
def variance_without_covariance(run: Run) -> None:
    """Squared error and a variance term of equal weight, without the covariance term."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        spread = [functional.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean() for z in (query, document)]
        return {"invariance": 25 * functional.mse_loss(query, document), "variance": 25 * sum(spread) / 2}

    run.train(Towers(mlp(run.world.dimension)), loss, steps=400, similarity="euclidean")


@program(GROUP, "dimensional_collapse", "temperature_or_margin")
def temperature_of_ten(run: Run) -> None:
    """A softmax at scale .1."""
    run.train(Towers(mlp(run.world.dimension)), lambda q, d: softmax(q, d, scale=0.1), lr=1e-4)


@program(GROUP, "dimensional_collapse", "penalty_too_strong")
def decayed_deep_head(run: Run) -> None:
    """Four orthogonal layers with a weight decay of 8."""
    dimension = run.world.dimension
    layers = [nn.Linear(dimension, dimension) for _ in range(4)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    run.train(Towers(nn.Sequential(*layers)), softmax, weight_decay=8.0, steps=400)


@program(GROUP, "scale_explosion", "steps_too_large")
def adam_at_a_fifth(run: Run) -> None:
    """Adam at .2."""
    model = Towers(mlp(run.world.dimension))
    run.train(model, softmax, optimizer=torch.optim.Adam(model.parameters(), lr=0.2))


@program(GROUP, "forgetting", "steps_too_large")
def rate_leaps_at_half_time(run: Run) -> None:
    """Adam at 1e-4, and at .3 from step 150 on."""
    model = Towers(identity(run.world.dimension))

    def leap(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 150:
            optimizer.param_groups[0]["lr"] = 0.3

    run.train(model, softmax, optimizer=torch.optim.Adam(model.parameters(), lr=1e-4), before_step=leap)


@program(GROUP, "scale_collapse", "penalty_too_strong")
def norm_penalty_under_a_dot_product(run: Run) -> None:
    """A softmax of dot products, and a thousand times the squared norm."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        contrast = functional.cross_entropy(20 * query @ document.T, torch.arange(len(query)))
        norm = sum(z.square().sum(dim=1).mean() for z in (query, document))
        return {"contrast": contrast, "norm": 1000 * norm}

    run.train(Towers(identity(run.world.dimension)), loss, lr=5e-3, steps=200, similarity="dot")


@program(GROUP, "scale_explosion", "no_scale_anchor")
def unbounded_difference(run: Run) -> None:
    """A random other's dot product minus the own one, which has no lower bound."""
    model = Towers(identity(run.world.dimension))

    def loss(query: Tensor, document: Tensor) -> Tensor:
        other = document.roll(1, dims=0)
        return ((query * other).sum(dim=1) - (query * document).sum(dim=1)).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    run.train(model, loss, optimizer=optimizer, steps=400, similarity="dot")


class _Rectified(nn.Module):
    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dimension, 2 * dimension)
        with torch.no_grad():
            self.layer.weight.copy_(torch.cat([torch.eye(dimension), -torch.eye(dimension)]))
            self.layer.bias.fill_(-0.15)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layer(x))


@program(GROUP, "dead_dimensions", "dead_units")
def bias_below_all_units(run: Run) -> None:
    """A rectifier whose bias is below most of what reaches it."""
    run.train(Towers(_Rectified(run.world.dimension)), softmax, lr=1e-4, steps=150)


@program(GROUP, "one_sided_collapse", "penalty_too_strong")
def decay_on_one_tower(run: Run) -> None:
    """Two towers, with a weight decay of 60 on the queries'."""
    model = Towers(identity(run.world.dimension), identity(run.world.dimension))
    groups = [
        {"params": list(model.query.parameters()), "weight_decay": 60.0},
        {"params": list(model.document.parameters()), "weight_decay": 0.01},
    ]
    run.train(model, softmax, optimizer=torch.optim.AdamW(groups, lr=1e-3), steps=200)


@program(GROUP, "mismatched_pairs", "wrong_pairs")
def shifted_by_a_row(run: Run) -> None:
    """Documents that are each the next query's."""
    pairs = run.world.query, run.world.document.roll(1, dims=0)
    run.train(Towers(identity(run.world.dimension)), softmax, pairs=pairs)


@program(GROUP, "forgetting", "random_head")
def random_head_softmax(run: Run) -> None:
    """A softmax over a random head."""
    run.train(Towers(mlp(run.world.dimension)), softmax, steps=450)


@program(GROUP, "overfitting", "too_few_pairs", world="mpnet/medquad/scifact")
def few_pairs(run: Run) -> None:
    """96 pairs, over and over."""
    run.train(Towers(identity(run.world.dimension)), softmax, lr=3e-3, steps=400, batch=32, rows=96)


@program(GROUP, "hubness", "no_repulsion")
def fixed_negatives(run: Run) -> None:
    """Sixteen negatives, always the same."""
    model = Towers(identity(run.world.dimension), identity(run.world.dimension))
    negatives = run.world.document[:16]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        others = cosines(query, model.document(negatives))
        own = functional.cosine_similarity(query, document)[:, None]
        scores = 20 * torch.cat([own, others], dim=1)
        return functional.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long))

    run.train(model, loss, steps=400)


@program(GROUP, "underflow", "half_precision")
def bfloat16_weights(run: Run) -> None:
    """A random linear head whose weights are bfloat16."""
    torch.manual_seed(run.seed)
    layer = nn.Linear(run.world.dimension, run.world.dimension).bfloat16()

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.bfloat16()).float()

    run.train(Towers(Half()), softmax, lr=2e-5, steps=400)


@program(GROUP, None)
def small_steps(run: Run) -> None:
    """A softmax at scale 100 from the identity, at 1e-4."""
    run.train(Towers(identity(run.world.dimension)), lambda q, d: softmax(q, d, scale=100.0), lr=1e-4)


@program(GROUP, None)
def queue_of_noise(run: Run) -> None:
    """A queue that starts with 2,048 random vectors."""
    model = Towers(identity(run.world.dimension))
    generator = torch.Generator().manual_seed(run.seed + 1)
    queue = [functional.normalize(torch.randn(2048, run.world.dimension, generator=generator), dim=1)]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        own = functional.cosine_similarity(query, document)[:, None]
        scores = 20 * torch.cat([own, functional.normalize(query, dim=1) @ queue[0].T], dim=1)
        queue[0] = torch.cat([queue[0][len(document) :], functional.normalize(document.detach(), dim=1)])
        return functional.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long))

    run.train(model, loss, lr=1e-4)


@program(GROUP, None)
def biased_start(run: Run) -> None:
    """A head that starts at the identity with a bias, so that all cosines are high."""
    run.train(Towers(identity(run.world.dimension, bias=0.15)), lambda q, d: softmax(q, d, scale=100.0), lr=1e-4)
