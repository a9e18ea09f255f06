"""Our own forward passes leave everything as it was: modes, buffers, random states, autocast."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Run something in evaluation mode without gradients, and put modes, buffers and random states back.

    The states of torch (every device that has one), NumPy and Python, the mode and the buffers of every module, such as
    a queue that a forward fills, and autocast are as they were afterwards, also if it fails.

    Args:
        modules: What is put into evaluation mode, with all below.
    """
    modes = [(module, module.training) for root in modules for module in root.modules()]
    buffers = [(module, name, one, *_copy_of(one)) for module, _ in modes for name, one in module._buffers.items()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), _without_autocast(), _without_compiling():
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for module, name, buffer, copy, version in buffers:
                module._buffers[name] = buffer
                if copy is not None and buffer is not None and buffer._version != version:
                    buffer.copy_(copy)
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _copy_of(buffer: Tensor | None) -> tuple[Tensor | None, int]:
    """Return a copy of a buffer and how often it has been written; none of what cannot be written."""
    if buffer is None or buffer.is_inference():
        return None, 0
    return buffer.detach().clone(), buffer._version


@contextmanager
def _without_compiling() -> Iterator[None]:
    """Run compiled modules as they were written: sizes that training has not would have them compiled for any size."""
    dynamo = sys.modules.get("torch._dynamo")
    try:
        stance = nullcontext() if dynamo is None else torch.compiler.set_stance("force_eager")
    except RuntimeError:  # this runs between parts of a compiled function
        stance = nullcontext()
    with stance:
        yield


@contextmanager
def _without_autocast() -> Iterator[None]:
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    if not kinds:
        yield
        return
    with torch.autocast(kinds[0], enabled=False):
        if len(kinds) > 1:
            with torch.autocast(kinds[1], enabled=False):
                yield
        else:
            yield
