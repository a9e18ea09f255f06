"""What the programs of this package share: names of worlds, a few losses, a linear map and an adapter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = "seventh_author"
MINI, LARGE = "minilm/medquad/scifact", "mpnet/medquad/scifact"
CLAIMS, FOOD = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


def unit(*vectors: Tensor) -> list[Tensor]:
    """Return vectors at length one."""
    return [functional.normalize(z, dim=-1) for z in vectors]


def alignment(query: Tensor, document: Tensor) -> Tensor:
    """Return the mean squared distance of own pairs at length one."""
    query, document = unit(query, document)
    return (query - document).square().sum(dim=1).mean()


def uniformity(z: Tensor) -> Tensor:
    """Return the logarithm of the mean Gaussian potential of all pairs of rows at length one."""
    return torch.pdist(functional.normalize(z, dim=1)).square().mul(-2).exp().mean().log()


def triplets(query: Tensor, document: Tensor, *, margin: float) -> Tensor:
    """Return the triplet loss of Euclidean distances, with the next row's document as the negative."""
    own = functional.pairwise_distance(query, document)
    other = functional.pairwise_distance(query, document.roll(1, dims=0))
    return functional.relu(own - other + margin).mean()


def bpr(query: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Return the pairwise ranking loss of dot products."""
    return -functional.logsigmoid(10 * (query * (own - other)).sum(dim=1)).mean()


def sigmoid_pairs(query: Tensor, document: Tensor, *, scale: float = 10.0, bias: float = -10.0) -> Tensor:
    """Return the pairwise sigmoid loss of a batch, summed over documents."""
    query, document = unit(query, document)
    sign = 2 * torch.eye(len(query)) - 1
    return -functional.logsigmoid(sign * (scale * query @ document.T + bias)).sum(dim=1).mean()


class Adapter(nn.Module):
    """A vector and its correction, the last layer of which starts at zero, or small."""

    def __init__(self, dimension: int, width: int = 128, *, std: float = 0.0) -> None:
        super().__init__()
        self.delta = nn.Sequential(nn.Linear(dimension, width), nn.ReLU(), nn.Linear(width, dimension))
        nn.init.normal_(self.delta[2].weight, std=std)
        nn.init.zeros_(self.delta[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the corrected vector."""
        return x + self.delta(x)
