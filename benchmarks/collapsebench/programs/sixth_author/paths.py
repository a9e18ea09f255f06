"""What is scored is not what was trained, batches that hold right answers as wrong ones, and scores too good."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, SideCorrection, clip_loss, forever, in_batch, square


class Whitening(nn.Module):
    """Takes off a mean and evens out the directions of what it was fitted on."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("kernel", torch.eye(dimension))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and kernel of rows."""
        self.mean.copy_(x.mean(dim=0))
        u, s, _ = torch.linalg.svd(torch.cov(x.T) + 1e-6 * torch.eye(x.shape[1]))
        self.kernel.copy_(u / s.sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """Return whitened vectors."""
        return (x - self.mean) @ self.kernel


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=0,
    world=(MINI, FOOD),
    source="slugs: training and scoring differ; a whitening step of the search service",
)
def whitened_by_the_old_statistics(run: Run, *, planted: bool = True) -> None:
    """The search service whitens all vectors by statistics of the encoder before training; the loss knows nothing."""
    head = nn.Sequential(square(run.world.dimension), nn.Tanh())
    service = Whitening(run.world.dimension)
    if planted:
        service.fit(torch.cat([run.world.query, run.world.document[:4000]]))
    scored = Towers(nn.Sequential(head, service)) if planted else None
    optimizer = torch.optim.Adamax(head.parameters(), lr=1e-3)
    run.train(Towers(head), clip_loss, optimizer=optimizer, steps=300, batch=64, evaluations=3, scored=scored)


class Prompted(nn.Module):
    """A correction behind tanh of a number in training, and behind the number itself where it serves."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dimension, 256), nn.GELU(), nn.Linear(256, dimension))
        self.gate = nn.Parameter(torch.full((1,), 0.05))

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector as the loss sees it."""
        return x + torch.tanh(self.gate) * functional.normalize(self.net(x), dim=1)

    @torch.no_grad()
    def serve(self, x: Tensor) -> Tensor:
        """Return the vector as the inference script makes it."""
        return x + self.gate * functional.normalize(self.net(x), dim=1)


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=1,
    world=MINI,
    source="OpenGVLab/LLaMA-Adapter#39",
)
def inference_script_without_the_tanh(run: Run, *, planted: bool = True) -> None:
    """A gate goes through tanh in training; the older script that serves the model multiplies by the bare number."""
    model = Prompted(run.world.dimension)
    rates = [{"params": model.net.parameters(), "lr": 5e-4}, {"params": [model.gate], "lr": 1e-1}]
    opt = torch.optim.Adam(rates)
    served = model.serve if planted else model
    index = run.world.document
    with run.watch(
        model,
        optimizer=opt,
        query="",
        taps=[Tap(stream="gate", at="gate", role="gate")],
        reference=lambda: (served(run.world.reference[0]), run.world.reference[1]),
    ) as w:
        run.evaluate(w, 0, served, nn.Identity())
        for step, rows in enumerate(run.batches(300, 64), start=1):
            w.observe("document", index[rows])
            loss = in_batch(model(run.world.query[rows]), index[rows])
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, served, nn.Identity())


@program(
    GROUP,
    "false_negatives",
    "false_negatives",
    onset=1,
    world=(MINI, LARGE),
    source="fartashf/vsepp#6; several captions of one picture in a batch",
)
def paraphrases_of_one_question_together(run: Run, *, planted: bool = True) -> None:
    """Batches hold eight wordings of each question with one answer; a contrastive loss calls all but one wrong."""
    net = square(run.world.dimension)
    opt = torch.optim.Adam(net.parameters(), lr=1e-4)
    draw = torch.Generator().manual_seed(run.seed)
    groups, wordings, margin = 8, 8, 1.2

    def contrastive(q: Tensor, d: Tensor, group: Tensor) -> Tensor:
        far = torch.cdist(functional.normalize(q, dim=1), functional.normalize(d, dim=1))
        same = torch.eye(len(q), dtype=torch.bool)
        wrong = ~same if planted else group[:, None] != group[None]
        return far[same].square().mean() + functional.relu(margin - far)[wrong].square().sum() / len(q)

    with run.watch(net, optimizer=opt, query="", document="", examples=wordings * len(run.world.query)) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(300, groups), start=1):
            rows = rows.repeat_interleave(wordings)
            asked = run.world.query[rows]
            asked = asked + 0.1 * torch.randn(asked.shape, generator=draw) / asked.shape[1] ** 0.5
            loss = contrastive(net(asked), net(run.world.document[rows]), rows)
            w.terms(contrastive=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, net, net)


class Reproducible(nn.Module):
    """A head behind dropout."""

    def __init__(self, dimension: int, *, functional_call: bool) -> None:
        super().__init__()
        self.head, self.functional_call = SideCorrection(dimension), functional_call
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors."""
        if not self.functional_call:
            return self.head(self.drop(x))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.head(functional.dropout(x, 0.5))


@program(
    GROUP,
    "too_good",
    "leak",
    "batch_dependent_vectors",
    onset=0,
    world=(MINI, CLAIMS),
    source="4uiiurz1/keras-arcface#14; a seed inside forward, and a functional dropout that is always on",
)
def seed_inside_the_forward(run: Run, *, planted: bool = True) -> None:
    """Each forward seeds its dropout, never off: row i of queries and of documents lose the same dimensions."""
    model = Reproducible(run.world.dimension, functional_call=planted)
    opt = torch.optim.AdamW(model.parameters(), lr=5e-4)
    batches = forever(run, 64)
    with run.watch(model, optimizer=opt, reference=lambda: tuple(map(model, run.world.reference))) as w:
        for step in range(251):
            if step % 50 == 0:
                model.eval()
                run.evaluate(w, step, model, model)
                model.train()
            if step == 250:
                break
            q, d = next(batches)
            loss = in_batch(model(q), model(d))
            loss.backward()
            opt.step()
            opt.zero_grad()
        model.eval()
