"""What the programs of this package share: names of worlds, a few losses, adapters, and words beside vectors."""

from __future__ import annotations

import zlib

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional
from worlds import World, _collection, _pairs

GROUP = "eighth_author"
MINI, LARGE = "minilm/medquad/scifact", "mpnet/medquad/scifact"
CLAIMS, FOOD = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


def unit(z: Tensor) -> Tensor:
    """Return rows at length one."""
    return functional.normalize(z, dim=-1)


def scored_cross_entropy(scores: Tensor) -> Tensor:
    """Return the softmax loss of scores whose diagonal holds the own ones."""
    return functional.cross_entropy(scores, torch.arange(len(scores)))


def squares_off_diagonal(matrix: Tensor) -> Tensor:
    """Return the sum of the squares of what is not on the diagonal."""
    return matrix.square().sum() - matrix.diagonal().square().sum()


def sigmoid_pairs(query: Tensor, document: Tensor, scale: Tensor | float, bias: Tensor | float) -> Tensor:
    """Return the pairwise sigmoid loss of a batch, summed over its documents."""
    scores = scale * unit(query) @ unit(document).T + bias
    return -functional.logsigmoid((2 * torch.eye(len(scores)) - 1) * scores).sum(dim=1).mean()


class Residual(nn.Module):
    """A vector and what a network of one hidden layer adds to it; nothing at first, or little."""

    def __init__(self, dimension: int, width: int = 128, *, std: float = 0.0) -> None:
        super().__init__()
        self.delta = nn.Sequential(nn.Linear(dimension, width), nn.GELU(), nn.Linear(width, dimension))
        nn.init.normal_(self.delta[2].weight, std=std)
        nn.init.zeros_(self.delta[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.delta(x)


class Seen(nn.Module):
    """A map that keeps its last input, for losses that want the frozen vector, too."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Return what the map makes of a vector."""
        self.inputs = [*self.inputs[-1:], x]
        return self.layer(x)


class Words(nn.Module):
    """A vector and the mean of its text's words in a table that starts at nought; texts are found by their vectors."""

    def __init__(self, of: World, *, lower: bool = True, most: int = 40) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(20_000, of.dimension, mode="mean")
        nn.init.zeros_(self.table.weight)
        self.texts, self.lower, self.most = _by_vector(of), lower, most
        self._known: dict[bytes, list[int]] = {}

    def words(self, x: Tensor) -> list[list[int]]:
        """Return numbers of the words of each row's text."""
        for key in {row.tobytes() for row in x.numpy()} - self._known.keys():
            text = self.texts[key]
            words = (text.lower() if self.lower else text).split()[: self.most]
            self._known[key] = [zlib.crc32(word.encode()) % 20_000 for word in words] or [0]
        return [self._known[row.tobytes()] for row in x.numpy()]

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        found = self.words(x)
        ends = torch.tensor([0, *map(len, found[:-1])]).cumsum(dim=0)
        return x + self.table(torch.tensor([word for one in found for word in one]), ends)


def _by_vector(of: World) -> dict[bytes, str]:
    _, pairs, collection = of.name.split("/")
    queries, documents = _pairs(pairs)
    asked, searched, _ = _collection(collection)
    distinct = list(dict.fromkeys(documents))
    found = dict(zip(_keys(of.query), of.texts[0], strict=True)) | dict(
        zip(_keys(of.document), of.texts[1], strict=True)
    )
    found |= dict(zip(_keys(of.inside.query), [queries[int(row)] for row in of.inside.query_ids], strict=True))
    found |= dict(zip(_keys(of.inside.document), distinct, strict=True))
    found |= dict(zip(_keys(of.collection.query), [asked[one] for one in of.collection.query_ids], strict=True))
    return found | dict(zip(_keys(of.collection.document), searched.values(), strict=True))


def _keys(x: Tensor) -> list[bytes]:
    return [row.tobytes() for row in x.numpy()]


def watched(run: Run, model: Towers, optimizer: torch.optim.Optimizer, **options: object):
    """Return a watch of a loop by hand over one map of both sides."""
    return run.watch(
        model,
        optimizer=optimizer,
        query="query",
        document="query",
        reference=lambda: tuple(map(model.query, run.world.reference)),
        raw=lambda: run.world.reference,
        examples=len(run.world.query),
        **options,
    )
