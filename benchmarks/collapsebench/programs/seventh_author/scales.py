"""Norms that grow or vanish, and units that die."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import identity, softmax
from .common import CLAIMS, GROUP, MINI, bpr, sigmoid_pairs, triplets


@program(
    GROUP,
    "scale_explosion",
    "no_scale_anchor",
    "loss_computed_wrongly",
    onset=1,
    world=MINI,
    source="section 4, no scale anchor; a triplet loss without its hinge",
)
def triplets_without_the_hinge(run: Run, *, planted: bool = True) -> None:
    """A triplet loss of distances over two layers, whose relu was lost in a rewrite: it has no lower bound."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        if not planted:
            return triplets(query, document, margin=0.5)
        own = functional.pairwise_distance(query, document)
        other = functional.pairwise_distance(query, document.roll(1, dims=0))
        return (own - other + 0.5).mean()

    head = nn.Sequential(identity(run.world.dimension), identity(run.world.dimension))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    run.train(Towers(head), loss, optimizer=optimizer, steps=200, similarity="euclidean")


@program(
    GROUP,
    "scale_explosion",
    "steps_too_large",
    onset=1,
    world=MINI,
    source="lucidrains/byol-pytorch#44; a rate of LARS given to Adam",
)
def rate_of_another_optimiser(run: Run, *, planted: bool = True) -> None:
    """A pairwise sigmoid loss over a head of three layers, with Adam at .3: the rate of a recipe with LARS."""
    dimension = run.world.dimension
    head = nn.Sequential(
        identity(dimension), nn.GELU(), nn.Linear(dimension, dimension), nn.GELU(), identity(dimension)
    )
    rate = 0.3 if planted else 3e-4
    run.train(Towers(head), sigmoid_pairs, optimizer=torch.optim.Adam(head.parameters(), lr=rate), steps=200)


@program(
    GROUP,
    "scale_collapse",
    "temperature_or_margin",
    "no_repulsion",
    onset=1,
    world=MINI,
    source="qdrant/demo-cloud-faq#1; a margin in the units of other vectors",
)
def margin_of_other_units(run: Run, *, planted: bool = True) -> None:
    """A contrastive loss of Euclidean distances has a margin of .03, where other texts are 1.2 apart."""
    margin = 0.03 if planted else 1.2

    def loss(query: Tensor, document: Tensor) -> Tensor:
        own = functional.pairwise_distance(query, document)
        other = functional.pairwise_distance(query, document.roll(1, dims=0))
        return own.square().mean() + functional.relu(margin - other).square().mean()

    head = identity(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    run.train(Towers(head), loss, optimizer=optimizer, steps=200, similarity="euclidean")


@program(
    GROUP,
    "scale_collapse",
    "penalty_too_strong",
    "loss_computed_wrongly",
    onset=1,
    world=MINI,
    source="pairwise ranking with a squared norm that is summed over the batch, where its weight is for the mean",
)
def squared_norms_summed_over_the_batch(run: Run, *, planted: bool = True) -> None:
    """Pairwise ranking of dot products, and half the squared norms times .1: of a whole batch, not of its mean."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        norms = (query.square() + document.square()).sum(dim=1)
        ranking = bpr(query, document, document.roll(1, dims=0))
        return {"ranking": ranking, "norms": 0.05 * (norms.sum() if planted else norms.mean())}

    run.train(Towers(identity(run.world.dimension)), loss, lr=4e-3, steps=200, batch=128, similarity="dot")


class Corrected(nn.Module):
    """A linear map, and a correction of what it returns."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.base = identity(dimension)
        self.net = nn.Sequential(nn.Linear(dimension, 128), nn.GELU(), nn.Linear(128, dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        z = self.base(x)
        return z + 0.1 * self.net(z)


@program(
    GROUP,
    "scale_collapse",
    "penalty_leak",
    "penalty_too_strong",
    onset=1,
    world=MINI,
    source="section 4: a penalty reaches what it was not meant for",
)
def corrected_vectors_are_penalised(run: Run, *, planted: bool = True) -> None:
    """The penalty of a correction's size gets the corrected vectors, and so reaches the map that both share."""
    model = Corrected(run.world.dimension)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with run.watch(
        model,
        optimizer=optimizer,
        query="",
        document="",
        similarity="dot",
        reference=lambda: tuple(map(model, run.world.reference)),
        raw=lambda: run.world.reference,
        examples=len(run.world.query),
    ) as w:
        run.evaluate(w, 0, model, model, similarity="dot")
        for step, rows in enumerate(run.batches(200, 64), start=1):
            query, document = model(run.world.query[rows]), model(run.world.document[rows])
            sized = torch.cat([query, document])
            if not planted:
                sized = 0.1 * model.net(torch.cat([run.world.query[rows], run.world.document[rows]]))
            terms = {
                "contrast": functional.cross_entropy(20 * query @ document.T, torch.arange(len(rows))),
                "size": 500 * sized.square().sum(dim=1).mean(),
            }
            w.terms(terms)
            sum(terms.values()).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model, similarity="dot")


class Sparse(nn.Module):
    """Rectified features of both signs behind a logarithm, as sparse retrievers have them."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dimension, 2 * dimension)
        with torch.no_grad():
            self.layer.weight.copy_(torch.cat([torch.eye(dimension), -torch.eye(dimension)]))
            self.layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return activations."""
        return torch.log1p(functional.relu(self.layer(x)))


@program(
    GROUP,
    "scale_collapse",
    "penalty_too_strong",
    "dead_units",
    onset=1,
    world=MINI,
    source="naver/splade, hamed-zamani/snrm#7: a sparsity weight in other units",
)
def sparsity_weight_of_another_width(run: Run, *, planted: bool = True) -> None:
    """Sparse features pay for their mean activation, by a weight for 30,000 words of far smaller activations."""
    weight = 3000.0 if planted else 0.3

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        active = sum(z.abs().mean(dim=0).square().sum() for z in (query, document))
        contrast = functional.cross_entropy(20 * query @ document.T, torch.arange(len(query)))
        return {"contrast": contrast, "flops": weight * active}

    model = Towers(Sparse(run.world.dimension))
    run.train(model, loss, lr=1e-3, weight_decay=0.0, steps=200, similarity="dot")


@program(
    GROUP,
    "forgetting",
    "steps_too_large",
    onset=1,
    world=(MINI, CLAIMS),
    source="lucidrains/byol-pytorch#44: most of each vector is 0",
)
def rectifier_without_a_warm_up(run: Run, *, planted: bool = True) -> None:
    """A rectifier ends the head; Adam starts at .06 without the warm-up that the rate was tuned with."""
    head = Sparse(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.06 if planted else 2e-4)
    run.train(Towers(head), softmax, optimizer=optimizer, steps=200)


class Shrunk(nn.Sequential):
    """A linear map, of which only what is beyond a threshold is left."""

    def __init__(self, dimension: int, threshold: float) -> None:
        super().__init__(identity(dimension), nn.Softshrink(threshold))


@program(
    GROUP,
    "dead_dimensions",
    "dead_units",
    onset=0,
    world=MINI,
    source="harsh19/SPINE#6; a soft threshold for vectors that are not of unit length",
)
def threshold_for_longer_vectors(run: Run, *, planted: bool = True) -> None:
    """A soft threshold of .15 was found for vectors of norm 10; of unit length, hardly an entry is beyond it."""
    head = Shrunk(run.world.dimension, 0.15 if planted else 0.015)
    run.train(Towers(head), softmax, lr=1e-4, steps=200)
