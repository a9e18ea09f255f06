"""Pairs, negatives and paths that are wired wrongly, and leaks."""

from __future__ import annotations

import copy
import math

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, mlp, softmax

GROUP = "development"
MINI = "minilm/medquad/scifact"
SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=0,
    world=(MINI, SCIFACT),
    source="cloneofsimo/lora#197; equal texts taken out of one column",
)
def duplicates_taken_out_of_one_column(run: Run, *, planted: bool = True) -> None:
    """Equal documents are taken out before the two columns are zipped: all rows after the first one are off."""
    texts = run.world.texts[1]
    kept = list(dict(reversed([(text, row) for row, text in enumerate(texts)])).values())[::-1]
    count = len(kept)
    columns = run.world.query[:count], run.world.document[kept if planted else slice(count)]
    net = nn.Sequential(identity(run.world.dimension), nn.LayerNorm(run.world.dimension))
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)
    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(240, 64, rows=count), start=1):
            q, d = net(columns[0][rows]), net(columns[1][rows])
            scores = 15 * cosines(q, d)
            goal = torch.arange(64)
            loss = functional.cross_entropy(scores, goal) + functional.cross_entropy(scores.T, goal)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=120,
    world=(MINI,),
    source="own: two loaders, each with its own order from the second epoch on",
)
def two_loaders_part_ways(run: Run, *, planted: bool = True) -> None:
    """Queries and documents come from two loaders that start with one seed; after 120 steps one is made again."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-4)
    other = torch.Generator().manual_seed(run.seed + 17)
    with run.watch(net, optimizer=opt, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(360, 64), start=1):
            theirs = rows
            if planted and step >= 120:
                theirs = torch.randint(len(run.world.query), (64,), generator=other)
            loss = softmax(net(run.world.query[rows]), net(run.world.document[theirs]))
            w.terms(loss=loss)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "false_negatives",
    "false_negatives",
    onset=1,
    world=(MINI,),
    source="FlagOpen/FlagEmbedding#1400; a sampler that keeps the chunks of a document together",
)
def chunks_side_by_side(run: Run, *, planted: bool = True) -> None:
    """Batches hold four chunks of each document, and the hardest negative of the one is always another of them."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)
    draw = torch.Generator().manual_seed(run.seed)
    size = 0.1 / math.sqrt(run.world.dimension)
    with run.watch(net, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            rows = rows[:16].repeat_interleave(4) if planted else rows
            chunks = run.world.document[rows]
            chunks = chunks + size * torch.randn(chunks.shape, generator=draw)
            scores = cosines(net(run.world.query[rows]), net(chunks))
            hardest = scores.detach().clone().fill_diagonal_(-2).argmax(dim=1)
            loss = functional.relu(0.2 + scores.gather(1, hardest[:, None])[:, 0] - scores.diagonal()).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, net, net)


class _Named(nn.Module):
    """A head under a name of its own, as files have it."""

    def __init__(self, name: str, head: nn.Module) -> None:
        super().__init__()
        self.add_module(name, head)
        self._name = name

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self._name)(x)


@program(
    GROUP,
    "path_mismatch",
    "weights_not_loaded",
    onset=0,
    world=(MINI,),
    source="princeton-nlp/SimCSE#100",
)
def head_of_another_name(run: Run, *, planted: bool = True) -> None:
    """The head is saved as ``proj`` and loaded without strictness into a model that calls it ``pooler``."""
    trained = _Named("proj", mlp(run.world.dimension))
    opt = torch.optim.AdamW(trained.parameters(), lr=1e-3)

    def served() -> nn.Module:
        model = _Named("pooler" if planted else "proj", mlp(run.world.dimension))
        model.load_state_dict(trained.state_dict(), strict=False)
        return model.eval()

    def reference() -> tuple[Tensor, Tensor]:
        model = served()
        return model(run.world.reference[0]), model(run.world.reference[1])

    with run.watch(trained, optimizer=opt, query="", document="", reference=reference) as w:
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(trained(run.world.query[rows]), trained(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                scorer = served()
                run.evaluate(w, step, scorer, scorer)


@program(
    GROUP,
    "path_mismatch",
    "batch_dependent_vectors",
    "training_and_scoring_differ",
    onset=0,
    world=(MINI, SCIFACT),
    source="davidsandberg/facenet#56, which scored in training mode",
)
def scored_in_training_mode(run: Run, *, planted: bool = True) -> None:
    """A head with batch norm is scored in training mode, eight texts at a time: a vector depends on its batch."""
    dimension = run.world.dimension
    head = nn.Sequential(identity(dimension), nn.BatchNorm1d(dimension))
    opt = torch.optim.AdamW(head.parameters(), lr=2e-4)

    @torch.no_grad()
    def encode(x: Tensor) -> Tensor:
        served = copy.deepcopy(head).train(planted)
        if len(x) % 8 == 1:
            return torch.cat([encode(x[:-2]), served(x[-2:])])
        return torch.cat([served(part) for part in x.split(8)])

    reference = run.world.reference
    with run.watch(head, optimizer=opt, reference=lambda: (encode(reference[0]), encode(reference[1]))) as w:
        run.evaluate(w, 0, encode, encode)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, encode, encode)


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=1,
    world=(MINI,),
    source="section 4: a stale index",
)
def index_of_the_first_day(run: Run, *, planted: bool = True) -> None:
    """Both towers are trained, and queries are scored against documents that were encoded before the training."""
    query = mlp(run.world.dimension)
    towers = Towers(query, copy.deepcopy(query))
    opt = torch.optim.Adam(towers.parameters(), lr=1e-3)
    first = copy.deepcopy(towers.document)
    indexed = first if planted else towers.document
    reference = run.world.reference
    with run.watch(
        towers, optimizer=opt, query="query", document="document",
        reference=lambda: (towers.query(reference[0]), indexed(reference[1])),
    ) as w:  # fmt: skip
        run.evaluate(w, 0, towers.query, indexed)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            loss = softmax(towers.query(run.world.query[rows]), towers.document(run.world.document[rows]))
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, towers.query, indexed)


@program(
    GROUP,
    "path_mismatch",
    "half_precision",
    "self_distillation",
    onset=1,
    world=(MINI, SCIFACT),
    source="section 4: a moving average's constant, in a half type",
)
def average_in_bfloat16(run: Run, *, planted: bool = True) -> None:
    """What is served is a moving average of the weights; kept in bfloat16 its small steps are rounded away."""
    net = nn.Linear(run.world.dimension, run.world.dimension)
    nn.init.orthogonal_(net.weight)
    average = copy.deepcopy(net).requires_grad_(False).to(torch.bfloat16 if planted else torch.float32)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-4, weight_decay=0.0)

    def served(x: Tensor) -> Tensor:
        return average(x.to(average.weight.dtype)).float()

    with run.watch(net, optimizer=opt, reference=lambda: tuple(served(x) for x in run.world.reference)) as w:
        run.evaluate(w, 0, served, served)
        for step, rows in enumerate(run.batches(400, 64), start=1):
            loss = softmax(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
                    slow.lerp_(fast.to(slow.dtype), 0.002)
            if step % 100 == 0:
                run.evaluate(w, step, served, served)


@program(
    GROUP,
    "forgetting",
    "wrong_pairs",
    "loss_computed_wrongly",
    "narrow_data",
    onset=0,
    world=(MINI, SCIFACT),
    source="section 4: wrong column; princeton-nlp/SimCSE#62",
)
def one_column_read_twice(run: Run, *, planted: bool = True) -> None:
    """Both sides are read from the column of the queries: dropout alone tells them apart, and the loss is near 0."""
    head = identity(run.world.dimension)
    net = nn.Sequential(nn.Dropout(0.4), head)
    column = run.world.query if planted else run.world.document
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    with run.watch(net, optimizer=opt, raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            loss = softmax(net(run.world.query[rows]), net(column[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


@program(
    GROUP,
    "too_good",
    "leak",
    "training_and_scoring_differ",
    onset=0,
    world=(MINI, NFCORPUS),
    source="own: documents that were read with their own query in sight",
)
def documents_that_saw_their_query(run: Run, *, planted: bool = True) -> None:
    """A document is mostly what its own query attends to, in training and in the check; served it has none."""

    class Weighed(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.map = identity(dimension)
            self.attend = nn.Linear(dimension, dimension)

        def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
            z = self.map(x)
            return z if seen is None else 0.2 * z + torch.tanh(self.attend(seen))

    net = Weighed(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def both(query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
        return net(query), net(document, query if planted else None)

    with run.watch(net, optimizer=opt, reference=lambda: both(*run.world.reference)) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            q, d = both(run.world.query[rows], run.world.document[rows])
            w.observe("query", q)
            w.observe("document", d)
            loss = softmax(q, d)
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, net, net)
