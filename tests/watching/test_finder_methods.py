"""Embeddings that only a model's own methods return."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from collapse_probe.journal import Coverage
from collapse_probe.watching import watch


class OneMethod(nn.Module):
    """As FlagEmbedding's: the backbone has a matrix of its own that the loss does not use, and gives a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.backbone(x)["hidden"].mean(dim=1), dim=1)

    def forward(self, query: torch.Tensor, document: torch.Tensor) -> dict[str, Any]:
        q, d = self.encode(query), self.encode(document)
        return {"loss": nn.functional.cross_entropy(q @ d.T, torch.arange(len(q))), "q_reps": None}


class SeveralMatrices(OneMethod):
    """As FlagEmbedding's for dense and lexical vectors at once."""

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        dense = super().encode(x)
        return dense, dense @ self.backbone.words.weight.T

    def forward(self, query: torch.Tensor, document: torch.Tensor) -> dict[str, Any]:
        (q, q_words), (d, d_words) = self.encode(query), self.encode(document)
        scores = q @ d.T + q_words @ d_words.T
        return {"loss": nn.functional.cross_entropy(scores, torch.arange(len(q)))}


class TwoMethods(OneMethod):
    def encode_query(self, x: torch.Tensor) -> torch.Tensor:
        return self.encode(x)

    def encode_passage(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.encode(x)

    def forward(self, query: torch.Tensor, document: torch.Tensor) -> dict[str, Any]:
        d, q = self.encode_passage(document), self.encode_query(query)
        return {"loss": nn.functional.cross_entropy(q @ d.T, torch.arange(len(q)))}


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 8)
        self.pooler = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.words(x)
        return {"hidden": hidden, "pooler_output": self.pooler(hidden[:, 0])}


@pytest.mark.parametrize(("kind", "norm"), [(OneMethod, 1.0), (SeveralMatrices, 1.0), (TwoMethods, 2.0)])
def test_methods_are_heard_in_every_step(kind: type[nn.Module], norm: float) -> None:
    torch.manual_seed(0)
    model = kind()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer=optimizer, run=False) as watching:
        for _ in range(12):
            x = torch.randint(0, 30, (16, 4))
            model(x, x.flip(1))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
    assert not {"encode", "encode_query"} & set(vars(model))
    last = {one.stream: one for one in watching.live.of(Coverage)}
    assert {(name, one.role, one.steps) for name, one in last.items()} == {
        ("query", "query", 12),
        ("document", "document", 12),
    }
    assert "encode" in last["query"].where and last["query"].dimension == 8
    read = watching.live.series("document/norm_mean", on="batch")
    assert len(read.values) == 12 and read.values[-1] == pytest.approx(norm, abs=1e-5)
