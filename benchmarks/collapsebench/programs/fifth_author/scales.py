"""Norms that shrink or grow under dot products and distances, bounds that are reached, corrections that die, hubs."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from .common import GROUP, MED, MED_LARGE, NF, SCI, info_nce, square


@program(
    GROUP,
    "scale_collapse",
    "loss_computed_wrongly",
    onset=1,
    world=(MED, NF),
    source="own: a teacher's vectors in eight bits, whose scale was applied twice",
)
def targets_dequantised_twice(run: Run, *, planted: bool = True) -> None:
    """A student is regressed on stored vectors; the reader divides by 127, and so does the loop once more."""
    student = nn.Linear(run.world.dimension, run.world.dimension)
    scale = 1 / 127 if planted else 1.0
    mse = nn.MSELoss(reduction="sum")
    opt = torch.optim.Adam(student.parameters(), lr=1e-3)
    reference = run.world.reference
    with run.watch(
        student,
        optimizer=opt,
        loss=mse,
        query="",
        document="",
        similarity="euclidean",
        reference=lambda: tuple(map(student, reference)),
    ) as w:
        run.evaluate(w, 0, student, student, similarity="euclidean")
        for it, rows in enumerate(run.batches(350, 64), 1):
            opt.zero_grad()
            query, document = run.world.query[rows], run.world.document[rows]
            q, d = student(query), student(document)
            loss = (mse(q, scale * query) + mse(d, scale * document)) / len(rows)
            loss.backward()
            w.monitor(loss=loss)
            opt.step()
            if it % 70 == 0:
                run.evaluate(w, it, student, student, similarity="euclidean")


@program(
    GROUP,
    "scale_explosion",
    "steps_too_large",
    onset=1,
    world=(MED, MED_LARGE),
    source="gradients that are set to zero once in an epoch",
)
def gradients_zeroed_once_in_an_epoch(run: Run, *, planted: bool = True) -> None:
    """``zero_grad`` slipped out of the inner loop: every step moves by the sum of all gradients of the epoch so far."""
    encoder = square(run.world.dimension)
    sgd = torch.optim.SGD(encoder.parameters(), lr=0.05)
    loader = list(run.batches(280, 64))
    with run.watch(encoder, optimizer=sgd, similarity="dot") as w:
        run.evaluate(w, 0, encoder, encoder, similarity="dot")
        for it, rows in enumerate(loader, 1):
            if (it - 1) % 140 == 0 or not planted:
                sgd.zero_grad()
            scores = encoder(run.world.query[rows]) @ encoder(run.world.document[rows]).T
            loss = functional.cross_entropy(10 * scores, torch.arange(64))
            loss.backward()
            sgd.step()
            if it % 70 == 0:
                run.evaluate(w, it, encoder, encoder, similarity="dot")


class Ranged(nn.Module):
    """Codes between -1 and 1, by a range that was observed before the training."""

    def __init__(self, width: int, bits: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, bits, bias=False)
        nn.init.orthogonal_(self.proj.weight)
        self.clip = nn.Hardtanh()
        self.register_buffer("range", torch.ones(()))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take the range of these inputs' outputs."""
        self.range.copy_(self.proj(x).abs().max())

    def forward(self, x: Tensor) -> Tensor:
        """Return them."""
        return self.clip(self.proj(x) / self.range)


@program(
    GROUP,
    "saturation",
    "temperature_or_margin",
    "dead_units",
    onset=0,
    world=(MED, SCI),
    source="own: an observer that saw the example input of an export",
)
def range_of_an_example_input(run: Run, *, planted: bool = True) -> None:
    """The range of clipped codes is observed on the small random input of an export and not on the data."""
    coder = Ranged(run.world.dimension, 192)
    coder.observe(1e-4 * torch.randn(16, run.world.dimension) if planted else run.world.document[:256])
    opt = torch.optim.AdamW(coder.parameters(), lr=5e-4)
    taps = [Tap(stream="code", at="query.clip", role="hidden")]
    run.train(Towers(coder), lambda q, d: info_nce(q, d, 0.07), optimizer=opt, steps=300, taps=taps)


class Patched(nn.Module):
    """A frozen vector and a rectified bottleneck's correction of it."""

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__()
        self.patch = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.patch(x)


@program(
    GROUP,
    "delta_collapse",
    "dead_units",
    "steps_too_large",
    onset=1,
    world=(MED, MED_LARGE),
    source="own: the group without decay has a rate of its own",
)
def biases_at_the_rate_of_a_step(run: Run, *, planted: bool = True) -> None:
    """Biases stand in a group without decay, whose rate was forgotten at 1: a hidden unit that falls never rises."""
    model = Patched(run.world.dimension)
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    weights = [p for n, p in model.named_parameters() if not n.endswith("bias")]
    opt = torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": 0.01},
            {"params": biases, "weight_decay": 0.0, "lr": 1.0 if planted else 5e-4},
        ],
        lr=5e-4,
    )

    def index(x: Tensor) -> Tensor:
        return x

    with run.watch(
        model,
        optimizer=opt,
        query="",
        taps=[Tap(stream="delta", at="patch", role="correction")],
        reference=lambda: (model(run.world.reference[0]), run.world.reference[1]),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, model, index)
        for it, rows in enumerate(run.batches(300, 64), 1):
            d = run.world.document[rows]
            w.observe("document", d)
            loss = info_nce(model(run.world.query[rows]), d)
            w.terms(nce=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if it % 60 == 0:
                run.evaluate(w, it, model, index)


class Prior(nn.Module):
    """A document's vector with its prior as one more dimension, or a query's with a 1."""

    def __init__(self, width: int, *, document: bool) -> None:
        super().__init__()
        self.vector = square(width)
        self.prior = None
        if document:
            self.prior = nn.Sequential(nn.BatchNorm1d(width, affine=False), nn.Linear(width, 1, bias=False))
            nn.init.zeros_(self.prior[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return D + 1 dimensions."""
        last = torch.ones(len(x), 1) if self.prior is None else self.prior(x)
        return torch.cat([functional.normalize(self.vector(x), dim=1), last], dim=1)


@program(
    GROUP,
    "hubness",
    "steps_too_large",
    onset=1,
    world=(MED, NF),
    source="own: a prior of documents at the rate of a table",
)
def prior_of_documents_at_a_high_rate(run: Run, *, planted: bool = True) -> None:
    """Documents have a learned prior, whose rate is that of another group: it outgrows what a query asks."""
    dim = run.world.dimension
    model = Towers(Prior(dim, document=False), Prior(dim, document=True))
    slow = [*model.query.parameters(), *model.document.vector.parameters()]
    rate = 8e-3 if planted else 1e-5
    opt = torch.optim.Adam([{"params": slow}, {"params": model.document.prior.parameters(), "lr": rate}], lr=2e-4)

    def loss(q: Tensor, d: Tensor) -> dict[str, Tensor]:
        return {"ranking": functional.cross_entropy(20 * q @ d.T, torch.arange(len(q)))}

    run.train(model, loss, optimizer=opt, similarity="dot", steps=300)
