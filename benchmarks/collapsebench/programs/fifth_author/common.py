"""What programs of this package share: their group, worlds, and a few parts that many people's code has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = "fifth_author"
MED, MED_LARGE = "minilm/medquad/scifact", "mpnet/medquad/scifact"
SCI, NF = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


def square(width: int, *, bias: bool = True) -> nn.Linear:
    """Return a square layer that changes nothing before it is trained."""
    layer = nn.Linear(width, width, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width))
        if bias:
            layer.bias.zero_()
    return layer


def unit(x: Tensor) -> Tensor:
    """Return rows of length 1."""
    return functional.normalize(x, p=2, dim=-1)


def info_nce(a: Tensor, b: Tensor, tau: float = 0.05) -> Tensor:
    """Return the cross-entropy of each row's own partner among the batch's."""
    return functional.cross_entropy(unit(a) @ unit(b).T / tau, torch.arange(a.shape[0]))


class BiEncoder(nn.Module):
    """Two encoders, called with the name of the side."""

    def __init__(self, q_enc: nn.Module, d_enc: nn.Module) -> None:
        super().__init__()
        self.q_enc, self.d_enc = q_enc, d_enc

    def forward(self, q: Tensor, d: Tensor) -> dict[str, Tensor]:
        """Return both sides by name."""
        return {"q_reps": self.q_enc(q), "d_reps": self.d_enc(d)}
