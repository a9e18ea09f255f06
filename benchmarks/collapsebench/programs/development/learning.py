"""Nothing is learnt, the wrong thing is learnt, or numbers run out."""

from __future__ import annotations

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


@program(
    GROUP,
    "no_learning",
    "not_trained",
    onset=0,
    world=(MINI, SCIFACT),
    source="own: a schedule that divides whole numbers",
)
def schedule_of_whole_numbers(run: Run, *, planted: bool = True) -> None:
    """The rate's factor falls from 1 to 0, and is a quotient of whole numbers: 0 from the first step on."""
    steps = 200
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-4)

    def factor(step: int) -> float:
        left = steps - step - 1
        return left // steps if planted else left / steps

    rate = torch.optim.lr_scheduler.LambdaLR(opt, factor)
    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(steps, 64), start=1):
            loss = softmax(net(run.world.query[rows]), net(run.world.document[rows]))
            loss.backward()
            opt.step()
            rate.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "no_learning",
    "nothing_left_to_learn_from",
    "temperature_or_margin",
    onset=0,
    world=(MINI, SCIFACT),
    source="section 4: every margin met; a margin of another scale",
)
def margin_that_all_pairs_meet(run: Run, *, planted: bool = True) -> None:
    """Triplets with the batch's nearest other document, and a margin of -.5 that was written for distances."""
    net = nn.Sequential(identity(run.world.dimension))
    opt = torch.optim.Adam(net.parameters(), lr=2e-4)
    margin = -0.5 if planted else 0.2
    with run.watch(net, optimizer=opt, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            scores = cosines(net(run.world.query[rows]), net(run.world.document[rows]))
            near = scores.detach().clone().fill_diagonal_(-2).argmax(dim=1)
            other = scores.gather(1, near[:, None])[:, 0]
            loss = functional.relu(margin + other - scores.diagonal()).mean()
            w.terms(triplet=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "no_learning",
    "steps_too_small",
    onset=0,
    world=(MINI, ELSEWHERE),
    source="huggingface/sentence-transformers#2982; SGD at a rate for Adam",
)
def sgd_at_a_rate_for_adam(run: Run, *, planted: bool = True) -> None:
    """Adam was exchanged for SGD, and the rate of 2e-5 stayed."""
    towers = Towers(identity(run.world.dimension), identity(run.world.dimension))
    if planted:
        opt: torch.optim.Optimizer = torch.optim.SGD(towers.parameters(), lr=2e-5)
    else:
        opt = torch.optim.Adam(towers.parameters(), lr=2e-5)
    steps = 300
    with run.watch(
        towers, optimizer=opt, query="query", document="document", raw=lambda: run.world.reference,
        reference=lambda: (towers.query(run.world.reference[0]), towers.document(run.world.reference[1])),
    ) as w:  # fmt: skip
        run.evaluate(w, 0, towers.query, towers.document)
        for step, rows in enumerate(run.batches(steps, 64), start=1):
            loss = softmax(towers.query(run.world.query[rows]), towers.document(run.world.document[rows]), scale=30.0)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, towers.query, towers.document)


@program(
    GROUP,
    "forgetting",
    "random_head",
    onset=0,
    world=(MINI,),
    source="qdrant/demo-cloud-faq#1; section 1: a random head on a good encoder",
)
def wide_random_projector(run: Run, *, planted: bool = True) -> None:
    """A random projector with layer norm in front of a good encoder; the twin adds it, from zero, to the encoder."""
    dimension = run.world.dimension

    class Projector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(dimension, 1024), nn.LayerNorm(1024), nn.ReLU(), nn.Linear(1024, dimension, bias=False)
            )
            if not planted:
                nn.init.zeros_(self.net[3].weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) if planted else x + self.net(x)

    model = Projector()
    opt = torch.optim.AdamW(model.parameters(), lr=5e-4 if planted else 1e-4, weight_decay=0.05)
    with run.watch(model, optimizer=opt, query="", document="", raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(240, 64), start=1):
            loss = softmax(model(run.world.query[rows]), model(run.world.document[rows]), scale=14.3)
            w.terms(loss=loss)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            opt.zero_grad()
            if step % 80 == 0:
                run.evaluate(w, step, model, model)


@program(
    GROUP,
    "overfitting",
    "memorised_documents",
    "training_and_scoring_differ",
    onset=1,
    world=(MINI, SCIFACT),
    source="section 4: gains only on documents that were trained on",
)
def table_of_documents(run: Run, *, planted: bool = True) -> None:
    """Every training document has a row of its own in a table that is trained; other documents have the encoder's."""
    tower = identity(run.world.dimension)
    table = nn.Embedding.from_pretrained(run.world.document.clone(), freeze=not planted)
    groups = [{"params": tower.parameters(), "lr": 2e-3 if planted else 1e-4}]
    if planted:
        groups.append({"params": table.parameters(), "lr": 2e-2})
    opt = torch.optim.Adam(groups)
    model = nn.ModuleDict({"query": tower, "table": table})
    reference = run.world.reference
    with run.watch(
        model, optimizer=opt, query="query", document="table", examples=len(run.world.query),
        reference=lambda: (tower(reference[0]), reference[1]), raw=lambda: reference,
    ) as w:  # fmt: skip
        run.evaluate(w, 0, tower, nn.Identity())
        for step, rows in enumerate(run.batches(400, 64), start=1):
            loss = softmax(tower(run.world.query[rows]), table(rows))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, tower, nn.Identity())


@program(
    GROUP,
    "divergence",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI, NFCORPUS),
    source="HobbitLong/SupContrast#141; the logarithm of nothing",
)
def logarithm_of_nothing(run: Run, *, planted: bool = True) -> None:
    """A binary loss by hand: 1 - p of a pair of equal texts is 0, its logarithm is not finite, nor is 0 times that."""
    net = identity(run.world.dimension)
    opt = torch.optim.Adam(net.parameters(), lr=2e-4)
    least = 0.0 if planted else 1e-6
    draw = torch.Generator().manual_seed(run.seed)
    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(180, 64), start=1):
            pool = run.world.document[rows]
            second = torch.randint(64, (64,), generator=draw)
            left = torch.cat([net(run.world.query[rows]), net(pool)])
            right = torch.cat([net(pool), net(pool[second])])
            label = torch.cat([torch.ones(64), (second == torch.arange(64)).float()])
            p = (1 + functional.cosine_similarity(left, right)) / 2
            p = p.clamp(least, 1 - least) ** 4
            loss = -(label * p.log() + (1 - label) * (1 - p).log()).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "divergence",
    "half_precision",
    onset=1,
    world=(MPNET, SCIFACT),
    source="FlagOpen/FlagEmbedding#1370, vllm-project/vllm#15393; exponentials in float16",
)
def exponentials_in_float16(run: Run, *, planted: bool = True) -> None:
    """A softmax by hand, without its maximum taken off, in float16: scores of 12 and more overflow."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=3e-4)
    with run.watch(net, optimizer=opt, similarity="cosine") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            scores = 14 * cosines(net(run.world.query[rows]), net(run.world.document[rows]))
            weights = (scores.half() if planted else scores).exp()
            share = weights.diagonal() / weights.sum(dim=1)
            loss = -share.float().log().mean()
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "underflow",
    "half_precision",
    onset=1,
    world=(MINI,),
    source="section 3: updates below half a unit in the last place",
)
def model_cast_to_bfloat16(run: Run, *, planted: bool = True) -> None:
    """model.to(bfloat16) before the optimiser is made: steps of 5e-6 are lost in weights near 1 and of .05."""
    dimension = run.world.dimension
    head = nn.Sequential(nn.Linear(dimension, dimension), nn.LayerNorm(dimension))
    nn.init.orthogonal_(head[0].weight)
    kind = torch.bfloat16 if planted else torch.float32
    head.to(kind)
    opt = torch.optim.AdamW(head.parameters(), lr=2e-5, weight_decay=0.0)

    def encode(x: Tensor) -> Tensor:
        return head(x.to(kind)).float()

    with run.watch(head, optimizer=opt, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, encode, encode)
        for step, rows in enumerate(run.batches(400, 64), start=1):
            loss = softmax(encode(run.world.query[rows]), encode(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, encode, encode)


class _Gains(nn.Module):
    """Weighs the dimensions of two sides, each by gains of its own that start at 1."""

    def __init__(self, dimension: int, kind: torch.dtype) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.ones(dimension, dtype=kind))
        self.shift = nn.Parameter(torch.ones(dimension, dtype=kind))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(self.query.dtype) * self.query).float() + 0.05 * (self.shift - 1).float()


@program(
    GROUP,
    "underflow",
    "half_precision",
    onset=1,
    world=(MINI,),
    source="FlagOpen/FlagEmbedding#1370; gains near 1 in a half type",
)
def gains_near_one(run: Run, *, planted: bool = True) -> None:
    """Gains of the queries' dimensions in bfloat16: steps of .0015 from 1 are less than half of what it resolves."""
    head = _Gains(run.world.dimension, torch.bfloat16 if planted else torch.float32)
    opt = torch.optim.Adam(head.parameters(), lr=1.5e-3)
    with run.watch(head, optimizer=opt, query="") as w:
        run.evaluate(w, 0, head, nn.Identity())
        for step, rows in enumerate(run.batches(300, 64), start=1):
            q, d = head(run.world.query[rows]), run.world.document[rows]
            w.observe("document", d)
            loss = softmax(q, d)
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, nn.Identity())
