"""Rates, batches and noise that look alarming and are well."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn

from .. import program
from ..parts import identity, softmax
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, Residual, watched


@program(GROUP, None, world=(MINI, FOOD), source="small batches: the loss leaps by a factor of ten")
def batches_of_six(run: Run, *, planted: bool = True) -> None:
    """Batches of six pairs at a small rate: the loss is noise between 0 and 2."""
    run.train(
        Towers(identity(run.world.dimension)),
        softmax,
        lr=8e-5 if planted else 2e-5,
        batch=6 if planted else 64,
        steps=300,
    )


@program(GROUP, None, world=(MINI, LARGE), source="a rate of .1 under plain gradient descent")
def large_rate_under_gradient_descent(run: Run, *, planted: bool = True) -> None:
    """Plain gradient descent with momentum at a rate of .1: a large number, and small steps."""
    model = Towers(identity(run.world.dimension))
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    adam = torch.optim.AdamW(model.parameters(), lr=5e-5)
    run.train(model, softmax, optimizer=sgd if planted else adam, steps=200)


@program(GROUP, None, world=(MINI, CLAIMS), source="decay that halves the norms, under a cosine")
def decay_that_halves_the_norms(run: Run, *, planted: bool = True) -> None:
    """A decay of 40 at a rate of 5e-5 takes .2 % of every weight at each step: norms halve, and cosines stay."""
    decay = 40.0 if planted else 0.01
    run.train(Towers(identity(run.world.dimension)), softmax, lr=5e-5, weight_decay=decay, steps=300)


@program(GROUP, None, world=(MINI, FOOD), source="half of the weights held by design")
def every_other_row_is_held(run: Run, *, planted: bool = True) -> None:
    """Gradients of every other output are set to 0 by design: half of all weights never move."""
    model = Towers(identity(run.world.dimension))
    mask = (torch.arange(run.world.dimension) % 2).float()
    if planted:
        model.query.weight.register_hook(lambda grad: grad * mask[:, None])
        model.query.bias.register_hook(lambda grad: grad * mask)
    run.train(model, softmax, lr=7e-5 if planted else 5e-5, weight_decay=0.0, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="few pairs, and an early stop")
def sixty_pairs_and_an_early_stop(run: Run, *, planted: bool = True) -> None:
    """Sixty-four pairs for forty steps at a small rate: the loss falls on them, and training stops in time."""
    head = Residual(run.world.dimension)
    run.train(Towers(head), softmax, lr=3e-5, steps=40, batch=32, rows=64 if planted else None)


@program(GROUP, None, world=(MINI, CLAIMS), source="FlagOpen/FlagEmbedding#403: accumulation")
def eight_small_batches_a_step(run: Run, *, planted: bool = True) -> None:
    """Gradients of eight batches of 16 are accumulated for a step, each divided by eight: losses of an eighth."""
    model = Towers(identity(run.world.dimension))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    query, document = run.world.query, run.world.document
    parts = 8 if planted else 1
    with watched(run, model, optimizer) as w:
        run.evaluate(w, 0, model.query, model.query)
        for number, rows in enumerate(run.batches(150 * parts, 16 if planted else 64), start=1):
            loss = softmax(model.query(query[rows]), model.query(document[rows])) / parts
            w.terms(loss=loss)
            loss.backward()
            if number % parts == 0:
                optimizer.step()
                optimizer.zero_grad()
                if number // parts % 50 == 0:
                    run.evaluate(w, number // parts, model.query, model.query)


@program(GROUP, None, world=(MINI, FOOD), source="noise on gradients by design")
def noise_on_every_gradient(run: Run, *, planted: bool = True) -> None:
    """Gradients get noise of their own size: norms never fall, and updates have no common way."""
    model = Towers(identity(run.world.dimension))
    for one in model.parameters() if planted else ():
        one.register_hook(lambda grad: grad + grad.std() * torch.randn_like(grad))
    run.train(model, softmax, lr=3e-5, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="a rate that falls twice to a tenth: the end is flat")
def rate_that_falls_twice(run: Run, *, planted: bool = True) -> None:
    """The rate falls to a tenth at steps 80 and 160: the loss has two knees, and its last half is flat."""

    def fall(step: int, optimizer: torch.optim.Optimizer) -> None:
        if planted and step in (80, 160):
            optimizer.param_groups[0]["lr"] *= 0.1

    rate = 1e-4 if planted else 5e-5
    run.train(Towers(identity(run.world.dimension)), softmax, lr=rate, steps=300, before_step=fall)


@program(GROUP, None, world=(MINI, CLAIMS), source="a triangle of rates: sizes of updates leap by fifty")
def triangles_of_rates(run: Run, *, planted: bool = True) -> None:
    """Rates rise and fall along a triangle every 40 steps, between 2e-6 and 1e-4."""

    def turn(step: int, optimizer: torch.optim.Optimizer) -> None:
        if planted:
            optimizer.param_groups[0]["lr"] = 2e-6 + 9.8e-5 * (1 - abs(step % 40 - 20) / 20)

    run.train(Towers(identity(run.world.dimension)), softmax, lr=5e-5, steps=240, before_step=turn)


@program(GROUP, None, world=(MINI, FOOD), source="whole branches that are dropped in training")
def branch_dropped_for_most_batches(run: Run, *, planted: bool = True) -> None:
    """A residual branch is left out in seven of ten batches of training, and always in when scored."""

    class Dropped(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.inner = Residual(dimension)

        def forward(self, x: Tensor) -> Tensor:
            if planted and self.training and float(torch.rand(())) < 0.7:
                return x + 0 * self.inner.delta(x)
            return self.inner(x)

    run.train(Towers(Dropped(run.world.dimension)), softmax, lr=1e-4 if planted else 5e-5, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="gradients of unit length under gradient descent")
def gradients_of_unit_length(run: Run, *, planted: bool = True) -> None:
    """Gradients are brought to length 1 before plain descent: their norm is the same at every step, to six digits."""
    model = Towers(identity(run.world.dimension))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03 if planted else 0.05)
    query, document = run.world.query, run.world.document
    with watched(run, model, optimizer) as w:
        run.evaluate(w, 0, model.query, model.query)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(model.query(query[rows]), model.query(document[rows]))
            w.terms(loss=loss)
            loss.backward()
            if planted:
                length = torch.cat([one.grad.flatten() for one in model.parameters()]).norm()
                for one in model.parameters():
                    one.grad.div_(length)
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model.query, model.query)
