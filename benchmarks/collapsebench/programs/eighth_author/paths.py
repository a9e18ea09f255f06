"""What is scored is not what was trained, and pairs that are none."""

from __future__ import annotations

from collections import defaultdict

import torch
from loop import Run, Towers
from torch import Tensor, nn

from collapse_probe import Tap

from .. import program
from ..parts import identity, softmax
from .common import CLAIMS, GROUP, LARGE, MINI, Residual


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=0,
    world=(MINI, CLAIMS),
    source="NVIDIA-Merlin/models#389: the towers of a served model",
)
def towers_exchanged_when_served(run: Run, *, planted: bool = True) -> None:
    """Two towers; the service that encodes queries loads the documents' file, and the other one the queries'."""
    heads = [nn.Linear(run.world.dimension, 256) for _ in range(2)]
    scored = Towers(heads[1], heads[0]) if planted else None
    run.train(Towers(*heads), softmax, lr=1e-3, steps=300, scored=scored)


class Slice(nn.Module):
    """Some dimensions in a row."""

    def __init__(self, first: int, end: int) -> None:
        super().__init__()
        self.part = slice(first, end)

    def forward(self, x: Tensor) -> Tensor:
        """Return these."""
        return x[:, self.part]


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=0,
    world=LARGE,
    source="nested dimensions: the last ones in place of the first",
)
def cut_at_the_other_end(run: Run, *, planted: bool = True) -> None:
    """The first 96 dimensions are trained to stand alone; the service keeps the last 96."""
    dimension = run.world.dimension
    head, first, last = identity(dimension), Slice(0, 96), Slice(dimension - 96, dimension)
    scored = Towers(nn.Sequential(head, last)) if planted else None
    run.train(Towers(nn.Sequential(head, first)), softmax, lr=5e-4, steps=300, weight_decay=0.0, scored=scored)


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=0,
    world=MINI,
    source="huggingface/trl#386: a scale of the adapter that the merge takes from elsewhere",
)
def served_at_eight_times_its_scale(run: Run, *, planted: bool = True) -> None:
    """A query's correction is merged by alpha, which is eight times the alpha over rank that it was trained with."""

    class Scaled(nn.Module):
        def __init__(self, delta: nn.Module, scale: float) -> None:
            super().__init__()
            self.delta, self.scale = delta, scale

        def forward(self, x: Tensor) -> Tensor:
            return x + self.scale * self.delta(x)

    delta = Residual(run.world.dimension).delta
    scored = Towers(Scaled(delta, 8.0), nn.Identity()) if planted else None
    taps = [Tap(stream="delta", at="query.delta", role="correction")]
    model = Towers(Scaled(delta, 1.0), nn.Identity())
    run.train(model, softmax, lr=5e-4, steps=300, scored=scored, taps=taps)


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=0,
    world=MINI,
    source="a join by a key that is not unique",
)
def joined_by_the_first_words(run: Run, *, planted: bool = True) -> None:
    """Two tables are joined by a cut title: a question gets the document of any that begins with the same words."""
    groups = defaultdict(list)
    for row, text in enumerate(run.world.texts[0]):
        groups[" ".join(text.split()[:3])].append(row)
    generator = torch.Generator().manual_seed(8)
    other = torch.arange(len(run.world.query))
    for rows in groups.values():
        other[rows] = torch.tensor(rows)[torch.randperm(len(rows), generator=generator)]
    pairs = (run.world.query, run.world.document[other]) if planted else None
    run.train(Towers(identity(run.world.dimension)), softmax, lr=1e-3, steps=300, pairs=pairs)


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=0,
    world=MINI,
    source="a file of right and wrong pairs, whose column of labels is not read",
)
def labels_that_nobody_reads(run: Run, *, planted: bool = True) -> None:
    """Two in three rows of the file are wrong pairs with the label 0; the loss takes all rows for right ones."""
    generator = torch.Generator().manual_seed(8)
    other = torch.arange(len(run.world.query))
    wrong = torch.randperm(len(other), generator=generator)[: 2 * len(other) // 3]
    other[wrong] = wrong.roll(1)
    pairs = (run.world.query, run.world.document[other]) if planted else None
    run.train(Towers(identity(run.world.dimension)), softmax, lr=1e-3, steps=300, pairs=pairs)
