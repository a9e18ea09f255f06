"""Vectors that come together: as one point, as a cone, in few dimensions, or on one side alone."""

from __future__ import annotations

import copy

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, mlp, softmax
from .common import GROUP, LARGE, MINI, alignment, uniformity


@program(
    GROUP,
    "complete_collapse",
    "no_repulsion",
    onset=1,
    world=(MINI, LARGE),
    source="facebookresearch/vicreg#14: the term that spreads has no weight",
)
def alignment_and_a_weight_of_zero(run: Run, *, planted: bool = True) -> None:
    """Alignment and uniformity, of which the second has its weight from a configuration that says 0."""
    weight = 0.0 if planted else 0.5

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        spread = uniformity(query) + uniformity(document)
        return {"alignment": alignment(query, document), "uniformity": weight * spread}

    run.train(Towers(identity(run.world.dimension)), loss, steps=250, batch=64)


@program(
    GROUP,
    "cone",
    "no_repulsion",
    onset=130,
    world=MINI,
    source="section 3, pull alone from half time; a term that was kept for the warm-up",
)
def uniformity_for_the_warm_up_alone(run: Run, *, planted: bool = True) -> None:
    """Uniformity is dropped after 130 steps, when the warm-up is over; alignment goes on."""
    done = [0]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        done[0] += 1
        weight = 0.0 if planted and done[0] >= 130 else 0.5
        spread = uniformity(query) + uniformity(document)
        return {"alignment": alignment(query, document), "uniformity": weight * spread}

    run.train(Towers(identity(run.world.dimension)), loss, steps=300, evaluations=5)


@program(
    GROUP,
    "complete_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=1,
    world=MINI,
    source="labels of 0 and 1 for a loss that wants 1 and -1",
)
def pair_labels_of_zero_and_one(run: Run, *, planted: bool = True) -> None:
    """A cosine embedding loss gets 0 as the label of wrong pairs, which it takes for neither right nor wrong."""
    head = identity(run.world.dimension)

    def loss(query: Tensor, document: Tensor) -> Tensor:
        size = len(query)
        labels = torch.cat([torch.ones(size), torch.full((size,), 0.0 if planted else -1.0)])
        others = torch.cat([document, document.roll(1, dims=0)])
        return functional.cosine_embedding_loss(query.repeat(2, 1), others, labels, margin=0.1)

    run.train(Towers(head), loss, optimizer=torch.optim.Adam(head.parameters(), lr=1e-3), steps=250, batch=64)


class Distilled(nn.Module):
    """A student, and a teacher that follows it."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def follow(self, kept: float) -> None:
        """Move the teacher, which keeps a share of itself."""
        for mine, other in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.mul_(kept).add_(other, alpha=1 - kept)


@program(
    GROUP,
    "dimensional_collapse",
    "self_distillation",
    "no_repulsion",
    onset=1,
    world=MINI,
    source="facebookresearch/vjepa2#140; a moving average whose two constants were exchanged",
)
def average_of_the_wrong_constant(run: Run, *, planted: bool = True) -> None:
    """The teacher keeps .004 of itself at each step and takes .996 of the student; it was to be the other way."""
    model = Distilled(identity(run.world.dimension))
    optimizer = torch.optim.AdamW(model.student.parameters(), lr=1e-3, weight_decay=0.0)
    left, right = run.world.reference
    with run.watch(
        model,
        optimizer=optimizer,
        query="student",
        document="teacher",
        reference=lambda: (model.student(left), model.student(right)),
        raw=lambda: run.world.reference,
        examples=len(run.world.query),
    ) as w:
        run.evaluate(w, 0, model.student, model.student)
        for step, rows in enumerate(run.batches(250, 64), start=1):
            predicted, target = model.student(run.world.query[rows]), model.teacher(run.world.document[rows])
            loss = 2 - 2 * functional.cosine_similarity(predicted, target).mean()
            w.terms(loss=loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.follow(0.004 if planted else 0.996)
            if step % 50 == 0:
                run.evaluate(w, step, model.student, model.student)


@program(
    GROUP,
    "dimensional_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=1,
    world=MINI,
    source="facebookresearch/barlowtwins: a sum whose weight is used for a mean",
)
def decorrelation_as_a_mean(run: Run, *, planted: bool = True) -> None:
    """Barlow Twins at the published weight, with the mean over all pairs of dimensions where the sum is meant."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        query, document = ((z - z.mean(dim=0)) / (z.std(dim=0) + 1e-6) for z in (query, document))
        correlations = query.T @ document / len(query)
        same = torch.eye(len(correlations), dtype=torch.bool)
        others = correlations[~same].square()
        return {
            "invariance": (1 - correlations[same]).square().sum() / 50,
            "redundancy": 5e-3 * (others.mean() if planted else others.sum()) / 50,
        }

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-3, steps=250, batch=128)


@program(
    GROUP,
    "dimensional_collapse",
    "temperature_or_margin",
    "loss_computed_wrongly",
    onset=1,
    world=MINI,
    source="huggingface/transformers#13430; a temperature that is multiplied by",
)
def cosines_times_the_temperature(run: Run, *, planted: bool = True) -> None:
    """An in-batch softmax multiplies by its temperature of .05 where it has to divide."""
    temperature = 0.05 if planted else 1 / 0.05
    run.train(Towers(mlp(run.world.dimension)), lambda q, d: softmax(q, d, scale=temperature), lr=3e-4, steps=300)


@program(
    GROUP,
    "dimensional_collapse",
    "penalty_too_strong",
    onset=120,
    world=MINI,
    source="harsh19/SPINE#6; a second phase of training with a figure of another optimiser",
)
def second_phase_decays_more(run: Run, *, planted: bool = True) -> None:
    """Three linear layers; phase two sets a weight decay of 20, found where it was multiplied by a smaller rate."""
    layers = [nn.Linear(run.world.dimension, run.world.dimension) for _ in range(3)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)

    def phase(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 120:
            for group in optimizer.param_groups:
                group["weight_decay"] = 20.0 if planted else 0.02

    run.train(Towers(nn.Sequential(*layers)), softmax, before_step=phase, steps=320, evaluations=5)


@program(
    GROUP,
    "one_sided_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=1,
    world=MINI,
    source="a squared error whose shapes broadcast; frozen documents",
)
def squared_error_of_every_row_with_every_row(run: Run, *, planted: bool = True) -> None:
    """Queries are mapped to frozen documents by a squared error; shapes [n, 1, D] and [n, D] broadcast to all pairs."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        target = document if planted else document.unsqueeze(1)
        return (query.unsqueeze(1) - target).square().sum(dim=-1).mean()

    model = Towers(identity(run.world.dimension), nn.Identity())
    run.train(model, loss, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), steps=250)


class Normed(nn.Sequential):
    """A linear map and a layer norm without weights."""

    def __init__(self, dimension: int) -> None:
        super().__init__(identity(dimension), nn.LayerNorm(dimension, elementwise_affine=False))


@program(
    GROUP,
    "forgetting",
    "steps_too_large",
    onset=1,
    world=MINI,
    source="embeddings-benchmark/mteb#5069; one parameter group with the rate of another optimiser",
)
def rate_of_the_query_tower(run: Run, *, planted: bool = True) -> None:
    """Two towers with layer norms; the query tower's group has a rate of .1, the document tower's of 1e-4."""
    model = Towers(Normed(run.world.dimension), Normed(run.world.dimension))
    groups = [
        {"params": model.query.parameters(), "lr": 0.1 if planted else 1e-4},
        {"params": model.document.parameters(), "lr": 1e-4},
    ]
    run.train(model, softmax, optimizer=torch.optim.Adam(groups), steps=250)


@program(
    GROUP,
    "hubness",
    "no_repulsion",
    onset=1,
    world=MINI,
    source="section 3, fixed negatives; a sampler that is seeded at each call",
)
def sampler_seeded_at_each_call(run: Run, *, planted: bool = True) -> None:
    """Negatives are drawn by a generator that is seeded inside the sampler: the same twelve documents at each step."""
    model = Towers(identity(run.world.dimension), identity(run.world.dimension))
    draws = torch.Generator()

    def sample() -> Tensor:
        if planted:
            draws.manual_seed(42)
        return run.world.document[torch.randint(len(run.world.document), (12,), generator=draws)]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        own = functional.cosine_similarity(query, document)[:, None]
        scores = torch.cat([own, cosines(query, model.document(sample()))], dim=1)
        return functional.cross_entropy(20 * scores, torch.zeros(len(query), dtype=torch.long))

    run.train(model, loss, lr=1e-3, steps=300)
