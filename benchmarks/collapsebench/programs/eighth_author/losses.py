"""Losses that lead away from retrieval, and losses that are not finite."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax
from .common import CLAIMS, GROUP, MINI, Seen, scored_cross_entropy, squares_off_diagonal, unit, watched


@program(
    GROUP,
    "loss_against_retrieval",
    "loss_computed_wrongly",
    "temperature_or_margin",
    onset=0,
    world=MINI,
    source="an angular margin in degrees",
)
def margin_in_degrees(run: Run, *, planted: bool = True) -> None:
    """An angular margin of 28.6 degrees, half a radian, goes into a cosine as it is: own pairs are to be opposite."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = cosines(query, document)
        angle = scores.diagonal().clamp(-1 + 1e-6, 1 - 1e-6).acos()
        shifted = (angle + (28.6 if planted else 0.499)).cos()
        return scored_cross_entropy(20 * (scores + torch.diag(shifted - scores.diagonal())))

    run.train(Towers(identity(run.world.dimension)), loss, lr=3e-4, steps=200)


@program(
    GROUP,
    "cone",
    "loss_computed_wrongly",
    "no_repulsion",
    "no_scale_anchor",
    onset=150,
    world=MINI,
    source="a weight that falls along a line without an end",
)
def weight_that_falls_below_nought(run: Run, *, planted: bool = True) -> None:
    """The contrast's weight falls along a line and was to end at a tenth; at step 150 it is 0, and then below."""
    model = Towers(Seen(identity(run.world.dimension)))
    step = [0]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        step[0] += 1
        weight = 1 - step[0] / 150
        kept = functional.mse_loss(torch.cat([query, document]), torch.cat(model.query.inputs))
        return {"contrast": (weight if planted else max(weight, 0.1)) * softmax(query, document), "kept": kept}

    run.train(model, loss, lr=3e-4, steps=300)


@program(
    GROUP,
    "loss_against_retrieval",
    "loss_computed_wrongly",
    onset=0,
    world=CLAIMS,
    source="a cross-correlation from which no identity is taken",
)
def correlations_without_the_one(run: Run, *, planted: bool = True) -> None:
    """Barlow Twins whose diagonal is to be 0: the 1 that is taken off it was lost when the code was moved."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        query, document = ((z - z.mean(dim=0)) / (z.std(dim=0) + 1e-6) for z in (query, document))
        matrix = query.T @ document / len(query)
        own = (matrix.diagonal() - (0.0 if planted else 1.0)).square().sum()
        return {"own": own, "redundancy": 0.005 * squares_off_diagonal(matrix)}

    run.train(Towers(identity(run.world.dimension)), loss, lr=3e-4, steps=300, batch=128)


@program(
    GROUP,
    "divergence",
    "loss_computed_wrongly",
    "batch_dependent_vectors",
    onset=41,
    world=MINI,
    source="the last batch of an epoch holds one row",
)
def deviation_of_one_row(run: Run, *, planted: bool = True) -> None:
    """Vectors are divided by their batch's deviation; of 2,561 pairs the last batch has one, and its deviation none."""
    model = Towers(identity(run.world.dimension))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    query, document = run.world.query, run.world.document
    with watched(run, model, optimizer) as w:
        run.evaluate(w, 0, model.query, model.query)
        step = 0
        while step < 160:
            for rows in torch.randperm(2561).split(64):
                if step == 160 or (len(rows) < 64 and not planted):
                    continue
                step += 1
                asked, told = model.query(query[rows]), model.query(document[rows])
                loss = softmax(asked / (asked.std(dim=0) + 0.01), told / (told.std(dim=0) + 0.01), scale=10)
                w.terms(loss=loss)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                if step % 40 == 0:
                    run.evaluate(w, step, model.query, model.query)


@program(
    GROUP,
    "divergence",
    "half_precision",
    "loss_computed_wrongly",
    onset=60,
    world=MINI,
    source="the logarithm of 0 in half precision",
)
def probabilities_in_half(run: Run, *, planted: bool = True) -> None:
    """From step 60 on a teacher is joined; probabilities are float16, and many of them 0, before their logarithm."""
    model = Towers(Seen(identity(run.world.dimension)))
    step = [0]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        step[0] += 1
        terms = {"contrast": softmax(query, document)}
        if step[0] >= 60:
            target = (40 * cosines(*model.query.inputs)).softmax(dim=1)
            scores = 40 * cosines(query, document)
            found = scores.softmax(dim=1).half().float().log() if planted else scores.log_softmax(dim=1)
            terms["teacher"] = -(target * found).sum(dim=1).mean()
        return terms

    run.train(model, loss, lr=1e-4, steps=200)


@program(
    GROUP,
    "divergence",
    "loss_computed_wrongly",
    onset=100,
    world=MINI,
    source="the angle between a vector and itself",
)
def angle_to_itself(run: Run, *, planted: bool = True) -> None:
    """From step 100 on documents are spread by their mean angle, in which each one's to itself is counted."""
    step = [0]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        step[0] += 1
        terms = {"contrast": softmax(query, document)}
        if step[0] >= 100:
            scores = unit(document) @ unit(document).T
            if not planted:
                scores = scores[~torch.eye(len(scores), dtype=torch.bool)].clamp(-0.999, 0.999)
            terms["spread"] = -0.1 * scores.clamp(-1, 1).acos().mean()
        return terms

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4, steps=200)
