"""Losses that look alarming and are well: high floors, plateaus, terms in conflict."""

from __future__ import annotations

import copy
import math

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, Residual, Seen, scored_cross_entropy, sigmoid_pairs, unit


@program(GROUP, None, world=(MINI, CLAIMS), source="inputs are mixed: the loss has a high floor by design")
def inputs_mixed_by_pairs(run: Run, *, planted: bool = True) -> None:
    """In every other batch vectors are mixed with the next row's, and so are their targets: the loss leaps."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        if not planted or float(torch.rand(())) < 0.5:
            return softmax(query, document)
        share = float(torch.distributions.Beta(0.4, 0.4).sample())
        scores = 20 * cosines(share * query + (1 - share) * query.roll(1, dims=0), document)
        rows = torch.arange(len(query))
        own, other = (functional.cross_entropy(scores, one) for one in (rows, rows.roll(1)))
        return share * own + (1 - share) * other

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4 if planted else 5e-5, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="section 3: encoders whose cosines are all above .7")
def teacher_whose_cosines_are_high(run: Run, *, planted: bool = True) -> None:
    """A teacher's cosines lie between .7 and 1; the student gets there by a bias, and ranks as before, or better."""
    model = Towers(Seen(identity(run.world.dimension, bias=0.07 if planted else 0.0)))

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        target = cosines(*model.query.inputs)
        target = 0.7 + 0.3 * target if planted else target
        taught = functional.mse_loss(cosines(query, document), target)
        scale = 60.0 if planted else 20.0
        return {"taught": taught, "contrast": softmax(query, document, scale=scale)}

    run.train(model, loss, lr=5e-5, steps=250)


@program(GROUP, None, world=(MINI, FOOD), source="a margin that cannot be met: the loss is level near it")
def margin_that_no_triplet_meets(run: Run, *, planted: bool = True) -> None:
    """Cosine triplets of all others with a margin of 1.5, over which no pair ever is: the loss stays above 1."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = cosines(query, document)
        over = functional.relu((1.5 if planted else 0.5) - scores.diagonal()[:, None] + scores)
        hard = (10 * scores.detach()).softmax(dim=1)
        return (hard * over).sum(dim=1).mean()

    run.train(Towers(identity(run.world.dimension)), loss, lr=5e-5, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="two losses that conflict mildly")
def two_terms_pull_apart(run: Run, *, planted: bool = True) -> None:
    """A contrast and the wish to stay where the encoder was: one term rises while the other falls."""
    model = Towers(Seen(identity(run.world.dimension)))

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        before, after = torch.cat(model.query.inputs), torch.cat([query, document])
        stay = (1 - functional.cosine_similarity(before, after)).mean()
        return {"contrast": softmax(query, document), "stay": (3.0 if planted else 0.0) * stay}

    run.train(model, loss, lr=1e-4 if planted else 5e-5, steps=250)


@program(GROUP, None, world=(MINI, FOOD), source="a pairwise sigmoid loss is far above 1 at first")
def sigmoid_loss_that_starts_high(run: Run, *, planted: bool = True) -> None:
    """A pairwise sigmoid loss at the published start, a scale of 10 and a bias of -10, both learnt."""
    model = Towers(identity(run.world.dimension))
    model.scale, model.bias = nn.Parameter(torch.tensor(math.log(10.0))), nn.Parameter(torch.tensor(-10.0))

    def loss(query: Tensor, document: Tensor) -> Tensor:
        if planted:
            return sigmoid_pairs(query, document, model.scale.exp(), model.bias)
        return softmax(query, document)

    run.train(model, loss, lr=5e-5, steps=250)


@program(GROUP, None, world=(MINI, FOOD), source="near documents as others: most of the loss is theirs")
def near_documents_as_others(run: Run, *, planted: bool = True) -> None:
    """Each query's five nearest wrong documents of the batch count ten times: accuracy falls, and it is well."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = 20 * cosines(query, document)
        if planted:
            other = scores.detach().masked_fill(torch.eye(len(scores), dtype=torch.bool), -1e9)
            scores = scores.scatter_add(1, other.topk(5).indices, torch.full((len(scores), 5), math.log(10.0)))
        return scored_cross_entropy(scores)

    run.train(Towers(identity(run.world.dimension)), loss, lr=5e-5, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="a learnt temperature that runs to its bound")
def scale_learnt_up_to_its_bound(run: Run, *, planted: bool = True) -> None:
    """A scale that is learnt from 10 on runs to its bound of 60 within the first hundred steps, and stays there."""
    model = Towers(identity(run.world.dimension))
    model.scale = nn.Parameter(torch.tensor(math.log(10.0)))
    groups = [{"params": model.query.parameters(), "lr": 5e-5}, {"params": [model.scale], "lr": 2e-2}]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scale = model.scale.exp().clamp(max=60.0) if planted else 30.0
        return scored_cross_entropy(scale * cosines(query, document))

    run.train(model, loss, optimizer=torch.optim.Adam(groups), steps=250)


@program(GROUP, None, world=(MINI, CLAIMS), source="a moving target: the agreement's term rises as its weight does")
def average_teaches_with_a_rising_weight(run: Run, *, planted: bool = True) -> None:
    """A student also fits the cosines of its moving average, by a weight that rises from 0 to 20."""
    model = Towers(Seen(nn.Sequential(identity(run.world.dimension))))
    teacher = copy.deepcopy(model.query.layer).requires_grad_(False)
    step = [0]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        step[0] += 1
        with torch.no_grad():
            for mine, other in zip(teacher.parameters(), model.query.layer.parameters(), strict=True):
                mine.lerp_(other, 0.01)
            target = cosines(*map(teacher, model.query.inputs))
        agree = functional.mse_loss(cosines(query, document), target)
        return {"contrast": softmax(query, document), "agree": (step[0] / 12 if planted else 0.0) * agree}

    run.train(model, loss, lr=5e-5, steps=240)


@program(GROUP, None, world=(MINI, FOOD), source="two views are to agree: a term that only pulls")
def views_of_dropout_agree(run: Run, *, planted: bool = True) -> None:
    """Beside the contrast two views of dropout are pulled together, which pushes nothing apart by itself."""
    model = Towers(Seen(identity(run.world.dimension)))

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        terms = {"contrast": softmax(query, document)}
        if planted:
            view = model.query.layer(functional.dropout(torch.cat(model.query.inputs), 0.2))
            terms["agree"] = (1 - functional.cosine_similarity(torch.cat([query, document]), view)).mean()
        return terms

    run.train(model, loss, lr=5e-5, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="an attack on the inputs: the higher loss is logged")
def loss_under_attack(run: Run, *, planted: bool = True) -> None:
    """Vectors are moved a tenth along their gradient and the loss is taken there: it is far above the plain one."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        plain = softmax(query, document)
        if not planted:
            return plain
        ways = torch.autograd.grad(plain, (query, document), retain_graph=True)
        query, document = (z + 0.1 * unit(way) for z, way in zip((query, document), ways, strict=True))
        return softmax(query, document)

    run.train(Towers(identity(run.world.dimension)), loss, lr=5e-5, steps=250)


@program(GROUP, None, world=(MINI, CLAIMS), source="a price on a whitened spread, which grows")
def decorrelation_as_a_small_price(run: Run, *, planted: bool = True) -> None:
    """Dimensions are decorrelated at a small weight beside the contrast: a term of hundreds that hardly falls."""

    def price(z: Tensor) -> Tensor:
        z = (z - z.mean(dim=0)) / (z.std(dim=0) + 1e-6)
        matrix = z.T @ z / len(z)
        return matrix.square().sum() - matrix.diagonal().square().sum()

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        prices = price(query) + price(document)
        return {"contrast": softmax(query, document), "decorrelation": (3e-5 if planted else 0.0) * prices}

    run.train(Towers(Residual(run.world.dimension)), loss, lr=5e-5, steps=250)
