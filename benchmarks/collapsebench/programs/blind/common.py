"""What several blind programs share: their group, their worlds, and small parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = "blind"
MINI, LARGE = "minilm/medquad/scifact", "mpnet/medquad/scifact"
CLAIMS, FOOD = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


def eye_linear(dimension: int, *, scale: float = 1.0, bias: bool = True) -> nn.Linear:
    """Return a linear layer that starts as a multiple of the identity."""
    layer = nn.Linear(dimension, dimension, bias=bias)
    nn.init.eye_(layer.weight).data.mul_(scale)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def nce(query: Tensor, document: Tensor, temperature: float | Tensor = 0.05) -> Tensor:
    """Return the in-batch softmax of cosines, own document against the batch's others."""
    logits = functional.normalize(query, dim=-1) @ functional.normalize(document, dim=-1).T / temperature
    return functional.cross_entropy(logits, torch.arange(len(logits)))


class TwoTower(nn.Module):
    """A query encoder and an item encoder."""

    def __init__(self, user: nn.Module, item: nn.Module) -> None:
        super().__init__()
        self.user, self.item = user, item

    def forward(self, q: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return both sides' vectors."""
        return self.user(q), self.item(d)


class Residual(nn.Module):
    """A vector and what a bottleneck makes of it, whose last layer starts at zero unless told otherwise."""

    def __init__(self, dimension: int, width: int = 96, *, zero: bool = True) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dimension, width), nn.Linear(width, dimension)
        if zero:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector with its correction."""
        return x + self.up(functional.silu(self.down(x)))
