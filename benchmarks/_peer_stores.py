"""Where other people's listeners write, and how many numbers they wrote."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_QUIET = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "DUMP_DIAGNOSTICS": "1"}


def written(folder: Path, step: int) -> int:
    """Return how many numbers of a step TensorBoard's files have: of a histogram's bin its ends and its count."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    numbers = 0
    for file in folder.rglob("*tfevents*"):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value if event.step == step else ():
                sizes = [one.size for one in value.tensor.tensor_shape.dim]
                numbers += int(torch.Size(sizes).numel())
    return numbers


_run: Any = None


def offline_run(folder: Path) -> Any:
    """Return the offline run of this process, which everything that logs there shares."""
    global _run
    if _run is None:
        import wandb

        _run = wandb.init(mode="offline", dir=str(folder.parent), settings=wandb.Settings(silent=True))
    return _run


def finish() -> None:
    """End the offline run."""
    global _run
    if _run is not None:
        _run.finish()
    _run = None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Print nothing, log to no server, and switch on what is asked for by the environment."""
    os.environ.update(_QUIET)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
