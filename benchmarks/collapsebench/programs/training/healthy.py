"""Healthy ones that look alarming."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax
from .common import GROUP, MPNET, SCIFACT, Predictor, frozen_documents


def _plain(run: Run, head: nn.Module, loss: object, *, lr: float = 1e-4, steps: int = 200, batch: int = 64) -> None:
    """Train one head for both sides in the shortest loop that there is."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(steps, batch), start=1):
            found = loss(head(run.world.query[rows]), head(run.world.document[rows]))
            found.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0 or step == steps:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="wenet-e2e/wespeaker#426")
def margin_inside_the_logits(run: Run, *, planted: bool = True) -> None:
    """A margin of .25 taken off the own cosine: the loss is high and the batch's accuracy near 0 for long."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = cosines(query, document) - (0.25 if planted else 0.0) * torch.eye(len(query))
        return functional.cross_entropy(30 * scores, torch.arange(len(query)))

    _plain(run, identity(run.world.dimension), loss)


@program(GROUP, None, source="omoindrot/tensorflow-triplet-loss#59", world=MPNET)
def mean_over_active_triplets(run: Run, *, planted: bool = True) -> None:
    """A triplet loss that is the mean over triplets that still violate: level or rising while their share falls."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = cosines(query, document)
        violated = functional.relu(0.15 + scores - scores.diagonal()[:, None]) * (1 - torch.eye(len(query)))
        return violated.sum() / ((violated > 0).sum().clamp_min(1) if planted else 64)

    _plain(run, identity(run.world.dimension), loss)


@program(GROUP, None, source="facebookresearch/simsiam#21")
def negative_loss(run: Run, *, planted: bool = True) -> None:
    """Minus a bound on the information that both sides share: below 0 from the first step on, and falling."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return softmax(query, document, scale=50.0) - (torch.tensor(len(query)).log() if planted else 0.0)

    _plain(run, identity(run.world.dimension), loss)


@program(GROUP, None, source="huggingface/sentence-transformers#3420", world=SCIFACT)
def short_last_batch(run: Run, *, planted: bool = True) -> None:
    """Epochs whose last batch holds four pairs: the loss drops and the gradient's norm leaps at the end of each."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-5)
    generator = torch.Generator().manual_seed(run.seed)
    step = 0
    with run.watch(head, optimizer=optimizer, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, head, head)
        for epoch in range(1, 21):
            for rows in torch.randperm(len(run.world.query), generator=generator).split(98):
                if planted or len(rows) == 98:
                    step += 1
                    softmax(head(run.world.query[rows]), head(run.world.document[rows])).backward()
                    optimizer.step()
                    optimizer.zero_grad()
            w.window(epoch=epoch)
            if epoch % 5 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="OFA-Sys/Chinese-CLIP#42")
def two_sides_far_apart(run: Run, *, planted: bool = True) -> None:
    """Two towers whose biases point away from each other: true pairs at a cosine near 0, and their order is right."""
    bias = 0.03 if planted else 0.0
    dimension = run.world.dimension
    towers = Towers(identity(dimension, bias=bias), identity(dimension, bias=-bias))
    run.train(towers, lambda q, d: softmax(q, d, scale=100.0), lr=1e-4, steps=200)


@program(GROUP, None, source="hamed-zamani/snrm#7")
def sparse_codes(run: Run, *, planted: bool = True) -> None:
    """A rectified code twice as wide with a small L1: four fifths of it are 0, and no unit is 0 for all texts."""
    dimension = run.world.dimension
    layer = nn.Linear(dimension, 2 * dimension)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([torch.eye(dimension), -torch.eye(dimension)]))
        layer.bias.fill_(-0.01 if planted else 0.0)
    head = nn.Sequential(layer, nn.ReLU())

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return softmax(query, document) + (1e-3 if planted else 0.0) * (query.sum(dim=1) + document.sum(dim=1)).mean()

    _plain(run, head, loss, lr=3e-5)


@program(GROUP, None, source="StarlightSearch/EmbedAnything#210", world=MPNET)
def norms_of_a_hundredth(run: Run, *, planted: bool = True) -> None:
    """A head that starts at a hundredth of the identity, under cosines: scale says nothing there."""
    head = nn.Linear(run.world.dimension, run.world.dimension, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.eye(run.world.dimension) * (0.01 if planted else 1.0))
    _plain(run, head, softmax, lr=1e-6 if planted else 1e-4)


@program(GROUP, None, source="princeton-nlp/SimCSE#264")
def trained_through_a_head_that_is_left_out(run: Run, *, planted: bool = True) -> None:
    """A projection head that the loss sees and scoring leaves out, by design."""
    body, head = identity(run.world.dimension), identity(run.world.dimension) if planted else nn.Identity()
    model = nn.Sequential(body, head)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    with run.watch(
        model,
        optimizer=optimizer,
        query="0",
        document="0",
        reference=lambda: tuple(body(x) for x in run.world.reference),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, body, body)
        for step, rows in enumerate(run.batches(100, 64), start=1):
            softmax(model(run.world.query[rows]), model(run.world.document[rows])).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, body, body)


@program(GROUP, None, source="section 3: no learning, a converged start")
def converged_before_it_starts(run: Run, *, planted: bool = True) -> None:
    """A head that was trained before and goes on at a rate of 1e-6: nothing moves, since nothing has to."""
    head = identity(run.world.dimension)
    before = torch.optim.AdamW(head.parameters(), lr=1e-4)
    for rows in run.batches(300 if planted else 200, 64):
        softmax(head(run.world.query[rows]), head(run.world.document[rows])).backward()
        before.step()
        before.zero_grad()
    _plain(run, head, softmax, lr=1e-6 if planted else 1e-4, steps=100)


@program(GROUP, None, source="section 3: no learning, a warm-up", world=SCIFACT)
def long_warm_up(run: Run, *, planted: bool = True) -> None:
    """A rate that is 0 for the first step and rises over half of the run."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 150) ** 2 if planted else 0.5)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            softmax(head(run.world.query[rows]), head(run.world.document[rows])).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="FlagOpen/FlagEmbedding#403")
def loss_of_nought_now_and_then(run: Run, *, planted: bool = True) -> None:
    """Batches of four easy pairs at scale 100, rounded as they are logged: a loss of 0.0 in most steps."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-5)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(400, 4 if planted else 8), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]), scale=100.0)
            w.monitor(loss_as_logged=round(loss.item(), 1))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="section 3: learnt small gates")
def gate_that_opens_a_little(run: Run, *, planted: bool = True) -> None:
    """A correction whose gate starts at 0 and opens by a few hundredths, and helps."""
    head = Predictor(run.world.dimension, gate=0.0 if planted else 0.01)
    groups = [{"params": head.net.parameters(), "lr": 1e-3}, {"params": [head.gate], "lr": 2e-3}]
    frozen_documents(run, head, torch.optim.AdamW(groups, weight_decay=0.0))


@program(GROUP, None, source="section 3: one-sided, frozen documents by design", world=MPNET)
def index_that_stays(run: Run, *, planted: bool = True) -> None:
    """A linear head of the queries alone, over an index that is not computed anew."""
    if not planted:
        _plain(run, identity(run.world.dimension), softmax)
        return
    head = identity(run.world.dimension)
    frozen_documents(run, head, torch.optim.AdamW(head.parameters(), lr=1e-4), taps=())


@program(GROUP, None, source="section 3: mismatched pairs, hard but true ones")
def hardest_half(run: Run, *, planted: bool = True) -> None:
    """Only the half of the pairs whose own cosine is the lowest: they look mismatched, and are right."""
    own = functional.cosine_similarity(run.world.query, run.world.document)
    order = own.argsort() if planted else torch.randperm(len(own), generator=torch.Generator().manual_seed(run.seed))
    chosen = order[: len(own) // 2]
    pairs = run.world.query[chosen], run.world.document[chosen]
    head = Towers(identity(run.world.dimension))
    run.train(head, softmax, lr=5e-5, steps=100, pairs=pairs, rows=len(chosen))


@program(GROUP, None, source="section 3: divergence; steps that a loss scale skips")
def first_steps_skipped_by_the_loss_scale(run: Run, *, planted: bool = True) -> None:
    """A loss scale that starts far too high: the first gradients are not finite, and their steps are left out."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4)
    scale = 2.0**138 if planted else 1.0
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]))
            (loss * 2.0**100 * (scale / 2.0**100)).backward()
            held = [one.grad for one in head.parameters()]
            if all(torch.isfinite(one).all() for one in held):
                for one in held:
                    one.div_(scale)
                optimizer.step()
            else:
                scale /= 16
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="section 3: dimensional, half of the dimensions are nearly free")
def nested_dimensions(run: Run, *, planted: bool = True) -> None:
    """A loss at the first 48, 96, 192 and all dimensions: the first ones hold most of the spread."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        widths = (48, 96, 192, query.shape[1]) if planted else (query.shape[1],)
        return sum(softmax(query[:, :width], document[:, :width]) for width in widths) / len(widths)

    _plain(run, identity(run.world.dimension), loss)
