"""Small trainings on a device for ``cuda.sh``: an encoder of MPNet's shapes, a head, and steps beside listeners."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import collapse_probe

Training = tuple[nn.Module, torch.optim.Optimizer, Callable[[], torch.Tensor]]


@dataclass(frozen=True)
class Options:
    """Where is measured, and where files are written."""

    device: str
    out: Path


def head(device: str) -> Training:
    """Return a head on vectors with dropout and batch norm, its optimiser, and a step that waits for no device."""
    torch.manual_seed(0)
    layers = nn.Linear(384, 768), nn.BatchNorm1d(768), nn.GELU(), nn.Dropout(0.1), nn.Linear(768, 384)
    model = nn.Sequential(*layers).to(device)
    batches = itertools.cycle(torch.randn(8, 64, 384).to(device).unbind())
    own = torch.arange(64, device=device)

    def step() -> torch.Tensor:
        batch = next(batches)
        query, document = model(batch), model(batch + 0.05)
        return cross_entropy(20 * normalize(query) @ normalize(document).T, own)

    return model, torch.optim.AdamW(model.parameters(), lr=1e-3), step


SHAPES = {
    "cuda": "MPNet, 12 layers, 768, batch 256, 32 and 64 tokens, bf16",
    "cpu": "MPNet with 2 layers of 192, batch 8, bf16: small, for a CPU",
}


class Pooled(nn.Module):
    """Mean of an encoder's last states."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return ``[n, D]`` of ``[n, T]``."""
        return self.encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state.mean(dim=1)


def mpnet(options: Options) -> Training:
    """Return an MPNet of random weights, its optimiser and a step in bf16."""
    from transformers import MPNetConfig, MPNetModel

    torch.manual_seed(0)
    cuda = options.device == "cuda"
    batch = 256 if cuda else 8
    small = (
        {} if cuda else {"num_hidden_layers": 2, "hidden_size": 192, "num_attention_heads": 6, "intermediate_size": 768}
    )
    model = Pooled(MPNetModel(MPNetConfig(**small), add_pooling_layer=False))
    model = model.to(options.device).train()
    sides = [torch.randint(5, 30_000, (batch, length)).to(options.device) for length in ((32, 64) if cuda else (6, 10))]
    own = torch.arange(batch, device=options.device)

    def step() -> torch.Tensor:
        with torch.autocast(options.device, dtype=torch.bfloat16):
            query, document = map(model, sides)
        return cross_entropy(20 * normalize(query.float()) @ normalize(document.float()).T, own)

    return model, torch.optim.AdamW(model.parameters(), lr=1e-5), step


def steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: Callable[[], torch.Tensor],
    count: int,
    *,
    watch: collapse_probe.Watch | None = None,
    peer: Any = None,
    wait: bool = True,
) -> float:
    """Train for some steps and return their seconds, the device's among them unless it is not waited for."""
    began = time.perf_counter()
    for number in range(count):
        if peer is not None:
            peer.begins()
        loss = step()
        if watch is not None:
            watch.terms(infonce=loss)
        loss.backward()
        if peer is not None:
            peer.backward()
        optimizer.step()
        optimizer.zero_grad()
        if peer is not None:
            peer.step(number + 1, loss.item())
    if wait and torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def watched(model: nn.Module, optimizer: Any, run: str, *, reference: bool | None = False) -> collapse_probe.Watch:
    """Return a watch of a training, with nothing but the batches read unless ``reference`` is None."""
    return collapse_probe.watch(model, optimizer=optimizer, query="", document="", reference=reference, run=run)


@contextmanager
def raising(device: str) -> Iterator[None]:
    """Raise at what waits for the device, where there is one."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def reset_peak(device: str) -> None:
    """Begin the peak of memory anew."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
