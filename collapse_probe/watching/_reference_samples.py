"""What is made of reference pairs: their ranks, the part that is read often, and the quiet in which they are run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from .. import measures
from ..measures import Sample
from ..recording import PART, alone, undisturbed


def equal(rows: Tensor) -> bool:
    return bool((rows == rows[:1]).all())


class Quiet:
    """Our own forward passes: undisturbed, heard by nobody, and without the other processes of a training."""

    def __init__(self, pause: Callable[[bool], None], modules: list[nn.Module]) -> None:
        self._pause = pause
        self._modules = modules

    def __enter__(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(alone(self._modules))
            self._pause(True)
            stack.callback(self._pause, False)
            stack.enter_context(undisturbed(self._modules))
            self._inside = stack.pop_all()

    def __exit__(self, *error: Any) -> None:
        self._inside.__exit__(*error)


def metrics_of(sample: Sample) -> dict[str, float]:
    found = measures.read(sample, on="reference", wanted=["pairs/mrr", "pairs/d_prime"])
    return {name.removeprefix("pairs/"): float(value) for name, value in found.items()}


def reciprocal_ranks(scores: measures.Scores) -> list[float]:
    """Return 1 / rank of each own document; NaN where a score is none, since nothing compares with that."""
    ranks = (1.0 + scores.above + scores.tied).reciprocal()
    known = torch.isfinite(scores.own + scores.mean)
    return torch.where(known, ranks, torch.nan).tolist()


def first_part(sample: Sample) -> Sample:
    """Return the first pairs of a sample, each query with its own document."""
    query, document = sample.streams["query"], sample.streams["document"]
    n = min(PART, len(query))
    own = torch.arange(n, device=document.device) if sample.own is None else sample.own[:n].to(document.device)
    streams = {
        name: tensor[:n] if tensor.ndim and len(tensor) == len(query) else tensor
        for name, tensor in sample.streams.items()
    }
    # What several queries share stands there once: it is no other document to any of them.
    rows, places = torch.unique(own, return_inverse=True)
    streams["document"] = document.index_select(0, rows)
    return Sample(streams=streams, roles=sample.roles, similarity=sample.similarity, own=places)
