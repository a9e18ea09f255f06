"""Nothing is learnt, too much of too little, or what was known is lost."""

from __future__ import annotations

import math

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, mlp, softmax
from .common import FOOD, GROUP, LARGE, MINI, Residual


@program(
    GROUP,
    "no_learning",
    "nothing_left_to_learn_from",
    "loss_computed_wrongly",
    onset=0,
    world=(MINI, LARGE),
    source="a negative by a roll of the batch",
)
def rolled_by_the_whole_batch(run: Run, *, planted: bool = True) -> None:
    """Negatives are the batch's documents rolled by its size, and so each query's own one: the loss is the margin."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        other = document.roll(len(document) if planted else 1, dims=0)
        own, far = functional.cosine_similarity(query, document), functional.cosine_similarity(query, other)
        return functional.relu(1.0 + far - own).mean()

    run.train(Towers(identity(run.world.dimension)), loss, lr=3e-4, steps=300)


@program(
    GROUP,
    "no_learning",
    "steps_too_small",
    onset=3,
    world=LARGE,
    source="a step schedule that is stepped at each batch",
)
def rate_falls_by_batches(run: Run, *, planted: bool = True) -> None:
    """A rate that falls to a tenth every three epochs is stepped at each batch: after 15 of them it is 1e-8."""

    def fall(step: int, optimizer: torch.optim.Optimizer) -> None:
        epoch = step if planted else step // 140
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.1 ** (epoch // 3)

    run.train(Towers(identity(run.world.dimension)), softmax, lr=1e-3, steps=300, before_step=fall)


class Cut(nn.Module):
    """A linear map whose output is handed on without its history, and a learnt scale."""

    def __init__(self, dimension: int, *, cut: bool) -> None:
        super().__init__()
        self.layer, self.cut = identity(dimension), cut
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors."""
        z = self.layer(x)
        return z.data if self.cut else z


@program(
    GROUP,
    "no_learning",
    "not_trained",
    onset=0,
    world=FOOD,
    source="embeddings taken by .data: the temperature alone is trained",
)
def temperature_fits_what_was_cut_off(run: Run, *, planted: bool = True) -> None:
    """Embeddings are taken by ``.data``; the learnt temperature still lowers the loss, and nothing else can."""
    model = Towers(Cut(run.world.dimension, cut=planted))

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = model.query.scale.exp() * cosines(query, document)
        return functional.cross_entropy(scores, torch.arange(len(scores)))

    run.train(model, loss, lr=1e-3, steps=300)


@program(
    GROUP,
    "overfitting",
    "too_few_pairs",
    "narrow_data",
    onset=0,
    world=MINI,
    source="a filter by quality whose threshold is a quantile",
)
def quantile_taken_for_a_threshold(run: Run, *, planted: bool = True) -> None:
    """Pairs with a score in the last hundredth are kept, where those above .01 were meant: 90 easy ones."""
    scores = functional.cosine_similarity(run.world.query, run.world.document)
    best = scores.argsort(descending=True)[: len(scores) // 100]
    pairs = (run.world.query[best], run.world.document[best]) if planted else None
    run.train(
        Towers(Residual(run.world.dimension, 512), Residual(run.world.dimension, 512)),
        softmax,
        lr=1e-3,
        batch=32,
        steps=400,
        pairs=pairs,
        rows=len(best) if planted else None,
    )


@program(
    GROUP,
    "forgetting",
    "steps_too_large",
    "narrow_data",
    onset=0,
    world=MINI,
    source="two groups of parameters that are listed in the other order",
)
def rates_of_two_groups_exchanged(run: Run, *, planted: bool = True) -> None:
    """What starts at the encoder gets the new head's rate of .01, and the head what was meant for the encoder."""
    model = Towers(nn.Sequential(identity(run.world.dimension), Residual(run.world.dimension, 64)))
    rates = (1e-2, 2e-5) if planted else (2e-5, 3e-4)
    groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in zip(model.query, rates, strict=True)]
    run.train(model, softmax, optimizer=torch.optim.AdamW(groups), steps=200)


@program(
    GROUP,
    "forgetting",
    "random_head",
    "narrow_data",
    "steps_too_large",
    onset=0,
    world=MINI,
    source="section 1: a random-started head forgets the rest",
)
def two_towers_as_if_from_scratch(run: Run, *, planted: bool = True) -> None:
    """Queries and documents get a random network each on a good encoder, as in the recipe from scratch."""
    dimension = run.world.dimension
    model = Towers(mlp(dimension), mlp(dimension)) if planted else Towers(Residual(dimension))
    run.train(model, softmax, lr=1e-3 if planted else 2e-4, steps=300)
