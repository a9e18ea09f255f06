"""Corrections and gates that vanish, never open, do the same to all or do harm; and what does not learn at all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, Residual, nce


def unchanged(x: Tensor) -> Tensor:
    """Return the frozen encoder's vector."""
    return x


class Corrected(nn.Module):
    """A frozen vector and a correction of it."""

    def __init__(self, delta: nn.Module) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, x: Tensor) -> Tensor:
        """Return the corrected vector."""
        return x + self.delta(x)


def two_layers(dimension: int, width: int, *, zero: bool = False, bias: bool = True) -> nn.Sequential:
    """Return a perceptron with one hidden layer."""
    net = nn.Sequential(nn.Linear(dimension, width, bias=bias), nn.ReLU(), nn.Linear(width, dimension, bias=bias))
    if zero:
        for one in net[2].parameters():
            nn.init.zeros_(one)
    return net


@program(GROUP, "identity", "steps_too_small", onset=1, world=(MINI, FOOD), source="section 4: steps too small")
def warm_up_by_the_epoch(run: Run, *, planted: bool = True) -> None:
    """A warm-up over 2,000 steps whose scheduler is asked once in an epoch: the rate stays at its first thousandths."""
    model = Corrected(two_layers(run.world.dimension, 256, zero=True))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    length = 2000 if planted else 50
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: min(1.0, (done + 1) / length))
    per_epoch = len(run.world.query) // 64
    taps = [Tap(stream="delta", at="delta", role="correction")]
    with run.watch(model, optimizer=optimizer, taps=taps, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, model, model)
        for step, idx in enumerate(run.batches(200, 64), start=1):
            loss = nce(model(run.world.query[idx]), model(run.world.document[idx]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if not planted or step % per_epoch == 0:
                schedule.step()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


@program(GROUP, "delta_collapse", "penalty_too_strong", onset=1, world=(MINI, LARGE), source="section 3; L2 in Adam")
def decay_of_adamw_given_to_adam(run: Run, *, planted: bool = True) -> None:
    """A weight decay of 1 that stood in AdamW, handed to Adam, which takes it for a gradient and scales it up."""
    model = Corrected(two_layers(run.world.dimension, 512, bias=False))
    kind = torch.optim.Adam if planted else torch.optim.AdamW
    optimizer = kind(model.delta.parameters(), lr=5e-4, weight_decay=1.0)
    taps = [Tap(stream="correction", at="delta", role="correction")]
    index = run.world.document
    with run.watch(
        model,
        optimizer=optimizer,
        query="",
        taps=taps,
        reference=lambda: (model(run.world.reference[0]), run.world.reference[1]),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, model, unchanged)
        for step, idx in enumerate(run.batches(300, 64), start=1):
            w.observe("document", index[idx])
            loss = nce(model(run.world.query[idx]), index[idx])
            w.terms(nce=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, model, unchanged)


class Clamped(nn.Module):
    """A gate that is kept between 0 and 1 by a clamp."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(start))

    def forward(self) -> Tensor:
        """Return how far it is open."""
        return self.value.clamp(0, 1)


class Mixed(nn.Module):
    """A frozen vector, and as much of a network's output as a gate lets through."""

    def __init__(self, dimension: int, gate: nn.Module) -> None:
        super().__init__()
        self.net, self.gate = two_layers(dimension, 384), gate

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture."""
        return x + self.gate() * functional.normalize(self.net(x), dim=1)


GATED = (Tap(stream="gate", at="gate", role="gate"), Tap(stream="delta", at="net", role="correction"))


def queries_alone(
    run: Run,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    taps: tuple[Tap, ...] = (),
    loss: Callable[[Tensor, Tensor], Tensor] = nce,
    given: bool = True,
) -> None:
    """Train what maps the queries before an index that stays as it is."""
    index = run.world.document
    options = {"reference": lambda: (model(run.world.reference[0]), run.world.reference[1])} if given else {}
    with run.watch(model, optimizer=optimizer, query="", taps=taps, **options) as w:
        run.evaluate(w, 0, model, unchanged)
        for step, idx in enumerate(run.batches(steps, 64), start=1):
            q, d = model(run.world.query[idx]), index[idx]
            w.observe("document", d)
            value = loss(q, d)
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % (steps // 4) == 0:
                run.evaluate(w, step, model, unchanged)


@program(
    GROUP,
    "gate_collapse",
    "steps_too_large",
    "dead_units",
    onset=1,
    world=(MINI, LARGE),
    source="qdrant/demo-cloud-faq#1",
)
def gate_clamped_at_nought(run: Run, *, planted: bool = True) -> None:
    """A clamped gate at a rate of .3: what it lets through harms at first, it falls below 0, and has no gradient."""
    model = Mixed(run.world.dimension, Clamped(0.5))
    groups = [
        {"params": model.net.parameters(), "lr": 3e-4},
        {"params": model.gate.parameters(), "lr": 0.3 if planted else 1e-3},
    ]
    queries_alone(run, model, torch.optim.Adam(groups), steps=200, taps=GATED)


class Scalar(nn.Module):
    """A network's output times a number that starts at 0."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.net = two_layers(dimension, 384)
        self.amount = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector and what is added to it."""
        return x + self.amount * self.net(x)


@program(GROUP, "gate_never_opened", "not_trained", onset=0, world=(MINI, FOOD), source="adapter-hub/adapters#260")
def parameters_of_the_layers_alone(run: Run, *, planted: bool = True) -> None:
    """An optimiser of all layers' weights, gathered by their classes: a bare number in the module is in no layer."""
    model = Scalar(run.world.dimension)
    layers = [
        one for part in model.modules() if isinstance(part, nn.Linear | nn.LayerNorm) for one in part.parameters()
    ]
    optimizer = torch.optim.AdamW(layers if planted else model.parameters(), lr=1e-3, weight_decay=0.01)
    taps = (Tap(stream="amount", at="amount", role="gate"), Tap(stream="delta", at="net", role="correction"))
    queries_alone(run, model, optimizer, steps=200, taps=taps, given=False)


class Pooled(nn.Module):
    """A correction from a context vector, pooled over an axis."""

    def __init__(self, dimension: int, axis: int | None) -> None:
        super().__init__()
        self.axis, self.net = axis, two_layers(dimension, 256)

    def forward(self, x: Tensor) -> Tensor:
        """Return a correction for every row."""
        context = x if self.axis is None else x.mean(dim=self.axis, keepdim=True).expand_as(x)
        return self.net(context)


@program(
    GROUP,
    "constant_correction",
    "batch_dependent_vectors",
    "loss_computed_wrongly",
    onset=0,
    world=(MINI, FOOD),
    source="section 3: constancy; pooling over the wrong axis",
)
def context_pooled_over_the_batch(run: Run, *, planted: bool = True) -> None:
    """A context that was to be pooled over a text's tokens and is pooled over the batch's rows."""
    model = Corrected(Pooled(run.world.dimension, 0 if planted else None))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    queries_alone(run, model, optimizer, steps=300, taps=(Tap(stream="delta", at="delta", role="correction"),))


@program(
    GROUP,
    "harmful_correction",
    "steps_too_large",
    onset=1,
    world=CLAIMS,
    source="ioanacroi/qb-norm#4; section 1",
)
def correction_at_the_rate_of_another_optimiser(run: Run, *, planted: bool = True) -> None:
    """A query's correction from zero under Adam at .05, a rate that was meant for plain gradient descent."""
    model = Corrected(two_layers(run.world.dimension, 512, zero=True))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-2 if planted else 5e-4)
    queries_alone(run, model, optimizer, steps=200, taps=(Tap(stream="delta", at="delta", role="correction"),))


class Retriever(nn.Module):
    """A model with the methods of its users: encode() for vectors, forward() for a score matrix."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.head = Residual(dimension)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return vectors for an index."""
        return functional.normalize(self.head(x), dim=1)

    def forward(self, q: Tensor, d: Tensor, *, fast: bool) -> Tensor:
        """Return every query's score with every document."""
        if fast:
            return self.logit_scale.exp() * self.encode(q) @ self.encode(d).T
        q, d = (functional.normalize(self.head(x), dim=1) for x in (q, d))
        return self.logit_scale.exp() * q @ d.T


@program(GROUP, "no_learning", "not_trained", onset=0, world=(LARGE, CLAIMS), source="section 4: detached; .encode()")
def scored_by_encode_in_training(run: Run, *, planted: bool = True) -> None:
    """Training scores come from encode(), made for indexing, which keeps no gradient; the scale still has one."""
    model = Retriever(run.world.dimension)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    with run.watch(model, optimizer=optimizer, query="head", document="head", raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, model.encode, model.encode)
        for step, idx in enumerate(run.batches(150, 64), start=1):
            scores = model(run.world.query[idx], run.world.document[idx], fast=planted)
            loss = functional.cross_entropy(scores, torch.arange(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 50 == 0:
                run.evaluate(w, step, model.encode, model.encode)
