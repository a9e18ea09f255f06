"""Trainings that look alarming and are well."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax

GROUP = "development"
MINI, MPNET = "minilm/medquad/scifact", "mpnet/medquad/scifact"
SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"
ELSEWHERE = "minilm/medquad/nfcorpus"


def loop(
    run: Run,
    net: nn.Module,
    opt: torch.optim.Optimizer,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int = 160,
    size: int = 64,
    after: Callable[[int], None] | None = None,
    **options: Any,
) -> None:
    """Train one map of both sides."""
    with run.watch(net, optimizer=opt, **options) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(steps, size), start=1):
            opt.zero_grad()
            loss(net(run.world.query[rows]), net(run.world.document[rows])).backward()
            opt.step()
            if after is not None:
                after(step)
            if step % (steps // 4) == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI,), source="facebookresearch/vjepa2#44")
def loss_that_rises_with_its_target(run: Run, *, planted: bool = True) -> None:
    """A predictor of a moving average beside a contrast whose weight grows: the whole loss rises, and all is well."""
    student, predictor = identity(run.world.dimension), identity(run.world.dimension)
    teacher = copy.deepcopy(student).requires_grad_(False)
    opt = torch.optim.AdamW([*student.parameters(), *predictor.parameters()], lr=5e-5)
    with run.watch(student, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, student, student)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            q, d = student(run.world.query[rows]), student(run.world.document[rows])
            with torch.no_grad():
                target = teacher(run.world.document[rows])
            weight = 0.3 + step / 110 if planted else 1.0
            predicted = (1 - functional.cosine_similarity(predictor(q), target)).mean()
            w.terms(predicted=predicted, contrast=weight * softmax(q, d, scale=30.0))
            (predicted + weight * softmax(q, d, scale=30.0)).backward()
            opt.step()
            opt.zero_grad()
            with torch.no_grad():
                for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                    slow.lerp_(fast, 0.02)
            if step % 75 == 0:
                run.evaluate(w, step, student, student)


@program(GROUP, None, world=(MINI,), source="Tiiiger/bert_score#201, allenai/allennlp#5574")
def pooler_that_nobody_asks(run: Run, *, planted: bool = True) -> None:
    """A random pooler stands in the model and in the optimiser, and is on no path: it never gets a gradient."""

    class Model(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.dense = identity(dimension)
            if planted:
                self.pooler = nn.Sequential(nn.Linear(dimension, dimension), nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            return self.dense(x)

    model = Model(run.world.dimension)
    loop(run, model, torch.optim.AdamW(model.parameters(), lr=5e-5), softmax)


@program(GROUP, None, world=(MINI,), source="lucas-ventura/CoVR#38; large batches")
def five_hundred_candidates(run: Run, *, planted: bool = True) -> None:
    """Batches of 512, or of 64: the loss is higher and the accuracy lower, since there are more to choose from."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    loop(run, net, opt, softmax, steps=80, size=512 if planted else 64, examples=len(run.world.query))


@program(GROUP, None, world=(MINI,), source="luyug/GC-DPR#12")
def cached_gradients(run: Run, *, planted: bool = True) -> None:
    """Vectors are made twice a step: without gradients for the loss, and again in parts for the weights."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            texts = torch.cat([run.world.query[rows], run.world.document[rows]])
            if planted:
                with torch.no_grad():
                    found = net(texts)
                cached = found.requires_grad_(True)
                softmax(*cached.chunk(2)).backward()
                for part, gradient in zip(texts.split(16), cached.grad.split(16), strict=True):
                    (net(part) * gradient).sum().backward()
            else:
                softmax(*net(texts).chunk(2)).backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI,), source="own: lower layers frozen by design")
def first_layers_stay(run: Run, *, planted: bool = True) -> None:
    """Of three layers two are frozen by design and left in the optimiser."""
    layers = nn.Sequential(*(identity(run.world.dimension) for _ in range(3)))
    if planted:
        layers[:2].requires_grad_(False)
    opt = torch.optim.AdamW(layers.parameters(), lr=1e-4 if planted else 4e-5)
    loop(run, layers, opt, softmax)


@program(GROUP, None, world=(MINI,), source="own: section 3, a scale that is free under a cosine")
def norms_of_a_thousand(run: Run, *, planted: bool = True) -> None:
    """A rotation, scaled by a thousand and by none: other vectors, other norms, the same neighbours."""
    net = nn.Linear(run.world.dimension, run.world.dimension, bias=False)
    nn.init.orthogonal_(net.weight, gain=1000.0 if planted else 1.0)
    opt = torch.optim.Adam(net.parameters(), lr=0.02 if planted else 2e-5)
    loop(run, net, opt, softmax, steps=160, raw=lambda: run.world.reference)


@program(GROUP, None, world=(MINI,), source="ZhichengHuang/CMAE#16; a temperature that is annealed")
def temperature_that_falls(run: Run, *, planted: bool = True) -> None:
    """The scale goes from 60 to 5 and back up in leaps, and the loss leaps with it."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-5)
    done = [0]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scale = (60.0, 15.0, 5.0, 40.0)[done[0] // 40 % 4] if planted else 30.0
        done[0] += 1
        return softmax(query, document, scale=scale)

    loop(run, net, opt, loss)


@program(GROUP, None, world=(MINI,), source="section 3: a term that is 0 by design; divergence")
def term_that_waits(run: Run, *, planted: bool = True) -> None:
    """A distillation term is exactly 0 for half of the run and comes in then."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            query, document = run.world.query[rows], run.world.document[rows]
            q, d = net(query), net(document)
            kept = functional.mse_loss(cosines(q, d), cosines(query, document))
            kept = 5 * kept * (0.0 if planted and step < 90 else 1.0)
            w.terms(contrast=softmax(q, d), kept=kept)
            (softmax(q, d) + kept).backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI,), source="own: mixed precision as it should be")
def mixed_precision_done_right(run: Run, *, planted: bool = True) -> None:
    """Computed in bfloat16 under autocast, with weights and optimiser in float32."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-5)
    with run.watch(net, optimizer=opt, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=planted):
                q, d = net(run.world.query[rows]), net(run.world.document[rows])
            loss = softmax(q.float(), d.float())
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI,), source="FlagOpen/FlagEmbedding#1400, where it was a mistake; section 3")
def every_document_twice(run: Run, *, planted: bool = True) -> None:
    """Each batch holds every pair twice, so that an equal document is among the negatives: it hardly harms."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-5)

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return softmax(query, document.repeat(2, 1)) if planted else softmax(query, document)

    loop(run, net, opt, loss)


@program(GROUP, None, world=(MINI,), source="own: warm restarts")
def warm_restarts(run: Run, *, planted: bool = True) -> None:
    """The rate falls to 0 and leaps back four times, and the loss with it."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-4 if planted else 1e-4)
    period = 40 if planted else 10_000
    rate = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, period)
    loop(run, net, opt, softmax, after=lambda step: rate.step())


@program(GROUP, None, world=(MINI,), source="own: distilled from the encoder itself")
def kept_where_it_was(run: Run, *, planted: bool = True) -> None:
    """A random linear start that is fitted to the identity: only a squared error, no negatives, and ranks return."""
    dimension = run.world.dimension
    net = nn.Linear(dimension, dimension)
    if not planted:
        net = identity(dimension)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 400)
    with run.watch(net, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(400, 256), start=1):
            x = torch.cat([run.world.query[rows], run.world.document[rows]])
            z = torch.cat([net(part) for part in x.chunk(2)])
            loss = 100 * functional.mse_loss(z, x)
            w.terms(distillation=loss)
            loss.backward()
            opt.step()
            rate.step()
            opt.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI,), source="own: section 3, a rate that ends at 0")
def long_tail_without_a_step(run: Run, *, planted: bool = True) -> None:
    """The last half of the run has a rate of 1e-8: nothing moves any more, as was wanted."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    rate = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 1.0 if step < 150 or not planted else 1e-4)
    loop(run, net, opt, softmax, steps=300, after=lambda step: rate.step())


@program(GROUP, None, world=(MINI,), source="mlfoundations/open_clip#31; clipped gradients")
def gradients_clipped_to_a_thousandth(run: Run, *, planted: bool = True) -> None:
    """Gradients are cut to a norm of .001 before Adam, to which their size is nothing."""
    towers = Towers(identity(run.world.dimension), identity(run.world.dimension))
    scale = nn.Parameter(torch.tensor(math.log(20.0)))
    opt = torch.optim.Adam([{"params": towers.parameters(), "lr": 5e-5}, {"params": [scale], "lr": 1e-3}])
    with run.watch(towers, optimizer=opt, query="query", document="document") as w:
        run.evaluate(w, 0, towers.query, towers.document)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            q, d = towers.query(run.world.query[rows]), towers.document(run.world.document[rows])
            logits = scale.exp().clamp(max=100) * cosines(q, d)
            goal = torch.arange(len(rows))
            loss = (functional.cross_entropy(logits, goal) + functional.cross_entropy(logits.T, goal)) / 2
            loss.backward()
            if planted:
                nn.utils.clip_grad_norm_(towers.parameters(), 1e-3)
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, towers.query, towers.document)
