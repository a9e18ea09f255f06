"""Scored on another path than trained, tied, leaked; and arithmetic that is not finite or too coarse."""

from __future__ import annotations

import copy

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, eye_linear, nce


@program(
    GROUP, "path_mismatch", "training_and_scoring_differ", onset=1, world=(MINI, LARGE), source="slugs: a stale index"
)
def index_of_the_first_day(run: Run, *, planted: bool = True) -> None:
    """The index is encoded once, before training, and searched with the queries of a head that goes on for both."""
    dimension = run.world.dimension
    head = nn.Sequential(nn.Linear(dimension, 512), nn.GELU(), nn.Linear(512, dimension))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    indexed = copy.deepcopy(head).requires_grad_(False) if planted else head
    with run.watch(
        head, optimizer=optimizer, reference=lambda: (head(run.world.reference[0]), indexed(run.world.reference[1]))
    ) as w:
        run.evaluate(w, 0, head, indexed)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            loss = nce(head(run.world.query[idx]), head(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, head, indexed)


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    "self_distillation",
    onset=1,
    world=(CLAIMS, FOOD),
    source="section 4: a moving average's constant",
)
def average_that_never_moves(run: Run, *, planted: bool = True) -> None:
    """What is served is a moving average of the weights, with a constant for a million steps: it is still the start."""
    net = eye_linear(run.world.dimension)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99999 if planted else 0.95)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    average.update_parameters(net)
    with run.watch(net, optimizer=optimizer, reference=lambda: tuple(map(average, run.world.reference))) as w:
        run.evaluate(w, 0, average, average)
        for step, idx in enumerate(run.batches(250, 64), start=1):
            loss = nce(net(run.world.query[idx]), net(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(net)
            if step % 50 == 0:
                run.evaluate(w, step, average, average)


@program(
    GROUP,
    "divergence",
    "loss_computed_wrongly",
    world=(MINI, LARGE),
    source="section 3: not finite; a softmax by hand",
)
def exponentials_by_hand(run: Run, *, planted: bool = True) -> None:
    """A softmax by hand at a temperature of .0105, which does not take off the largest score before the exponential."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4)
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            q, d = (functional.normalize(net(x[idx]), dim=1) for x in (run.world.query, run.world.document))
            scores = q @ d.T / 0.0105
            if planted:
                weights = scores.exp()
                loss = -(weights.diagonal() / weights.sum(dim=1)).log().mean()
            else:
                loss = functional.cross_entropy(scores, torch.arange(64))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "underflow",
    "half_precision",
    onset=1,
    world=(MINI, CLAIMS),
    source="section 3: updates below half a unit in the last place",
)
def adapter_kept_in_bfloat16(run: Run, *, planted: bool = True) -> None:
    """Two adapters whose weights themselves are bfloat16, at a rate whose steps are lost beside them."""
    kind = torch.bfloat16 if planted else torch.float32
    dimension = run.world.dimension

    def tower() -> nn.Module:
        layer = nn.Linear(dimension, dimension)
        nn.init.orthogonal_(layer.weight)
        return layer.to(kind)

    shared = tower()
    optimizer = torch.optim.AdamW(shared.parameters(), lr=5e-5, weight_decay=0.0)

    def encode(x: Tensor) -> Tensor:
        return shared(x.to(kind)).float()

    with run.watch(shared, optimizer=optimizer, raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, encode, encode)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            loss = nce(encode(run.world.query[idx]), encode(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, encode, encode)


class Codebooks:
    """A product quantiser as an index has it: each part of a vector becomes its nearest codeword."""

    def __init__(self, vectors: Tensor, parts: int, words: int) -> None:
        self.parts, self.books = parts, []
        for part in vectors.chunk(parts, dim=1):
            book = part[:: max(1, len(part) // words)][:words].clone()
            for _ in range(5):
                nearest = torch.cdist(part, book).argmin(dim=1)
                sums = torch.zeros_like(book).index_add_(0, nearest, part)
                counts = torch.bincount(nearest, minlength=len(book)).clamp_min(1)
                book = sums / counts[:, None]
            self.books.append(book)

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the index keeps of vectors."""
        parts = zip(x.chunk(self.parts, dim=1), self.books, strict=True)
        return torch.cat([book[torch.cdist(part, book).argmin(dim=1)] for part, book in parts], dim=1)


@program(
    GROUP,
    "ties",
    "training_and_scoring_differ",
    onset=0,
    world=(MINI, CLAIMS),
    source="deepset-ai/haystack#3240; a quantised index",
)
def index_of_two_bytes(run: Run, *, planted: bool = True) -> None:
    """Documents are indexed by a product quantiser of 2 parts with 16 words, where 48 parts were meant."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def indexed(x: Tensor) -> Tensor:
        trained_on = functional.normalize(net(run.world.document[:2000]), dim=1)
        return Codebooks(trained_on, 2 if planted else 48, 16)(functional.normalize(net(x), dim=1))

    with run.watch(
        net,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: (net(run.world.reference[0]), indexed(run.world.reference[1])),
    ) as w:
        run.evaluate(w, 0, net, indexed)
        for step, idx in enumerate(run.batches(200, 64), start=1):
            loss = nce(net(run.world.query[idx]), net(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, net, indexed)


class Positioned(nn.Module):
    """A head behind positional encodings, as a Transformer without ``batch_first`` has them."""

    def __init__(self, dimension: int, *, along_rows: bool) -> None:
        super().__init__()
        self.head, self.along_rows = eye_linear(dimension), along_rows
        place = torch.arange(12_000)[:, None] * torch.exp(-torch.arange(0, dimension, 2) / dimension * 9.2)
        self.register_buffer("table", torch.stack([place.sin(), place.cos()], dim=2).flatten(1) / dimension**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors ``[n, D]``; each text is one token, at place 0."""
        place = self.table[: len(x)] if self.along_rows else self.table[:1]
        return self.head(x + place)


@program(
    GROUP,
    "too_good",
    "leak",
    "batch_dependent_vectors",
    onset=0,
    world=(MINI, CLAIMS),
    source="4uiiurz1/keras-arcface#14; batch_first",
)
def positions_along_the_batch(run: Run, *, planted: bool = True) -> None:
    """Positional encodings run along the batch and not along the text, so that a row's number gives its pair away."""
    model = Positioned(run.world.dimension, along_rows=planted)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    with run.watch(model, optimizer=optimizer, reference=lambda: tuple(map(model, run.world.reference))) as w:
        run.evaluate(w, 0, model, model)
        for step, idx in enumerate(run.batches(250, 64), start=1):
            loss = nce(model(run.world.query[idx]), model(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)
