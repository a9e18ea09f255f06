"""Trainings that learn nothing, the wrong thing, too narrowly or by heart, though their losses say otherwise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from .common import CLAIMS, GROUP, LARGE, MINI, SideCorrection, clip_loss, forever, in_batch, square


class Fitting:
    """A small trainer: it holds a model and an optimiser, and has a method for a step."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, clears_late: bool) -> None:
        self.model, self.optimizer, self.clears_late = model, optimizer, clears_late
        self.history: list[float] = []

    def step(self, q: Tensor, d: Tensor) -> None:
        """Take one step."""
        if not self.clears_late:
            self.optimizer.zero_grad()
        loss = clip_loss(self.model(q), self.model(d))
        loss.backward()
        if self.clears_late:
            self.optimizer.zero_grad()
        self.optimizer.step()
        self.history.append(loss.item())

    def fit(self, batches: object, steps: int, after: Callable[[int], None]) -> None:
        """Take many steps."""
        for step, (q, d) in enumerate(batches, start=1):
            self.step(q, d)
            after(step)
            if step == steps:
                return


@program(
    GROUP,
    "no_learning",
    "not_trained",
    onset=0,
    world=(MINI, LARGE),
    source="patrickloeber/pytorchTutorial#19; rll/deepul#12: where gradients are cleared",
)
def cleared_between_backward_and_step(run: Run, *, planted: bool = True) -> None:
    """Gradients are cleared after backward and before the step: nothing is left that could move a weight."""
    dimension = run.world.dimension
    model = nn.Sequential(square(dimension), nn.LayerNorm(dimension))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-5)
    fitting = Fitting(model, optimizer, clears_late=planted)
    with run.watch(model, optimizer=optimizer, query="", document="") as w:
        run.evaluate(w, 0, model, model)

        def after(step: int) -> None:
            w.monitor(loss_of_trainer=fitting.history[-1])
            if step % 100 == 0:
                run.evaluate(w, step, model, model)

        fitting.fit(forever(run, 64), 300, after)


@program(
    GROUP,
    "no_learning",
    "nothing_left_to_learn_from",
    "loss_computed_wrongly",
    "temperature_or_margin",
    onset=1,
    world=MINI,
    source="omoindrot/tensorflow-triplet-loss#59; a semi-hard window with a sign the wrong way round",
)
def window_of_semi_hard_that_is_empty(run: Run, *, planted: bool = True) -> None:
    """Negatives must be nearer than the positive and, by a sign, farther than the margin beyond it: none is both."""
    margin = 0.25

    def semi_hard(q: Tensor, d: Tensor) -> Tensor:
        far = 1 - functional.normalize(q, dim=1) @ functional.normalize(d, dim=1).T
        own = far.diagonal()[:, None]
        valid = (far > own) & (far < (own - margin if planted else own + margin))
        each = functional.relu(own - far + margin) * valid
        return each.sum() / valid.sum().clamp_min(1)

    run.train(Towers(square(run.world.dimension)), semi_hard, lr=2e-4, weight_decay=0.0, steps=250, batch=64)


class Adapter(nn.Module):
    """A vector mixed with a bottleneck's output by a fixed ratio."""

    def __init__(self, dimension: int, ratio: float) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(dimension, dimension // 4), nn.ReLU(), nn.Linear(dimension // 4, dimension))
        self.ratio = ratio

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture, at unit length."""
        adapted = functional.normalize(self.fc(x), dim=-1)
        return functional.normalize(self.ratio * adapted + (1 - self.ratio) * functional.normalize(x, dim=-1), dim=-1)


@program(
    GROUP,
    "forgetting",
    "random_head",
    onset=0,
    world=(MINI, LARGE),
    source="jina-ai/now#76; an adapter's ratio",
)
def ratio_of_the_adapter_the_other_way(run: Run, *, planted: bool = True) -> None:
    """A ratio of .2 is meant for a random adapter's share and is given to the encoder: .8 of a vector is new."""
    model = Adapter(run.world.dimension, 0.8 if planted else 0.2)
    run.train(Towers(model), clip_loss, lr=1e-3, weight_decay=0.05, steps=400, batch=128)


@program(
    GROUP,
    "forgetting",
    "steps_too_large",
    "narrow_data",
    onset=1,
    world=(MINI, CLAIMS),
    source="mertyg/vision-language-models-are-bows#4; a rate that is scaled with the batch",
)
def rate_scaled_with_accumulated_batch(run: Run, *, planted: bool = True) -> None:
    """A rate for batches of 8 is multiplied by the growth of the batch, 32 times by accumulation, under Adam."""
    model = SideCorrection(run.world.dimension, 512)
    micro, parts = 64, 4
    rate = 1e-4 * (micro * parts / 8 if planted else 1)
    opt = torch.optim.AdamW(model.parameters(), lr=rate)
    batches = forever(run, micro)
    with run.watch(model, optimizer=opt, reference=lambda: tuple(map(model, run.world.reference))) as w:
        run.evaluate(w, 0, model, model)
        for step in range(1, 121):
            for _ in range(parts):
                q, d = next(batches)
                loss = in_batch(model(q), model(d)) / parts
                w.terms({"contrastive": loss})
                loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            opt.zero_grad(set_to_none=True)
            if step % 40 == 0:
                run.evaluate(w, step, model, model)


@program(
    GROUP,
    "overfitting",
    "too_few_pairs",
    "memorised_documents",
    onset=1,
    world=(MINI, LARGE),
    source="gauravchak/two_tower_models#3; augmented copies that are counted as examples",
)
def hundred_noisy_copies_of_each_pair(run: Run, *, planted: bool = True) -> None:
    """A set of 24 pairs is augmented to 2,400 examples by noise, and all of them say the same 24 things."""
    kept = 24 if planted else len(run.world.query)
    model = SideCorrection(run.world.dimension, 768)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    draw = torch.Generator().manual_seed(run.seed)

    def noisy(x: Tensor) -> Tensor:
        return x + 0.15 * torch.randn(x.shape, generator=draw) / x.shape[1] ** 0.5

    options = {"reference": lambda: tuple(map(model, run.world.reference)), "raw": lambda: run.world.reference}
    with run.watch(model, optimizer=opt, examples=100 * kept, **options) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(500, 24, rows=kept), start=1):
            loss = in_batch(model(noisy(run.world.query[rows])), model(noisy(run.world.document[rows])), 0.1)
            w.terms(loss=loss)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if step % 100 == 0:
                run.evaluate(w, step, model, model)


class Weighted(nn.Module):
    """Takes off a fixed mean, and has one learnt weight for each dimension if it is to have any."""

    def __init__(self, mean: Tensor, *, learnt: bool) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.weight = nn.Parameter(torch.ones(len(mean)), requires_grad=learnt)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted vector."""
        return (x - self.mean) * self.weight


@program(
    GROUP,
    "loss_against_retrieval",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI, CLAIMS),
    source="section 4: a sign; a metric that is returned for a loss",
)
def smooth_gain_is_minimised(run: Run, *, planted: bool = True) -> None:
    """A smooth gain of the own document's rank is returned to an optimiser that makes it small, not its complement."""

    def soft_gain(q: Tensor, d: Tensor) -> Tensor:
        sims = functional.normalize(q, dim=1) @ functional.normalize(d, dim=1).T
        over = torch.sigmoid((sims - sims.diagonal()[:, None]) / 0.05)
        rank = 0.5 + over.sum(dim=1)
        gain = (1 / torch.log2(1 + rank)).mean()
        return gain if planted else 1 - gain

    means = run.world.query.mean(dim=0), run.world.document.mean(dim=0)
    model = Towers(Weighted(means[0], learnt=True), Weighted(means[1], learnt=False))
    run.train(model, soft_gain, lr=4e-3, weight_decay=0.0, steps=400, batch=64, evaluations=5)
