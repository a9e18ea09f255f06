"""What the processes of a distributed test run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from collapse_probe.respred._batch import Batch
from collapse_probe.respred._isotropy import SIGReg


def as_batch(z: torch.Tensor) -> Batch:
    """Return rows as a batch: the first half queries, the second documents."""
    half = len(z) // 2
    return Batch(query=z[:half], document=z[half:], predicted=z[:half], delta=None)


def sigreg_case() -> tuple[torch.nn.Linear, torch.Tensor]:
    """Return a small model and its rows, the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = torch.nn.Linear(6, 6).double()
    return model, torch.randn(24, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def sigreg_in_one_of_two(rank: int, world: int, folder: Path) -> None:
    """Save the gradient and loss of one of two processes, gradients averaged as by DDP; some rows go to rank 0."""
    for first in (12, 16):
        model, rows = sigreg_case()
        loss = SIGReg(convention="paper", slices=16)(as_batch(model(rows[:first] if rank == 0 else rows[first:])))
        loss.backward()
        assert model.weight.grad is not None
        gradient = model.weight.grad.clone()
        torch.distributed.all_reduce(gradient)
        if rank == 0:
            found = torch.cat([gradient.flatten() / 2, loss.detach()[None]])
            np.save(folder / f"found-{first}.npy", found.numpy())
    torch.distributed.barrier()
