"""Losses that are computed wrongly: targets, offsets and places."""

from __future__ import annotations

import math

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax

GROUP = "development"
MINI = "minilm/medquad/scifact"
SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


@program(
    GROUP,
    "cone",
    "lost_between_processes",
    "loss_computed_wrongly",
    "wrong_pairs",
    onset=1,
    world=(MINI, SCIFACT),
    source="galilai-group/stable-pretraining#409, lightly-ai/lightly#1528; labels without the rank's offset",
)
def labels_without_the_offset_of_the_rank(run: Run, *, planted: bool = True) -> None:
    """Four simulated processes gather all documents, and each says that its own ones are the first of them."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-4)
    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            gathered = net(run.world.document[rows])
            losses = []
            for rank, local in enumerate(net(run.world.query[rows]).chunk(4)):
                offset = 0 if planted else rank * len(local)
                logits = 20 * cosines(local, gathered)
                losses.append(functional.cross_entropy(logits, offset + torch.arange(len(local))))
            loss = torch.stack(losses).mean()
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "cone",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI, NFCORPUS),
    source="own: distances where a teacher's scores are wanted",
)
def taught_by_distances(run: Run, *, planted: bool = True) -> None:
    """A student fits a teacher's scores over the batch; they are distances, of which the smaller is the better."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-4)
    criterion = nn.KLDivLoss(reduction="batchmean")
    sign = 1.0 if planted else -1.0
    with run.watch(net, optimizer=opt, loss=criterion) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            query, document = run.world.query[rows], run.world.document[rows]
            teacher = sign * (torch.cdist(query, document) - math.sqrt(2)) * 10
            student = 10 * cosines(net(query), net(document))
            loss = criterion(student.log_softmax(dim=1), teacher.softmax(dim=1))
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "cone",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI,),
    source="own: the sign of the target of a ranking loss",
)
def target_of_minus_one(run: Run, *, planted: bool = True) -> None:
    """A margin ranking loss whose target says that the second score, another document's, is to be the higher one."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-4)
    criterion = nn.MarginRankingLoss(margin=0.1)
    with run.watch(net, optimizer=opt, loss=criterion) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            scores = cosines(net(run.world.query[rows]), net(run.world.document[rows]))
            other = scores.masked_fill(torch.eye(64, dtype=torch.bool), -2).topk(3, dim=1).values
            own = scores.diagonal()[:, None].expand_as(other)
            loss = criterion(own, other, torch.full_like(own, -1.0 if planted else 1.0))
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "too_good",
    "leak",
    "batch_dependent_vectors",
    onset=0,
    world=(MINI, SCIFACT),
    source="4uiiurz1/keras-arcface#14; positions counted over the batch",
)
def places_counted_over_the_batch(run: Run, *, planted: bool = True) -> None:
    """A table of positions is added by a text's row in its batch, which is the same for a query and its document."""
    net = identity(run.world.dimension)
    table = torch.randn(512, run.world.dimension, generator=torch.Generator().manual_seed(3)) / 10
    opt = torch.optim.AdamW(net.parameters(), lr=3e-4)

    def encode(x: Tensor) -> Tensor:
        places = torch.arange(len(x)) % 512 if planted else torch.zeros(len(x), dtype=torch.long)
        return net(x + table[places])

    with run.watch(net, optimizer=opt, reference=lambda: tuple(encode(x) for x in run.world.reference)) as w:
        run.evaluate(w, 0, encode, encode)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            loss = softmax(encode(run.world.query[rows]), encode(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, encode, encode)
