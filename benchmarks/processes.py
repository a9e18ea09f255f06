"""What a due step costs in several processes: ``torchrun --nproc-per-node 2 benchmarks/processes.py [--alone]``.

Prints, for each process, the processor's time at the end of a due step (the optimiser's own included): wall time would
say more about who else uses the machine. ``--alone`` reads the first process's batch as if it were the only one.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import collapse_probe
from collapse_probe.recording import _ranks

STEPS, SKIPPED, ROWS, COLUMNS = 200, 30, 64, 384


def main() -> None:
    """Train a small head on random texts, every step due."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    if "--alone" in sys.argv:
        _ranks.connect = lambda name, *, first: None
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(COLUMNS, COLUMNS), nn.GELU(), nn.Linear(COLUMNS, COLUMNS))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    torch.manual_seed(distributed.get_rank())
    found = []
    with collapse_probe.watch(model, optimizer=optimizer, run=False, every=1, reference=False) as w:
        for _ in range(STEPS):
            text = torch.randn(ROWS, COLUMNS)
            loss = (wrapped(text) - wrapped(text + 0.1)).square().mean()
            w.terms(pull=loss)
            loss.backward()
            before = time.thread_time()
            optimizer.step()
            found.append(time.thread_time() - before)
            optimizer.zero_grad()
    print(f"process {distributed.get_rank()}: {1e3 * statistics.median(found[SKIPPED:]):.2f} ms")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
