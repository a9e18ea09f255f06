"""Trainings that look alarming and are well: losses that rise, leap, are huge or stay high; parts that stand still."""

from __future__ import annotations

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, Residual, TwoTower, eye_linear, nce


@program(GROUP, None, world=(MINI, LARGE), source="ZhichengHuang/CMAE#16; a loss that rises")
def batches_that_grow(run: Run, *, planted: bool = True) -> None:
    """Batches of 16, then 32, and on to 256: the loss rises with the logarithm of the choices."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    step = 0
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for size in (16, 32, 64, 128, 256) if planted else (64,) * 5:
            for idx in run.batches(50, size):
                nce(net(run.world.query[idx]), net(run.world.document[idx])).backward()
                optimizer.step()
                optimizer.zero_grad()
                step += 1
            run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI, LARGE), source="section 3: hard but true pairs; a curriculum")
def easy_pairs_first(run: Run, *, planted: bool = True) -> None:
    """Pairs in the order of the encoder's own cosine, the surest first: all batch readings worsen to the end."""
    own = functional.cosine_similarity(run.world.query, run.world.document)
    order = own.argsort(descending=True) if planted else torch.randperm(len(own))
    model = Residual(run.world.dimension)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    steps = min(200, len(order) // 40)
    width = len(order) // steps
    with run.watch(model, optimizer=optimizer, examples=len(order)) as w:
        run.evaluate(w, 0, model, model)
        for step in range(1, steps + 1):
            block = order[(step - 1) * width : step * width]
            idx = block[torch.randperm(len(block))[:40]]
            loss = nce(model(run.world.query[idx]), model(run.world.document[idx]))
            w.terms(nce=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


@program(GROUP, None, world=(MINI, CLAIMS), source="section 3: a warm-up; restarts of the rate")
def warm_restarts(run: Run, *, planted: bool = True) -> None:
    """A cosine schedule that starts again every 50 steps: sizes of updates leap and fall."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-4 if planted else 1e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 50, eta_min=1e-8)
    with run.watch(net, optimizer=optimizer, reference=lambda: tuple(map(net, run.world.reference))) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            nce(net(run.world.query[idx]), net(run.world.document[idx])).backward()
            optimizer.step()
            optimizer.zero_grad()
            if planted:
                cosine.step()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(LARGE, MINI), source="section 3: divergence; a sum for a mean")
def summed_loss_with_a_clip(run: Run, *, planted: bool = True) -> None:
    """A sigmoid loss summed over all 4,096 pairs of the batch: thousands, with gradients that are always clipped."""
    net = eye_linear(run.world.dimension)
    scale, bias = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-5.0))
    held = [*net.parameters(), scale, bias]
    optimizer = torch.optim.AdamW(held, lr=1e-4)
    signs = 2 * torch.eye(64) - 1
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(200, 64), start=1):
            q, d = (functional.normalize(net(x[idx]), dim=1) for x in (run.world.query, run.world.document))
            each = functional.softplus(-signs * (scale * q @ d.T + bias))
            loss = 10 * each.sum() if planted else each.sum() / 64
            w.terms(siglip=loss)
            loss.backward()
            nn.utils.clip_grad_norm_(held, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI, CLAIMS), source="section 3: path mismatch; a moving average is served")
def served_by_a_slow_average(run: Run, *, planted: bool = True) -> None:
    """Scores come from a moving average of the weights, which lags behind what trains, as it should."""
    net = eye_linear(run.world.dimension)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.97))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-4)
    served = average if planted else net
    with run.watch(net, optimizer=optimizer, reference=lambda: tuple(map(served, run.world.reference))) as w:
        run.evaluate(w, 0, served, served)
        for step, idx in enumerate(run.batches(250, 64), start=1):
            nce(net(run.world.query[idx]), net(run.world.document[idx])).backward()
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(net)
            if step % 50 == 0:
                run.evaluate(w, step, served, served)


class Scaled(nn.Module):
    """A block whose branch has a factor for each dimension, at first a thousandth."""

    def __init__(self, dimension: int, start: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.LayerNorm(dimension), nn.Linear(dimension, 256), nn.GELU(), nn.Linear(256, dimension)
        )
        self.gamma = nn.Parameter(torch.full((dimension,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector with its scaled branch."""
        return x + self.gamma * self.branch(x)


@program(GROUP, None, world=(MINI, LARGE), source="section 3: a small and useful correction; LayerScale")
def factors_of_a_thousandth(run: Run, *, planted: bool = True) -> None:
    """A residual branch whose factors start at a thousandth and end at a few hundredths: small, and it helps."""
    model = Scaled(run.world.dimension, 1e-3 if planted else 0.02)
    groups = [{"params": model.branch.parameters(), "lr": 1e-3}, {"params": [model.gamma], "lr": 3e-4}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    taps = [Tap(stream="branch", at="branch", role="correction"), Tap(stream="gamma", at="gamma", role="gate")]
    with run.watch(model, optimizer=optimizer, taps=taps) as w:
        run.evaluate(w, 0, model, model)
        for step, idx in enumerate(run.batches(200, 64), start=1):
            loss = nce(model(run.world.query[idx]), model(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


@program(GROUP, None, world=(MINI, LARGE), source="luyug/GC-DPR#12")
def every_text_twice(run: Run, *, planted: bool = True) -> None:
    """A cached loss by hand: a forward without gradient, gradients at the vectors, and a forward in small pieces."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(150, 128), start=1):
            texts = run.world.query[idx], run.world.document[idx]
            if planted:
                with torch.no_grad():
                    kept = [torch.cat([net(part) for part in side.split(32)]) for side in texts]
                leaves = [one.requires_grad_() for one in kept]
                nce(*leaves).backward()
                for side, leaf in zip(texts, leaves, strict=True):
                    for part, grad in zip(side.split(32), leaf.grad.split(32), strict=True):
                        (net(part) * grad).sum().backward()
            else:
                nce(net(texts[0]), net(texts[1])).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


class WithPooler(nn.Module):
    """An encoder with a classifier's leftovers, which nothing calls."""

    def __init__(self, dimension: int, *, pooler: bool) -> None:
        super().__init__()
        self.body = Residual(dimension)
        if pooler:
            self.pooler = nn.Sequential(nn.Linear(dimension, dimension), nn.Tanh())
            self.classifier = nn.Linear(dimension, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the body's vectors."""
        return self.body(x)


@program(GROUP, None, world=(MINI, CLAIMS), source="Tiiiger/bert_score#201")
def pooler_that_nothing_calls(run: Run, *, planted: bool = True) -> None:
    """Two thirds of the model's weights are newly made, never called and never get a gradient."""
    model = WithPooler(run.world.dimension, pooler=planted)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    with run.watch(model, optimizer=optimizer) as w:
        run.evaluate(w, 0, model, model)
        for step, idx in enumerate(run.batches(200, 64), start=1):
            loss = nce(model(run.world.query[idx]), model(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


@program(GROUP, None, world=(MINI, LARGE), source="section 3: scale explosion under a cosine")
def norms_of_fifty(run: Run, *, planted: bool = True) -> None:
    """An adapter that starts at 50 times the identity, under cosines, with the raw encoder given for comparison."""
    net = eye_linear(run.world.dimension, scale=50.0 if planted else 1.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=75.0 if planted else 0.03, momentum=0.9)
    reference = run.world.reference
    with run.watch(net, optimizer=optimizer, reference=lambda: tuple(map(net, reference)), raw=lambda: reference) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(250, 64), start=1):
            nce(net(run.world.query[idx]), net(run.world.document[idx])).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI, CLAIMS), source="section 3: underflow; automatic casting")
def cast_to_bfloat16(run: Run, *, planted: bool = True) -> None:
    """Products in bfloat16 by automatic casting, over weights that stay in float32."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(150, 64), start=1):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=planted):
                q, d = net(run.world.query[idx]), net(run.world.document[idx])
            nce(q.float(), d.float()).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI, LARGE), source="section 3: dead dimensions; vectors padded for an index")
def padded_to_a_power_of_two(run: Run, *, planted: bool = True) -> None:
    """Vectors are padded with zeros to the next power of two, which the index wants: a quarter of them is dead."""
    dimension = run.world.dimension
    width = 1 << dimension.bit_length() if planted else dimension
    net = nn.Sequential(eye_linear(dimension), nn.ZeroPad1d((0, width - dimension)))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    with run.watch(
        net, optimizer=optimizer, similarity="dot", reference=lambda: tuple(map(net, run.world.reference))
    ) as w:
        run.evaluate(w, 0, net, net, similarity="dot")
        for step, idx in enumerate(run.batches(200, 64), start=1):
            scores = 30 * net(run.world.query[idx]) @ net(run.world.document[idx]).T
            functional.cross_entropy(scores, torch.arange(64)).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net, similarity="dot")


@program(GROUP, None, world=(MINI, FOOD), source="lucas-ventura/CoVR#38; wenet-e2e/wespeaker#426")
def two_thousand_more_candidates(run: Run, *, planted: bool = True) -> None:
    """Each query chooses among 2,000 more documents of the corpus: the loss stays high, the accuracy low."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    draw = torch.Generator().manual_seed(run.seed)
    corpus = run.world.document
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(200, 32), start=1):
            more = torch.randint(len(corpus), (2000 if planted else 32,), generator=draw)
            more = more[~torch.isin(more, idx)]
            q, d = (functional.normalize(net(x), dim=1) for x in (run.world.query[idx], corpus[torch.cat([idx, more])]))
            scores = 20 * q @ d.T
            loss = functional.cross_entropy(scores, torch.arange(32))
            w.monitor(accuracy=(scores.argmax(dim=1) == torch.arange(32)).float().mean())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI, LARGE), source="section 3: no learning; gradual unfreezing")
def documents_unfrozen_later(run: Run, *, planted: bool = True) -> None:
    """The document tower is frozen for the first hundred steps, by plan, and trained from then on."""
    dimension = run.world.dimension
    model = TwoTower(eye_linear(dimension), eye_linear(dimension))
    model.item.requires_grad_(not planted)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    with run.watch(model, optimizer=optimizer, query="user", document="item") as w:
        run.evaluate(w, 0, model.user, model.item)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            if step == 101:
                model.item.requires_grad_(True)
            nce(*model(run.world.query[idx], run.world.document[idx])).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, model.user, model.item)


@program(GROUP, None, world=(MINI, CLAIMS), source="section 3: a transient that clears")
def three_spoilt_batches(run: Run, *, planted: bool = True) -> None:
    """Three batches of the run have their documents in a wrong order: the loss leaps to chance, and comes back."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            spoilt = planted and step in (90, 91, 160)
            q, d = net(run.world.query[idx]), net(run.world.document[idx.flip(0) if spoilt else idx])
            loss = nce(q, d)
            w.terms(loss=loss)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, net, net)
