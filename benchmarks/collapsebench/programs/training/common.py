"""What several of these programs share."""

from __future__ import annotations

import torch
from loop import Run
from torch import Tensor, nn

from collapse_probe import Tap

from ..parts import identity, softmax

GROUP = "training"


MINILM, MPNET, SCIFACT = "minilm/medquad/scifact", "mpnet/medquad/scifact", "minilm/scifact/nfcorpus"


def nothing(x: Tensor) -> Tensor:
    return x


class LowRank(nn.Module):
    """A frozen map with a low-rank adapter beside it."""

    def __init__(self, dimension: int, rank: int = 32) -> None:
        super().__init__()
        self.base = identity(dimension).requires_grad_(False)
        self.down = nn.Linear(dimension, rank, bias=False)
        self.up = nn.Linear(rank, dimension, bias=False)
        nn.init.zeros_(self.up.weight)

    def adapter(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.adapter(x)


class Predictor(nn.Module):
    """A query's correction, with a gate before it."""

    def __init__(self, dimension: int, *, gate: float, width: int = 512) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dimension, width), nn.GELU(), nn.Linear(width, dimension))
        self.gate = nn.Parameter(torch.tensor(gate))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.net(x)


PREDICTOR = (Tap(stream="delta", at="net", role="correction"), Tap(stream="gate", at="gate", role="gate"))


def frozen_documents(
    run: Run,
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int = 200,
    scale: float = 20.0,
    penalty: object = None,
    taps: tuple[Tap, ...] = PREDICTOR,
) -> None:
    """Train a head of the queries against an index that stays as it is."""
    index = run.world.document
    with run.watch(
        head,
        optimizer=optimizer,
        query="",
        taps=taps,
        reference=lambda: (head(run.world.reference[0]), run.world.reference[1]),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, head, nothing)
        for step, rows in enumerate(run.batches(steps, 64), start=1):
            query, document = run.world.query[rows], index[rows]
            found = head(query)
            w.observe("document", document)
            terms = {"contrast": softmax(found, document, scale=scale)}
            if penalty is not None:
                terms["penalty"] = penalty(query)
            w.terms(terms)
            sum(terms.values()).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, nothing)


class Hash(nn.Module):
    """Codes between -1 and 1 of so many bits, from a random projection."""

    def __init__(self, dimension: int, bits: int, sharpness: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(dimension, bits)
        self.bound = nn.Tanh()
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        return self.bound(self.sharpness * self.layer(x))
