"""One side alone, units that die, bounds that saturate, hubs and ties."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from ..parts import cosines, identity, softmax

GROUP = "development"
MINI, MPNET = "minilm/medquad/scifact", "mpnet/medquad/scifact"
SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"
ELSEWHERE = "minilm/medquad/nfcorpus"


class _TopK(nn.Module):
    """Codes of which only the k largest are kept, for a sparse index."""

    def __init__(self, dimension: int, units: int, k: int) -> None:
        super().__init__()
        self.encode = nn.Linear(dimension, units)
        self.decode = nn.Linear(units, dimension)
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        code = self.encode(x).relu()
        kept = code.topk(self.k, dim=1)
        return torch.zeros_like(code).scatter(1, kept.indices, kept.values)


@program(
    GROUP,
    "dead_dimensions",
    "dead_units",
    onset=1,
    world=(MINI,),
    source="hamed-zamani/snrm#7, and what goes wrong there: latents that never win",
)
def four_winners_of_five_hundred(run: Run, *, planted: bool = True) -> None:
    """A sparse autoencoder of which 4 of 512 units are kept, without a term for those that never win."""
    net = _TopK(run.world.dimension, 512, 4 if planted else 64)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    with run.watch(net, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            query, document = run.world.query[rows], run.world.document[rows]
            codes = net(query), net(document)
            rebuilt = sum(
                functional.mse_loss(net.decode(code), x) for code, x in zip(codes, (query, document), strict=True)
            )
            w.terms(contrast=softmax(*codes, scale=10.0), rebuilt=100 * rebuilt)
            (softmax(*codes, scale=10.0) + 100 * rebuilt).backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, net, net)


class _Masked(nn.Module):
    """A map whose outputs are each weighed by a rectified mask, to find out which dimensions are needed."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.map = identity(dimension)
        self.mask = nn.Parameter(torch.ones(dimension))

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x) * self.mask.relu()


@program(
    GROUP,
    "dead_dimensions",
    "penalty_too_strong",
    "dead_units",
    onset=1,
    world=(MINI, SCIFACT),
    source="harsh19/SPINE#6; a price on dimensions that are kept",
)
def price_of_a_dimension(run: Run, *, planted: bool = True) -> None:
    """A mask over dimensions is priced, so that few are kept; the price is 50 times what was meant."""
    net = _Masked(run.world.dimension)
    opt = torch.optim.Adam([{"params": net.map.parameters(), "lr": 2e-4}, {"params": [net.mask], "lr": 1e-2}])
    price = 0.05 if planted else 1e-3
    with run.watch(net, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            terms = {
                "ranking": softmax(net(run.world.query[rows]), net(run.world.document[rows])),
                "kept": price * net.mask.relu().sum(),
            }
            w.terms(terms)
            sum(terms.values()).backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, net, net)


class _Expanded(nn.Module):
    """Sparse weights over a vocabulary of latent words: log(1 + relu)."""

    def __init__(self, dimension: int, words: int = 1024) -> None:
        super().__init__()
        self.layer = nn.Linear(dimension, words)
        nn.init.orthogonal_(self.layer.weight)
        nn.init.constant_(self.layer.bias, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).relu().log1p()


def _flops(code: Tensor) -> Tensor:
    return code.mean(dim=0).square().sum()


@program(
    GROUP,
    "one_sided_collapse",
    "penalty_too_strong",
    onset=1,
    world=(MINI,),
    source="own: the two weights of a sparse expansion, of which one lost its zeros",
)
def regulariser_of_the_documents(run: Run, *, planted: bool = True) -> None:
    """Sparse expansions of queries and documents with a cost of their floating operations each."""
    towers = Towers(_Expanded(run.world.dimension), _Expanded(run.world.dimension))
    towers.document.load_state_dict(towers.query.state_dict())
    opt = torch.optim.AdamW(towers.parameters(), lr=1e-3)
    lambda_q, lambda_d = 0.03, 3000.0 if planted else 0.03
    with run.watch(towers, optimizer=opt, query="query", document="document", similarity="dot") as w:
        run.evaluate(w, 0, towers.query, towers.document, similarity="dot")
        for step, rows in enumerate(run.batches(250, 64), start=1):
            q, d = towers.query(run.world.query[rows]), towers.document(run.world.document[rows])
            ranking = functional.cross_entropy(20 * q @ d.T, torch.arange(len(rows)))
            w.terms(ranking=ranking, flops_q=lambda_q * _flops(q), flops_d=lambda_d * _flops(d))
            (ranking + lambda_q * _flops(q) + lambda_d * _flops(d)).backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, towers.query, towers.document, similarity="dot")


@program(
    GROUP,
    "one_sided_collapse",
    "no_repulsion",
    onset=1,
    world=(SCIFACT,),
    source="trainers-in-the-wild.md, linear-adapter-trainer; regression on the index",
)
def queries_regressed_on_the_index(run: Run, *, planted: bool = True) -> None:
    """A random query tower that is fitted to its documents' vectors, over an index that stays."""
    dimension = run.world.dimension
    tower = nn.Sequential(nn.Linear(dimension, 256), nn.GELU(), nn.Dropout(0.2), nn.Linear(256, dimension))
    opt = torch.optim.AdamW(tower.parameters(), lr=3e-4, weight_decay=0.1)

    def score(step: int) -> None:
        tower.eval()
        run.evaluate(w, step, tower, nn.Identity())
        tower.train()

    with run.watch(tower, optimizer=opt, query="") as w:
        score(0)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            q, d = tower(run.world.query[rows]), run.world.document[rows]
            w.observe("document", d)
            loss = (1 - functional.cosine_similarity(q, d)).mean() if planted else softmax(q, d)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                score(step)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * gradient, None


@program(
    GROUP,
    "side_gap",
    "loss_computed_wrongly",
    "penalty_leak",
    onset=1,
    world=(MINI, SCIFACT),
    source="own: a gradient that was to be reversed",
)
def gradient_that_is_not_reversed(run: Run, *, planted: bool = True) -> None:
    """A critic tells queries from documents, and its gradient was to be reversed: it lacks the minus."""
    dimension = run.world.dimension
    towers = Towers(identity(dimension), identity(dimension))
    critic = nn.Sequential(nn.Linear(dimension, 64), nn.ReLU(), nn.Linear(64, 1))
    opt = torch.optim.AdamW([*towers.parameters(), *critic.parameters()], lr=5e-4)
    factor = 60.0 if planted else -0.05
    side = torch.arange(2).repeat_interleave(64).float()
    with run.watch(towers, optimizer=opt, query="query", document="document") as w:
        run.evaluate(w, 0, towers.query, towers.document)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            q, d = towers.query(run.world.query[rows]), towers.document(run.world.document[rows])
            told = critic(_Reversed.apply(torch.cat([q, d]), factor))[:, 0]
            adversary = functional.binary_cross_entropy_with_logits(told, side)
            w.terms(ranking=softmax(q, d), adversary=adversary)
            (softmax(q, d) + adversary).backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, towers.query, towers.document)


class _Codes(nn.Module):
    def __init__(self, dimension: int, bits: int, deviation: float) -> None:
        super().__init__()
        self.layer = nn.Linear(dimension, bits)
        nn.init.normal_(self.layer.weight, std=deviation)
        self.bound = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.bound(self.layer(functional.layer_norm(x, x.shape[1:])))


@program(
    GROUP,
    "saturation",
    "random_head",
    onset=0,
    world=(MINI, NFCORPUS),
    source="jiangqy/DPSH-pytorch#10; nn.init.normal_ without its second argument",
)
def weights_of_deviation_one(run: Run, *, planted: bool = True) -> None:
    """Codes of a bounded layer whose weights were drawn with a deviation of 1: all units are at their bounds."""
    net = _Codes(run.world.dimension, 192, 1.0 if planted else 0.02)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-4)
    with run.watch(net, optimizer=opt, taps=[Tap(stream="codes", at="bound", role="hidden")]) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "saturation",
    "penalty_too_strong",
    onset=1,
    world=(MPNET, SCIFACT),
    source="jiangqy/DPSH-pytorch#10; the term that wants codes near their bits",
)
def codes_forced_to_their_bits(run: Run, *, planted: bool = True) -> None:
    """Bounded codes with a price on what is missing to -1 and 1, at a weight of 300 in place of .01."""
    net = _Codes(run.world.dimension, 256, 0.02)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    weight = 300.0 if planted else 0.01
    with run.watch(net, optimizer=opt, taps=[Tap(stream="codes", at="bound", role="hidden")]) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            q, d = net(run.world.query[rows]), net(run.world.document[rows])
            bits = sum((1 - z.abs()).square().mean() for z in (q, d))
            w.terms({"ranking": softmax(q, d), "bits": bits}, weights={"bits": weight})
            (softmax(q, d) + weight * bits).backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "hubness",
    "no_repulsion",
    onset=1,
    world=(MINI, NFCORPUS),
    source="section 3: hubness; pointwise labels with a small pool of negatives",
)
def negatives_of_a_small_pool(run: Run, *, planted: bool = True) -> None:
    """Dot products under a pointwise loss; other documents are drawn from 24 that were cached, in place of all."""
    towers = Towers(identity(run.world.dimension), identity(run.world.dimension))
    opt = torch.optim.Adam(towers.parameters(), lr=1e-3)
    draw = torch.Generator().manual_seed(run.seed)
    count = 24 if planted else len(run.world.document)

    def score(step: int) -> None:
        run.evaluate(w, step, towers.query, towers.document, similarity="dot")

    with run.watch(towers, optimizer=opt, query="query", document="document", similarity="dot") as w:
        score(0)
        for step, rows in enumerate(run.batches(225, 64), start=1):
            q, d = towers.query(run.world.query[rows]), towers.document(run.world.document[rows])
            others = towers.document(run.world.document[torch.randint(count, (64,), generator=draw)])
            own, other = 8 * (q * d).sum(dim=1) - 4, 8 * q @ others.T - 4
            loss = functional.softplus(-own).mean() + functional.softplus(other).mean(dim=1).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                score(step)


@program(
    GROUP,
    "hubness",
    "evaluator",
    "training_and_scoring_differ",
    "loss_computed_wrongly",
    onset=0,
    world=(MINI, SCIFACT),
    source="tensorflow/recommenders#219, ioanacroi/qb-norm#4",
)
def hubs_rewarded_when_scored(run: Run, *, planted: bool = True) -> None:
    """A document's mean score among training queries was to be taken off its scores; it is added."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    bank = run.world.query[:600]

    def query(x: Tensor) -> Tensor:
        z = functional.normalize(net(x), dim=1)
        return torch.cat([z, torch.full((len(z), 1), 1.0 if planted else -1.0)], dim=1)

    def document(x: Tensor) -> Tensor:
        z = functional.normalize(net(x), dim=1)
        near = (z @ functional.normalize(net(bank), dim=1).T).topk(10, dim=1).values.mean(dim=1, keepdim=True)
        return torch.cat([z, near], dim=1)

    reference = run.world.reference
    with run.watch(
        net, optimizer=opt, similarity="dot", trained_by="cosine",
        reference=lambda: (query(reference[0]), document(reference[1])), raw=lambda: reference,
    ) as w:  # fmt: skip
        run.evaluate(w, 0, query, document, similarity="dot")
        for step, rows in enumerate(run.batches(150, 64), start=1):
            loss = softmax(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, query, document, similarity="dot")


def _centres(x: Tensor, count: int) -> Tensor:
    found = x[:count].clone()
    for _ in range(4):
        nearest = cosines(x, found).argmax(dim=1)
        sums = torch.zeros_like(found).index_add(0, nearest, x)
        found = sums / torch.bincount(nearest, minlength=count).clamp_min(1)[:, None]
    return found


@program(
    GROUP,
    "ties",
    "training_and_scoring_differ",
    onset=0,
    world=(MINI, NFCORPUS),
    source="own: a compressed index of which one stage is read; embeddings-benchmark/mteb#4626",
)
def coarse_stage_alone(run: Run, *, planted: bool = True) -> None:
    """Documents are kept as a coarse centre and a remainder, and served as the coarse centre alone."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    centres = _centres(run.world.document[:4000], 256)

    def served(x: Tensor) -> Tensor:
        coarse = centres[cosines(x, centres).argmax(dim=1)]
        return net(coarse if planted else coarse + (x - coarse).half().float())

    reference = run.world.reference
    with run.watch(net, optimizer=opt, reference=lambda: (net(reference[0]), served(reference[1]))) as w:
        run.evaluate(w, 0, net, served)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            loss = softmax(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, served)
