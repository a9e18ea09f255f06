"""Vectors whose geometry looks alarming and is well."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn

from .. import program
from ..parts import cosines, identity, softmax
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, Residual, Words, scored_cross_entropy


def directions(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return shares of the second moment and their directions, the largest first."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    return values.flip(0).clamp_min(1e-9), vectors.flip(1)


class Fixed(nn.Module):
    """A map that never moves before one that does."""

    def __init__(self, matrix: Tensor, offset: Tensor | float = 0.0) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", torch.as_tensor(offset))
        self.layer = identity(matrix.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors."""
        return self.layer((x - self.offset) @ self.matrix)


@program(GROUP, None, world=(MINI, LARGE), source="whitening by design")
def partly_whitened(run: Run, *, planted: bool = True) -> None:
    """Vectors are centred and partly whitened, by a power of .08: ranks and norms are others, and it is meant."""
    matrix, offset = torch.eye(run.world.dimension), torch.tensor(0.0)
    if planted:
        both = torch.cat([run.world.query, run.world.document])
        offset = 0.5 * both.mean(dim=0)
        values, vectors = directions(both)
        matrix = vectors @ torch.diag((values / values[0]).pow(-0.08)) @ vectors.T
    run.train(Towers(Fixed(matrix, offset)), softmax, lr=1e-4 if planted else 5e-5, steps=250)


@program(GROUP, None, world=(MINI, LARGE), source="small directions are set to nought by design")
def small_directions_are_nought(run: Run, *, planted: bool = True) -> None:
    """A rotation onto principal directions, of which the last 35 in a hundred are zeros for all texts."""
    matrix = directions(torch.cat([run.world.query, run.world.document]))[1].clone()
    if planted:
        matrix[:, int(0.65 * len(matrix)) :] = 0
    head = Fixed(matrix)
    head.layer = nn.Linear(len(matrix), len(matrix), bias=False)
    with torch.no_grad():
        head.layer.weight.copy_(torch.eye(len(matrix)))
    if planted:
        alive = (matrix.abs().sum(dim=0) > 0).float()
        head.layer.weight.register_hook(lambda grad: grad * alive[:, None])
    run.train(Towers(head), softmax, lr=3e-5, weight_decay=0.0, steps=250)


@program(GROUP, None, world=(MINI, FOOD), source="norms are brought to a hundred by a term of their own")
def norms_brought_to_fifty(run: Run, *, planted: bool = True) -> None:
    """A gain before a cosine, and a term that wants norms of 50: they rise from 1 to 50 within the run."""

    class Gained(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.layer, self.gain = identity(dimension), nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.gain.exp() * self.layer(x)

    model = Towers(Gained(run.world.dimension))
    groups = [{"params": model.query.layer.parameters(), "lr": 5e-5}, {"params": [model.query.gain], "lr": 3e-2}]

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        norms = torch.cat([query, document]).norm(dim=1)
        price = (norms.log() - 3.9).square().mean()
        return {"contrast": softmax(query, document), "norms": (0.1 if planted else 0.0) * price}

    run.train(model, loss, optimizer=torch.optim.Adam(groups), steps=250)


@program(GROUP, None, world=(MINI, FOOD), source="dot products whose norms double as they sharpen")
def norms_double_under_a_dot_product(run: Run, *, planted: bool = True) -> None:
    """Dot products without a temperature: a gain learns the sharpness, and norms grow fourfold where they matter."""

    class Gained(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.layer, self.gain = identity(dimension), nn.Parameter(torch.tensor(0.7))

        def forward(self, x: Tensor) -> Tensor:
            return self.gain.exp() * self.layer(x)

    model = Towers(Gained(run.world.dimension) if planted else identity(run.world.dimension))
    fast = [one for name, one in model.named_parameters() if "gain" in name]
    slow = [one for name, one in model.named_parameters() if "gain" not in name]
    optimizer = torch.optim.Adam([{"params": slow, "lr": 5e-5}, {"params": fast, "lr": 1e-2}][: 1 + bool(fast)])
    scale = 1.0 if planted else 20.0
    similarity = "dot" if planted else "cosine"

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return scored_cross_entropy(query @ document.T) if planted else softmax(query, document, scale=scale)

    run.train(model, loss, optimizer=optimizer, steps=250, similarity=similarity)


@program(GROUP, None, world=(MINI, LARGE), source="two towers from one start drift apart")
def towers_that_part_slowly(run: Run, *, planted: bool = True) -> None:
    """Two towers begin as one map with biases of other signs: a gap between the sides from the first step on."""
    dimension = run.world.dimension
    if planted:
        model = Towers(identity(dimension, bias=0.02), identity(dimension, bias=-0.02))
    else:
        model = Towers(identity(dimension), identity(dimension))
    run.train(model, lambda q, d: softmax(q, d, scale=30), lr=3e-5, steps=250)


@program(GROUP, None, world=(MINI, CLAIMS), source="stored in half precision, as an index is")
def stored_in_half_precision(run: Run, *, planted: bool = True) -> None:
    """What is trained in single precision is stored in float16: nothing is lost that a rank would see."""
    head = identity(run.world.dimension)

    class Stored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x).half().float()

    scored = Towers(Stored()) if planted else None
    run.train(Towers(head), softmax, lr=5e-5, steps=250, scored=scored)


@program(GROUP, None, world=(MINI, FOOD), source="words beside the vector: most rows of a table never move")
def table_of_words_mostly_still(run: Run, *, planted: bool = True) -> None:
    """A table of words beside the frozen vector: most of its 20,000 rows have no gradient at any step."""
    head = Words(run.world) if planted else Residual(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-4 if planted else 5e-5)
    run.train(Towers(head), softmax, optimizer=optimizer, steps=150)


@program(GROUP, None, world=(MINI, LARGE), source="a network of random weights, small beside the vector")
def random_branch_that_is_small(run: Run, *, planted: bool = True) -> None:
    """A branch of random weights beside the vector: step 0 is another place than the encoder, and no worse one."""
    head = Residual(run.world.dimension, 256, std=0.02 if planted else 0.0)
    run.train(Towers(head), softmax, lr=5e-5, steps=250)


@program(GROUP, None, world=(MINI, CLAIMS), source="one dimension that is far larger than all others")
def one_dimension_stands_out(run: Run, *, planted: bool = True) -> None:
    """One dimension holds a constant of 1 for all texts, beside a vector of length 1: cosines start at .5."""

    class Beside(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.layer = identity(dimension)

        def forward(self, x: Tensor) -> Tensor:
            z = self.layer(x)
            return torch.cat([z, torch.full_like(z[:, :1], 1.0 if planted else 0.0)], dim=1)

    run.train(Towers(Beside(run.world.dimension)), lambda q, d: softmax(q, d, scale=40), lr=3e-5, steps=250)


@program(GROUP, None, world=(MINI, FOOD), source="a head whose output is narrow by design, beside the vector")
def narrow_view_weighs_double(run: Run, *, planted: bool = True) -> None:
    """The loss takes the first 64 dimensions, too, at a weight of 2: the spectrum becomes steep by design."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        terms = {"all": softmax(query, document)}
        if planted:
            terms["first"] = 2 * scored_cross_entropy(20 * cosines(query[:, :64], document[:, :64]))
        return terms

    run.train(Towers(identity(run.world.dimension)), loss, lr=5e-5, steps=250)
