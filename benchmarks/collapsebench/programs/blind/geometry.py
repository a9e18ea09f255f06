"""Failures of the vectors' geometry: collapses, explosions, cones, gaps and hubs."""

from __future__ import annotations

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from .common import FOOD, GROUP, LARGE, MINI, TwoTower, eye_linear, nce


class CompactNCE(nn.Module):
    """In-batch softmax, and a center loss: every vector's squared distance to its batch's center, at unit length."""

    def __init__(self, center: float, temperature: float = 0.07) -> None:
        super().__init__()
        self.center, self.temperature = center, temperature

    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        """Return the sum of both."""
        both = functional.normalize(torch.cat([query, document]), dim=1)
        compact = (both - both.mean(dim=0)).square().sum(dim=1).mean()
        return nce(query, document, self.temperature) + self.center * compact


@program(
    GROUP,
    "complete_collapse",
    "penalty_too_strong",
    onset=1,
    world=(MINI, FOOD),
    source="facebookresearch/vicreg#14; weights of terms",
)
def center_loss_of_another_paper(run: Run, *, planted: bool = True) -> None:
    """A center loss with the weight that classifiers of unnormalised features take, beside an in-batch softmax."""
    net = nn.Sequential(eye_linear(run.world.dimension), nn.GELU(), nn.Linear(run.world.dimension, 256))
    criterion = CompactNCE(60.0 if planted else 0.003)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-4)
    with run.watch(net, optimizer=optimizer, loss=criterion) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            optimizer.zero_grad()
            criterion(net(run.world.query[idx]), net(run.world.document[idx])).backward()
            optimizer.step()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, "scale_collapse", "no_repulsion", onset=1, world=(MINI, LARGE), source="facebookresearch/vicreg#14")
def variance_term_commented_out(run: Run, *, planted: bool = True) -> None:
    """Invariance and covariance without the variance term that keeps both from being met by zero."""
    net = eye_linear(run.world.dimension, bias=False)
    sgd = torch.optim.Adam(net.parameters(), lr=3e-3)

    def off_diagonal(z: Tensor) -> Tensor:
        covariance = torch.cov(z.T)
        return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]

    with run.watch(
        net, optimizer=sgd, similarity="euclidean", reference=lambda: tuple(map(net, run.world.reference))
    ) as w:
        run.evaluate(w, 0, net, net, similarity="euclidean")
        for step, idx in enumerate(run.batches(240, 96), start=1):
            a, b = net(run.world.query[idx]), net(run.world.document[idx])
            terms = {"invariance": 25 * functional.mse_loss(a, b), "covariance": off_diagonal(a) + off_diagonal(b)}
            if not planted:
                target = 1 / run.world.dimension**0.5
                spread = [functional.relu(target - (z.var(dim=0) + 1e-6).sqrt()).mean() for z in (a, b)]
                terms["variance"] = 25 * sum(spread)
            w.terms(terms)
            sum(terms.values()).backward()
            sgd.step()
            sgd.zero_grad()
            if step % 80 == 0:
                run.evaluate(w, step, net, net, similarity="euclidean")


@program(GROUP, "scale_explosion", "no_scale_anchor", onset=1, world=(MINI, FOOD), source="section 3; a KoLeo term")
def entropy_of_vectors_that_were_not_normalised(run: Run, *, planted: bool = True) -> None:
    """Minus the log of the distance to the nearest other of the batch, on vectors that have no length to keep."""
    tower = nn.Sequential(nn.Linear(run.world.dimension, 512), nn.ReLU(), nn.Linear(512, run.world.dimension))
    optimizer = torch.optim.Adam(tower.parameters(), lr=2e-3)

    def koleo(z: Tensor) -> Tensor:
        z = z if planted else functional.normalize(z, dim=1)
        near = torch.cdist(z, z).masked_fill(torch.eye(len(z), dtype=torch.bool), 1e9).min(dim=1).values
        return -(near + 1e-8).log().mean()

    with run.watch(tower, optimizer=optimizer, similarity="dot") as w:
        run.evaluate(w, 0, tower, tower, similarity="dot")
        for step, idx in enumerate(run.batches(300, 64), start=1):
            q, d = tower(run.world.query[idx]), tower(run.world.document[idx])
            contrast, spread = nce(q, d), koleo(q) + koleo(d)
            w.terms(contrast=contrast, koleo=0.5 * spread)
            (contrast + 0.5 * spread).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, tower, tower, similarity="dot")


@program(
    GROUP,
    "cone",
    "temperature_or_margin",
    "no_repulsion",
    onset=1,
    world=(MINI, LARGE),
    source="section 3; pos_weight of a BCE",
)
def positives_weighted_by_the_corpus(run: Run, *, planted: bool = True) -> None:
    """A binary cross-entropy whose positives weigh as much as all documents of the corpus and not as the batch's."""
    adapter = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=3e-4)
    weight = torch.tensor(100_000.0 if planted else 63.0)
    labels = torch.eye(64)
    with run.watch(adapter, optimizer=optimizer, raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, adapter, adapter)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            q = functional.normalize(adapter(run.world.query[idx]), dim=1)
            d = functional.normalize(adapter(run.world.document[idx]), dim=1)
            loss = functional.binary_cross_entropy_with_logits(10 * q @ d.T - 5, labels, pos_weight=weight)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, adapter, adapter)


class Selected(nn.Module):
    """A linear map and a factor for each of its outputs, some of which are to become 0."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.linear = eye_linear(dimension)
        self.keep = nn.Parameter(torch.ones(dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Return the kept outputs."""
        return self.linear(x) * self.keep

    @torch.no_grad()
    def prox(self, amount: float) -> None:
        """Take a proximal step of the factors' L1."""
        self.keep.copy_(self.keep.sign() * functional.relu(self.keep.abs() - amount))


@program(
    GROUP,
    "dead_dimensions",
    "penalty_too_strong",
    "dead_units",
    onset=1,
    world=(MINI, LARGE),
    source="harsh19/SPINE#6; network slimming",
)
def selection_of_outputs_too_greedy(run: Run, *, planted: bool = True) -> None:
    """Outputs are selected by a proximal L1 step on their factors, which was set per epoch and is taken per step."""
    model = Selected(run.world.dimension)
    opt = torch.optim.Adam([{"params": model.linear.parameters(), "lr": 1e-4}, {"params": [model.keep], "lr": 3e-3}])
    with run.watch(model, optimizer=opt) as w:
        run.evaluate(w, 0, model, model)
        for step, idx in enumerate(run.batches(400, 64), start=1):
            loss = nce(model(run.world.query[idx]), model(run.world.document[idx]))
            loss.backward()
            opt.step()
            opt.zero_grad()
            if planted or step % 140 == 0:
                model.prox(3e-3)
            if step % 100 == 0:
                run.evaluate(w, step, model, model)


@program(
    GROUP, "one_sided_collapse", "no_repulsion", onset=1, world=(MINI, FOOD), source="embeddings-benchmark/mteb#5069"
)
def small_query_tower_by_squared_error(run: Run, *, planted: bool = True) -> None:
    """A small query tower for a phone learns to hit the documents' frozen vectors by a squared error."""
    dimension = run.world.dimension
    student = nn.Sequential(nn.Linear(dimension, 64), nn.Tanh(), nn.Linear(64, dimension))
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-4)

    def served(x: Tensor) -> Tensor:
        return x

    with run.watch(
        student,
        optimizer=optimizer,
        query="",
        reference=lambda: (student(run.world.reference[0]), run.world.reference[1]),
    ) as w:
        run.evaluate(w, 0, student, served)
        for step, idx in enumerate(run.batches(400, 64), start=1):
            q, d = student(run.world.query[idx]), run.world.document[idx]
            w.observe("document", d)
            loss = functional.mse_loss(q, d, reduction="sum") / len(idx) if planted else nce(q, d)
            w.terms(distill=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, student, served)


@program(
    GROUP,
    "side_gap",
    "temperature_or_margin",
    onset=1,
    world=(MINI, LARGE),
    source="section 3; OFA-Sys/Chinese-CLIP#42",
)
def margin_below_zero(run: Run, *, planted: bool = True) -> None:
    """A pair loss of cosines whose margin is -.6 and not .6: others have to point away from each other."""
    dimension = run.world.dimension
    model = TwoTower(eye_linear(dimension), eye_linear(dimension))
    opt = torch.optim.Adam(model.parameters(), lr=5e-4)
    loss = nn.CosineEmbeddingLoss(margin=-0.6 if planted else 0.3)
    with run.watch(model, optimizer=opt, query="user", document="item") as w:
        run.evaluate(w, 0, model.user, model.item)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            q, d = model(run.world.query[idx], run.world.document[idx])
            left, right = torch.cat([q] * 8), torch.cat([d, *(d.roll(k, dims=0) for k in range(1, 8))])
            label = torch.cat([torch.ones(64), -torch.ones(7 * 64)])
            loss(left, right, label).backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, model.user, model.item)


class HashLayer(nn.Module):
    """HashNet's layer: tanh of a sharpness that grows with the training."""

    def __init__(self, dimension: int, bits: int) -> None:
        super().__init__()
        self.linear, self.bound, self.sharpness = nn.Linear(dimension, bits, bias=False), nn.Tanh(), 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return codes between -1 and 1."""
        return self.bound(self.sharpness * self.linear(x))


@program(
    GROUP,
    "saturation",
    "temperature_or_margin",
    onset=1,
    world=(MINI, LARGE),
    source="jiangqy/DPSH-pytorch#10; HashNet",
)
def sharpness_grows_by_the_step(run: Run, *, planted: bool = True) -> None:
    """The sharpness of a hash layer was to double once in an epoch, and grows by a tenth at each step."""
    coder = HashLayer(run.world.dimension, 256)
    optimizer = torch.optim.RMSprop(coder.parameters(), lr=5e-4)
    with run.watch(coder, optimizer=optimizer, taps=[Tap(stream="codes", at="bound", role="hidden")]) as w:
        run.evaluate(w, 0, coder, coder)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            coder.sharpness = min(1.1**step, 1e4) if planted else 2.0 ** (step // 140)
            loss = nce(coder(run.world.query[idx]), coder(run.world.document[idx]), 0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, coder, coder)


@program(
    GROUP,
    "hubness",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI, LARGE),
    source="section 3; a softmax over the wrong axis",
)
def softmax_over_the_queries(run: Run, *, planted: bool = True) -> None:
    """A document adapter before frozen queries, whose softmax runs over the queries: no document yields to another."""
    adapter = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-3)

    def asked(x: Tensor) -> Tensor:
        return x

    with run.watch(
        adapter,
        optimizer=optimizer,
        document="",
        similarity="euclidean",
        reference=lambda: (run.world.reference[0], adapter(run.world.reference[1])),
    ) as w:
        run.evaluate(w, 0, asked, adapter, similarity="euclidean")
        for step, idx in enumerate(run.batches(300, 64), start=1):
            q, d = run.world.query[idx], adapter(run.world.document[idx])
            w.observe("query", q)
            probability = torch.log_softmax(-3 * torch.cdist(q, d).square(), dim=0 if planted else 1)
            loss = -probability.diagonal().mean()
            w.terms(nll=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, asked, adapter, similarity="euclidean")
