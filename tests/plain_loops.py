"""Plain training loops that several tests watch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from collapse_probe.watching import Watch


def tower(inputs: int = 12, outputs: int = 8, *, dropout: float = 0.0) -> nn.Sequential:
    """Return a small encoder; with dropout it has batch norm, too."""
    between = [nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout)] if dropout else [nn.Tanh()]
    return nn.Sequential(nn.Linear(inputs, 16), *between, nn.Linear(16, outputs))


class OneTower(nn.Module):
    """A model whose tower encodes both sides."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.tower = tower(dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.tower(x)


class TwoTowers(nn.Module):
    """A model with a tower a side; its output is made by ``give``."""

    def __init__(self, give: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.query_tower, self.doc_tower = tower(), tower()
        self.give = give

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.give(self.query_tower(a), self.doc_tower(b))


def infonce(query: Tensor, document: Tensor) -> Tensor:
    """Return the softmax loss in which query i's document is row i."""
    scores = normalize(query.float(), dim=1) @ normalize(document.float(), dim=1).T
    return cross_entropy(scores / 0.1, torch.arange(len(query), device=query.device))


def pairs(steps: int, *, rows: int = 10, columns: int = 12, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of own pairs."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        a = torch.randn(rows, columns, generator=generator)
        yield a, a + 0.3 * torch.randn(rows, columns, generator=generator)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step."""
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def values_at(watch: Watch, step: int = 1, on: str = "batch") -> dict[str, float]:
    """Return every reading and term of a step by name."""
    watch.recorder.flush()
    found = {}
    for name, where, dataset in watch.live.keys:
        series = watch.live.series(name, on=where, dataset=dataset)
        for index, at in enumerate(series.steps.tolist()):
            if where == on and at == step:
                found[name] = float(series.values[index])
    return found


def random_state() -> tuple[Tensor, str, Any]:
    """Return the states of torch, NumPy and Python, to be compared."""
    return torch.get_rng_state(), repr(np.random.get_state()), random.getstate()


def seed_all(seed: int = 0) -> None:
    """Seed torch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextmanager
def autocast(on: bool) -> Iterator[None]:
    """Compute in bf16, if ``on``."""
    with torch.autocast("cpu", torch.bfloat16) if on else nullcontext():
        yield
