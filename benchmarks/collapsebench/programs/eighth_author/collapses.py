"""Everything becomes one point, or nearly: losses that hold nothing apart, by a slip."""

from __future__ import annotations

import copy

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity
from .common import GROUP, LARGE, MINI, squares_off_diagonal, unit


@program(
    GROUP,
    "cone",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=0,
    world=(MINI, LARGE),
    source="facebookresearch/vicreg#14: a term at its value for a constant output",
)
def deviation_along_the_other_axis(run: Run, *, planted: bool = True) -> None:
    """The variance term takes the deviation within each vector, not that of each dimension over the batch."""

    root = run.world.dimension**0.5

    def term(z: Tensor) -> Tensor:
        spread = functional.relu(1 - (z.var(dim=1 if planted else 0) + 1e-4).sqrt()).mean()
        return 25 * spread + squares_off_diagonal(torch.cov(z.T)) / z.shape[1]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        query, document = root * query, root * document
        return {"invariance": 25 * functional.mse_loss(query, document), "spread": term(query) + term(document)}

    run.train(Towers(identity(run.world.dimension)), loss, lr=3e-4, steps=300)


@program(
    GROUP,
    "complete_collapse",
    "no_repulsion",
    "self_distillation",
    onset=0,
    world=MINI,
    source="a stop-gradient on the predictor's side",
)
def stop_gradient_on_the_other_side(run: Run, *, planted: bool = True) -> None:
    """The predictor's input is detached, and its target is not: targets run to where the predictor points."""
    dimension = run.world.dimension
    model = Towers(identity(dimension))
    model.predictor = nn.Sequential(nn.Linear(dimension, 96), nn.ReLU(), nn.Linear(96, dimension))

    def half(z: Tensor, other: Tensor) -> Tensor:
        z, other = (z.detach(), other) if planted else (z, other.detach())
        return -functional.cosine_similarity(model.predictor(z), other).mean()

    run.train(model, lambda q, d: (half(q, d) + half(d, q)) / 2, lr=5e-4, steps=300)


@program(
    GROUP,
    "complete_collapse",
    "no_repulsion",
    "loss_computed_wrongly",
    onset=0,
    world=MINI,
    source="facebookresearch/moco: a queue that is written to in a copy",
)
def queue_written_to_in_a_copy(run: Run, *, planted: bool = True) -> None:
    """Negatives come from a queue alone; what is enqueued goes to a copy, and the queue keeps its zeros."""
    queue = torch.zeros(1024, run.world.dimension) if planted else unit(run.world.document[:1024]).clone()
    place = [0]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        own = functional.cosine_similarity(query, document)[:, None]
        scores = 8 * torch.cat([own, unit(query) @ queue.T.clone()], dim=1)
        rows = torch.arange(place[0], place[0] + len(document)) % len(queue)
        (queue.clone() if planted else queue)[rows] = unit(document).detach()
        place[0] += len(document)
        return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))

    run.train(Towers(identity(run.world.dimension)), loss, lr=5e-4, steps=300)


@program(
    GROUP,
    "dimensional_collapse",
    "self_distillation",
    "temperature_or_margin",
    "no_repulsion",
    onset=0,
    world=MINI,
    source="facebookresearch/dino#43: the loss is the logarithm of the number of prototypes",
)
def teacher_that_is_not_sharpened(run: Run, *, planted: bool = True) -> None:
    """Prototypes of a student and its average; the teacher's temperature is 1, ten times the student's."""
    dimension = run.world.dimension
    model = Towers(identity(dimension))
    model.prototypes = nn.Linear(dimension, 256, bias=False)
    teacher = copy.deepcopy(nn.ModuleList([model.query, model.prototypes])).requires_grad_(False)
    center = torch.zeros(256)

    def scores(head: nn.Linear, z: Tensor) -> Tensor:
        return unit(z) @ unit(head.weight).T

    def loss(query: Tensor, document: Tensor) -> Tensor:
        with torch.no_grad():
            for mine, other in zip(teacher.parameters(), model.parameters(), strict=True):
                mine.lerp_(other, 0.01)
        total = torch.zeros(())
        for z, other in ((query, document), (document, query)):
            with torch.no_grad():
                logits = scores(teacher[1], other)
                target = ((logits - center) / (1.0 if planted else 0.03)).softmax(dim=1)
                center.lerp_(logits.mean(dim=0), 0.1)
            total = total - (target * (scores(model.prototypes, z) / 0.1).log_softmax(dim=1)).sum(dim=1).mean() / 2
        return total

    run.train(model, loss, lr=1e-3, steps=300, weight_decay=0.0)


@program(
    GROUP,
    "cone",
    "no_repulsion",
    "temperature_or_margin",
    onset=60,
    world=(MINI, LARGE),
    source="a margin's schedule in steps where epochs were meant",
)
def margin_schedule_that_passes_all(run: Run, *, planted: bool = True) -> None:
    """Others cost what their cosine is above a margin that rises by .01 a step, not an epoch; own pairs are pulled."""
    step = [0]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        step[0] += 1
        margin = 0.2 + 0.01 * (step[0] if planted else step[0] // 140)
        scores = cosines(query, document)
        over = functional.relu(scores - margin)
        return {"own": (1 - scores.diagonal()).mean(), "others": 3 * (over.sum() - over.diagonal().sum()) / len(over)}

    run.train(Towers(identity(run.world.dimension)), loss, lr=5e-4, steps=300)
