"""Heads and losses that programs share, as people write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def identity(dimension: int, *, bias: float = 0.0) -> nn.Linear:
    """Return a linear map that starts at the identity, with an equal bias everywhere."""
    layer = nn.Linear(dimension, dimension)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(dimension))
        layer.bias.fill_(bias)
    return layer


def mlp(dimension: int) -> nn.Sequential:
    """Return a GELU head of random weights."""
    return nn.Sequential(nn.Linear(dimension, 2 * dimension), nn.GELU(), nn.Linear(2 * dimension, dimension))


def cosines(query: Tensor, document: Tensor) -> Tensor:
    """Return every query's cosine with every document."""
    return functional.normalize(query, dim=1) @ functional.normalize(document, dim=1).T


def softmax(query: Tensor, document: Tensor, *, scale: float = 20.0) -> Tensor:
    """Return the in-batch softmax of cosines."""
    scores = scale * cosines(query, document)
    return functional.cross_entropy(scores, torch.arange(len(scores)))


def one_minus_cosine(query: Tensor, document: Tensor) -> Tensor:
    """Return what only pulls a pair together."""
    return 1 - functional.cosine_similarity(query, document).mean()


class Founding(nn.Module):
    """The founding losses: a bounded correction of the query, pulled to the document, penalised, and isotropy."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.net = mlp(dimension)
        self.alpha = nn.Parameter(torch.tensor(0.1))

    def forward(self, query: Tensor, document: Tensor) -> dict[str, Tensor]:
        """Return the three weighted terms."""
        delta = torch.tanh(self.net(query))
        predicted = query + self.alpha * delta
        both = torch.cat([query, document])
        covariance = torch.cov(both.T)
        target = both.var() * torch.eye(both.shape[1])
        return {
            "isotropy": 1.5 * torch.linalg.matrix_norm(covariance - target) / both.shape[1],
            "predictive": 1.2 * functional.mse_loss(predicted, document.detach()),
            "residual": 0.01 * delta.square().sum(dim=1).mean(),
        }
