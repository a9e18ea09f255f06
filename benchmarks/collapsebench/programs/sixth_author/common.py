"""What the programs of this package share: names of worlds, an in-batch loss, batches of a loader."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

GROUP = "sixth_author"
MINI, LARGE = "minilm/medquad/scifact", "mpnet/medquad/scifact"
CLAIMS, FOOD = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


def in_batch(query: Tensor, document: Tensor, tau: float = 0.05) -> Tensor:
    """Return the softmax loss of every query over the batch's documents."""
    sims = torch.einsum("id,jd->ij", functional.normalize(query, dim=1), functional.normalize(document, dim=1))
    return functional.cross_entropy(sims / tau, torch.arange(len(sims)))


def clip_loss(query: Tensor, document: Tensor, tau: float = 0.05) -> Tensor:
    """Return the softmax loss in both directions."""
    return 0.5 * (in_batch(query, document, tau) + in_batch(document, query, tau))


def loader(run: Run, size: int, *, epoch: int = 0) -> DataLoader:
    """Return a loader of query and document vectors, shuffled by seed and epoch."""
    generator = torch.Generator().manual_seed(100 * run.seed + epoch)
    data = TensorDataset(run.world.query, run.world.document)
    return DataLoader(data, batch_size=size, shuffle=True, drop_last=True, generator=generator)


def forever(run: Run, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, epoch after epoch."""
    epoch = 0
    while True:
        yield from loader(run, size, epoch=epoch)
        epoch += 1


class SideCorrection(nn.Module):
    """A bottleneck beside the vector, whose output layer starts at zero."""

    def __init__(self, dimension: int, width: int = 128, *, std: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dimension, width), nn.GELU(), nn.Linear(width, dimension))
        nn.init.normal_(self.net[2].weight, std=std) if std else nn.init.zeros_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector and its correction, added."""
        return x + self.net(x)


def square(dimension: int) -> nn.Linear:
    """Return a linear layer that starts as the identity."""
    layer = nn.Linear(dimension, dimension)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
