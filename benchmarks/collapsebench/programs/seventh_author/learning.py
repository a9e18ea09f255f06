"""Nothing is learnt, or what was known is lost."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import identity, softmax
from .common import CLAIMS, GROUP, MINI, Adapter, triplets, unit


def cosent(query: Tensor, document: Tensor, labels: Tensor) -> Tensor:
    """Return the log of what all pairs in the wrong order are worth, at scale 20."""
    scores = 20 * functional.cosine_similarity(query, document)
    wrong = scores[:, None] - scores[None]
    kept = wrong[labels[:, None] < labels[None]]
    return torch.logsumexp(torch.cat([torch.zeros(1), kept]), dim=0) + 0.0 * scores.sum()


@program(
    GROUP,
    "no_learning",
    "nothing_left_to_learn_from",
    "loss_computed_wrongly",
    onset=0,
    world=(MINI, CLAIMS),
    source="FlagOpen/FlagEmbedding#823; a ranking of scores where all labels are equal",
)
def ranking_of_equal_labels(run: Run, *, planted: bool = True) -> None:
    """CoSENT ranks pairs by their labels; the file holds right pairs alone, so that no two labels differ."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        size = len(query)
        if planted:
            return cosent(query, document, torch.ones(size))
        others = torch.cat([document, document.roll(1, dims=0)])
        return cosent(query.repeat(2, 1), others, torch.cat([torch.ones(size), torch.zeros(size)]))

    head = identity(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-4)
    run.train(Towers(head), loss, optimizer=optimizer, steps=200)


@program(
    GROUP,
    "no_learning",
    "nothing_left_to_learn_from",
    "temperature_or_margin",
    onset=0,
    world=MINI,
    source="section 4, slugs: every margin met; distances squared in one library and not in another",
)
def margin_that_random_negatives_meet(run: Run, *, planted: bool = True) -> None:
    """A triplet margin of .5 was divided by 100 with a percentage; nearly all random negatives meet .005."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return triplets(*unit(query, document), margin=0.005 if planted else 0.5)

    head = identity(run.world.dimension)
    run.train(Towers(head), loss, optimizer=torch.optim.SGD(head.parameters(), lr=0.1), steps=200, batch=64)


@program(
    GROUP,
    "no_learning",
    "not_trained",
    onset=0,
    world=MINI,
    source="adapter-hub/adapters#260: the optimiser was built first",
)
def head_replaced_after_the_optimiser(run: Run, *, planted: bool = True) -> None:
    """A pipeline builds model and optimiser, and then swaps the head for one of the right start."""
    model = Towers(nn.Linear(run.world.dimension, run.world.dimension))
    first = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model = Towers(identity(run.world.dimension))
    optimizer = first if planted else torch.optim.AdamW(model.parameters(), lr=1e-4)
    run.train(model, softmax, optimizer=optimizer, steps=200)


@program(
    GROUP,
    "no_learning",
    "steps_too_small",
    onset=0,
    world=MINI,
    source="huggingface/sentence-transformers#2982; a warm-up longer than the training",
)
def warm_up_of_a_longer_training(run: Run, *, planted: bool = True) -> None:
    """SGD at .5 with a linear warm-up of 1,000,000 steps, those of a pre-training; this one has 300."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    warm = 1_000_000 if planted else 30

    def schedule(step: int, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * min(1.0, step / warm)

    run.train(Towers(head), softmax, optimizer=optimizer, steps=200, before_step=schedule)


@program(
    GROUP,
    "no_learning",
    "steps_too_small",
    onset=1,
    world=MINI,
    source="max_norm and eps exchanged; SGD",
)
def clipped_to_an_epsilon(run: Run, *, planted: bool = True) -> None:
    """Gradients are clipped to a norm of 1e-6, a figure that belongs to the next argument; SGD takes what is left."""
    model = Adapter(run.world.dimension, std=0.02)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    with run.watch(
        model,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: tuple(map(model, run.world.reference)),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(model(run.world.query[rows]), model(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-6 if planted else 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, model, model)


@program(
    GROUP,
    "forgetting",
    "steps_too_large",
    onset=150,
    world=MINI,
    source="revantteotia/clip-training#3; warm restarts whose peak is that of another optimiser",
)
def warm_restart_at_a_higher_peak(run: Run, *, planted: bool = True) -> None:
    """A cosine of rates from 1e-4 on, which restarts at step 150 from .03: the peak of a recipe with SGD."""
    head = identity(run.world.dimension)

    def restart(step: int, optimizer: torch.optim.Optimizer) -> None:
        peak = 0.03 if planted and step >= 150 else 1e-4
        rate = peak * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step % 150) / 150)).item())
        optimizer.param_groups[0]["lr"] = rate

    optimizer = torch.optim.Adam(head.parameters(), lr=1e-4)
    run.train(Towers(head), softmax, optimizer=optimizer, steps=299, before_step=restart, evaluations=6)


@program(
    GROUP,
    "forgetting",
    "narrow_data",
    onset=1,
    world=MINI,
    source="mertyg/vision-language-models-are-bows#4: one domain",
)
def pairs_of_one_topic(run: Run, *, planted: bool = True) -> None:
    """Only pairs near one question are left after a filter by topic, a tenth of all; a head of one layer at 2e-3."""
    near = (run.world.query @ run.world.query[7]).argsort(descending=True)[: len(run.world.query) // 10]
    rows = near if planted else torch.arange(len(run.world.query))
    pairs = run.world.query[rows], run.world.document[rows]
    rate = 2e-3 if planted else 2e-4
    run.train(Towers(identity(run.world.dimension)), softmax, lr=rate, steps=200, pairs=pairs, rows=len(rows))


@program(
    GROUP,
    "forgetting",
    "random_head",
    onset=0,
    world=MINI,
    source="qdrant/demo-cloud-faq#1; a projection head of contrastive pre-training on top of a good encoder",
)
def projection_head_of_a_pretraining(run: Run, *, planted: bool = True) -> None:
    """A projection of three random layers with batch norms is put on a good encoder, as pre-training has it."""
    dimension = run.world.dimension
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(dimension, dimension), nn.BatchNorm1d(dimension), nn.ReLU()]
    head = nn.Sequential(*layers, nn.Linear(dimension, dimension)) if planted else Adapter(dimension)
    run.train(Towers(head), softmax, lr=1e-3 if planted else 1e-4, steps=200, batch=128)
