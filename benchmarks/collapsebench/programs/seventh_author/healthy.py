"""Trainings that look alarming and are well."""

from __future__ import annotations

import copy

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, Adapter, alignment, uniformity, unit


@program(GROUP, None, world=MINI, source="omoindrot/tensorflow-triplet-loss#59")
def mean_over_what_still_violates(run: Run, *, planted: bool = True) -> None:
    """All triplets of a batch, and the mean over those that still violate: the loss stays level, or rises."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = cosines(query, document)
        over = functional.relu(0.2 - scores.diagonal()[:, None] + scores)
        over = over[~torch.eye(len(over), dtype=torch.bool)]
        return over.sum() / (over > 0).sum().clamp_min(1) if planted else 10 * over.mean()

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4, weight_decay=0.0, steps=200)


class Scaled(nn.Module):
    """A linear map whose output a number multiplies."""

    def __init__(self, dimension: int, scale: float) -> None:
        super().__init__()
        self.layer, self.scale = identity(dimension), scale

    def forward(self, x: Tensor) -> Tensor:
        """Return long vectors, or short ones."""
        return self.scale * self.layer(x)


@program(GROUP, None, world=(MINI, CLAIMS), source="StarlightSearch/EmbedAnything#210")
def sum_where_the_mean_is_usual(run: Run, *, planted: bool = True) -> None:
    """Pooling by the sum of 300 tokens, not their mean: norms are 300, and cosines see nothing of it."""
    run.train(Towers(Scaled(run.world.dimension, 300.0 if planted else 1.0)), softmax, lr=1e-4, steps=300)


class Prompted(nn.Module):
    """One vector that is added to every text's, and a linear map of the sum."""

    def __init__(self, dimension: int, length: float) -> None:
        super().__init__()
        self.prompt = nn.Parameter(length * functional.normalize(torch.randn(dimension), dim=0))
        self.layer = identity(dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors that have much in common."""
        return self.layer(x + self.prompt)


@program(GROUP, None, world=(MINI, FOOD), source="section 3: cosines all above .7")
def prompt_that_all_texts_share(run: Run, *, planted: bool = True) -> None:
    """A prompt's vector is added to queries and documents: all cosines are above .7, at a temperature of .01."""
    model = Towers(Prompted(run.world.dimension, 2.0 if planted else 0.0))
    run.train(model, lambda q, d: softmax(q, d, scale=100), lr=5e-5, weight_decay=0.0, steps=200)


@program(GROUP, None, world=LARGE, source="section 3: half of the dimensions of most encoders are nearly free")
def half_of_the_dimensions(run: Run, *, planted: bool = True) -> None:
    """The head starts as the first 384 principal directions of documents, of 768."""
    head: nn.Module = identity(run.world.dimension)
    if planted:
        centred = run.world.document - run.world.document.mean(dim=0)
        directions = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :384]
        head = nn.Linear(run.world.dimension, 384)
        with torch.no_grad():
            head.weight.copy_(directions.T)
            head.bias.zero_()
    run.train(Towers(head), softmax, lr=5e-5, steps=200)


class Rectified(nn.Module):
    """Positive and negative parts of a linear map."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layer = identity(dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors of which half are zeros."""
        z = self.layer(x)
        return functional.relu(torch.cat([z, -z], dim=1))


@program(GROUP, None, world=MINI, source="hamed-zamani/snrm#7")
def parts_of_both_signs_are_sparse(run: Run, *, planted: bool = True) -> None:
    """A rectifier over both signs and an L1 term: more than half of every vector is zero."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        lengths = torch.cat(unit(query, document)).abs().sum(dim=1).mean()
        return {"contrast": softmax(query, document), "sparse": (0.003 if planted else 0.0) * lengths}

    run.train(Towers(Rectified(run.world.dimension)), loss, lr=1e-4, steps=200)


@program(GROUP, None, world=MINI, source="section 3: warm-up")
def most_of_it_is_warm_up(run: Run, *, planted: bool = True) -> None:
    """A quadratic warm-up over 240 of 300 steps: for the first hundred nothing seems to move."""

    def warm(step: int, optimizer: torch.optim.Optimizer) -> None:
        if planted:
            optimizer.param_groups[0]["lr"] = 2e-4 * min(1.0, step / 240) ** 2

    rate = 2e-4 if planted else 1e-4
    run.train(Towers(identity(run.world.dimension)), softmax, lr=rate, steps=300, before_step=warm)


@program(GROUP, None, world=MINI, source="gradients clipped to almost nothing under Adam")
def clipped_to_a_millionth_under_adam(run: Run, *, planted: bool = True) -> None:
    """Gradients are clipped to a norm of 1e-4; Adam divides by their size, and the steps are what they were."""
    model = Adapter(run.world.dimension)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, eps=1e-12)
    with run.watch(
        model,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: tuple(map(model, run.world.reference)),
        raw=lambda: run.world.reference,
        examples=len(run.world.query),
    ) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(model(run.world.query[rows]), model(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-4 if planted else 1e4)
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


class Autocast(nn.Module):
    """A linear map that computes in bfloat16 and keeps its weights in single precision."""

    def __init__(self, dimension: int, *, half: bool) -> None:
        super().__init__()
        self.layer, self.half_type = identity(dimension), half

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.half_type):
            return self.layer(x)


@program(GROUP, None, world=MINI, source="mixed precision as it should be")
def bfloat16_over_weights_in_full(run: Run, *, planted: bool = True) -> None:
    """Vectors are bfloat16 under autocast, weights and moments single precision; the rate is small."""
    model = Towers(Autocast(run.world.dimension, half=planted))
    run.train(model, lambda q, d: softmax(q.float(), d.float()), lr=5e-5, steps=200)


@program(GROUP, None, world=MINI, source="lucas-ventura/CoVR#38: training looks worse than the test")
def half_of_the_input_is_dropped(run: Run, *, planted: bool = True) -> None:
    """Half of every input is dropped in training: batches are told apart far less well than held-out pairs."""
    head = nn.Sequential(nn.Dropout(0.5 if planted else 0.0), identity(run.world.dimension))
    run.train(Towers(head), softmax, lr=1e-4, steps=200)


@program(GROUP, None, world=(MINI, FOOD), source="an average of weights, which lags")
def average_of_weights_is_scored(run: Run, *, planted: bool = True) -> None:
    """What is scored is the moving average of the weights: right, and always behind what is trained."""
    model = Towers(identity(run.world.dimension))
    average = copy.deepcopy(model).requires_grad_(False)

    def follow(step: int, optimizer: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            for mine, other in zip(average.parameters(), model.parameters(), strict=True):
                mine.lerp_(other, 0.02)

    scored = average if planted else None
    run.train(model, softmax, lr=2e-4 if planted else 1e-4, steps=200, before_step=follow, scored=scored)


@program(GROUP, None, world=MINI, source="facebookresearch/simsiam#21: the loss is negative")
def below_nought_from_the_start(run: Run, *, planted: bool = True) -> None:
    """Alignment and uniformity without the constant that some add: the total is below -2 at once, and falls."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        spread = uniformity(query) + uniformity(document)
        return {"alignment": alignment(query, document), "uniformity": 0.5 * spread + (0.0 if planted else 4.0)}

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4, steps=200)


@program(GROUP, None, world=MINI, source="facebookresearch/moco#9: the loss climbs")
def queue_that_fills(run: Run, *, planted: bool = True) -> None:
    """A queue of earlier documents is empty at first: the loss climbs as it fills up to 3,000."""
    queue: list[Tensor] = []

    def loss(query: Tensor, document: Tensor) -> Tensor:
        candidates = torch.cat([document, *queue])
        if planted:
            queue.append(document.detach())
            del queue[:-47]
        return functional.cross_entropy(20 * cosines(query, candidates), torch.arange(len(query)))

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4, steps=200)


@program(GROUP, None, world=MINI, source="focal weights: easy pairs count for nothing")
def focal_weights(run: Run, *, planted: bool = True) -> None:
    """A focal softmax with an exponent of 3: the loss is a hundredth of the usual from the first step on."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = 30 * cosines(query, document)
        each = functional.cross_entropy(scores, torch.arange(len(scores)), reduction="none")
        return ((1 - (-each).exp()).pow(3) * each if planted else each).mean()

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4, steps=200)
