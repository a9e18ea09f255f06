"""Pairs, negatives, paths and losses that are wired wrongly, and leaks."""

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
MINI, MPNET = "minilm/medquad/scifact", "mpnet/medquad/scifact"
SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"
ELSEWHERE = "minilm/medquad/nfcorpus"


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
    world=(MINI, NFCORPUS),
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
    world=(NFCORPUS,),
    source="FlagOpen/FlagEmbedding#1400; negatives mined without leaving the judged ones out",
)
def mined_from_the_judged(run: Run, *, planted: bool = True) -> None:
    """Four negatives a query, of which the miner did not leave out what is judged relevant to it."""
    world = run.world
    names = {text: number for number, text in enumerate(dict.fromkeys(world.texts[0]))}
    group = torch.tensor([names[text] for text in world.texts[0]])
    order = group.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    draw = torch.Generator().manual_seed(run.seed)
    net = identity(world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-4)
    with run.watch(net, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            beside = order[(place[rows][:, None] + torch.tensor([-2, -1, 1, 2])) % len(order)]
            if not planted:
                beside = torch.randint(len(order), beside.shape, generator=draw)
            documents = net(world.document[torch.cat([rows, beside.reshape(-1)])])
            scores = 20 * cosines(net(world.query[rows]), documents)
            loss = functional.cross_entropy(scores, torch.arange(len(rows)))
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "false_negatives",
    "lost_between_processes",
    "false_negatives",
    onset=1,
    world=(MINI, SCIFACT),
    source="section 4: distinct texts of an epoch fewer than the data; no sampler for several processes",
)
def every_process_draws_the_same(run: Run, *, planted: bool = True) -> None:
    """Eight simulated processes gather their documents; without a sampler of their own all drew the same eight."""
    processes, local = 8, 8
    net = nn.Sequential(nn.Dropout(0.3), identity(run.world.dimension))
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def score(step: int) -> None:
        net.eval()
        run.evaluate(w, step, net, net)
        net.train()

    with run.watch(net, optimizer=opt, examples=len(run.world.query)) as w:
        score(0)
        for step, rows in enumerate(run.batches(300, processes * local), start=1):
            rows = rows[:local].repeat(processes) if planted else rows
            q, d = net(run.world.query[rows]), net(run.world.document[rows])
            loss = softmax(q, d)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                score(step)


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
    world=(MINI, NFCORPUS),
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
        for step, rows in enumerate(run.batches(300, 64), start=1):
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
    source="davidsandberg/facenet#56",
)
def statistics_that_never_moved(run: Run, *, planted: bool = True) -> None:
    """Batch norm in a deep head with a momentum of 0: running statistics stay at 0 and 1, and scoring takes them."""
    dimension = run.world.dimension
    momentum = 0.0 if planted else 0.1
    layers: list[nn.Module] = []
    for width in (dimension, 512):
        layers += [nn.Linear(width, 512), nn.BatchNorm1d(512, momentum=momentum), nn.ReLU()]
    head = nn.Sequential(*layers, nn.Linear(512, dimension))
    opt = torch.optim.AdamW(head.parameters(), lr=1e-3)

    def score(step: int) -> None:
        head.eval()
        run.evaluate(w, step, head, head)
        head.train()

    def reference() -> tuple[Tensor, Tensor]:
        head.eval()
        found = head(run.world.reference[0]), head(run.world.reference[1])
        head.train()
        return found

    with run.watch(head, optimizer=opt, reference=reference, raw=lambda: run.world.reference) as w:
        score(0)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                score(step)


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=1,
    world=(MINI, NFCORPUS),
    source="section 4: a stale index",
)
def index_of_the_first_day(run: Run, *, planted: bool = True) -> None:
    """Both towers are trained, and queries are scored against documents that were encoded before the training."""
    towers = Towers(identity(run.world.dimension), identity(run.world.dimension))
    opt = torch.optim.Adam(towers.parameters(), lr=2e-3)
    first = copy.deepcopy(towers.document)
    indexed = first if planted else towers.document
    reference = run.world.reference
    with run.watch(
        towers, optimizer=opt, query="query", document="document",
        reference=lambda: (towers.query(reference[0]), indexed(reference[1])),
    ) as w:  # fmt: skip
        run.evaluate(w, 0, towers.query, indexed)
        for step, rows in enumerate(run.batches(300, 64), start=1):
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
    net = identity(run.world.dimension)
    average = copy.deepcopy(net).requires_grad_(False).to(torch.bfloat16 if planted else torch.float32)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.0)

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
                    slow.mul_(0.995).add_(fast.to(slow.dtype), alpha=0.005)
            if step % 100 == 0:
                run.evaluate(w, step, served, served)


@program(
    GROUP,
    "loss_against_retrieval",
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
        for step, rows in enumerate(run.batches(240, 64), start=1):
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
    "loss_against_retrieval",
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
        for step, rows in enumerate(run.batches(240, 64), start=1):
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
        for step, rows in enumerate(run.batches(240, 64), start=1):
            loss = softmax(encode(run.world.query[rows]), encode(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, encode, encode)


@program(
    GROUP,
    "too_good",
    "leak",
    "training_and_scoring_differ",
    onset=0,
    world=(MPNET, NFCORPUS),
    source="own: documents that were read with their own query in sight",
)
def documents_that_saw_their_query(run: Run, *, planted: bool = True) -> None:
    """A document is weighed by what its own query attends to, in training and in the check; served it has none."""

    class Weighed(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.map = identity(dimension)
            self.attend = nn.Linear(dimension, dimension)

        def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
            z = self.map(x)
            return z if seen is None else z + 1.5 * torch.tanh(self.attend(seen))

    net = Weighed(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def both(query: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
        return net(query), net(document, query if planted else None)

    with run.watch(net, optimizer=opt, reference=lambda: both(*run.world.reference)) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(300, 64), start=1):
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
