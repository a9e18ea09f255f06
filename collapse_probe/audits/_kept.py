"""What an audit could change, and is put back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..recording import undisturbed

_OWN = ("_parameters", "_buffers", "_modules")


@contextmanager
def kept(model: nn.Module | None, *others: nn.Module | None) -> Iterator[None]:
    """Run something with what the user has, and put everything back afterwards, also if it fails.

    Weights, buffers and gradients, modes, plain attributes of modules (a queue, a counter), and the random states of
    torch, NumPy and Python. What a closure keeps elsewhere is not known, and is not put back.

    Args:
        model: Is put into evaluation mode; None where there is none.
        others: Stay as they are, such as the loss.
    """
    found = dict.fromkeys(one for root in (model, *others) if root is not None for one in root.modules())
    before = [_Module(one) for one in found]
    with undisturbed([] if model is None else [model]), torch.inference_mode(False), torch.enable_grad():
        try:
            yield
        finally:
            with torch.no_grad():
                for one in before:
                    one.restore()


class _Module:
    """One module as it was."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._own = {name: dict(getattr(module, name)) for name in _OWN}
        self._plain = {
            name: value for name, value in module.__dict__.items() if name == "training" or not name.startswith("_")
        }
        tensors = [one for part in (*self._own.values(), self._plain) for one in part.values()]
        self._tensors = [_Tensor(one) for one in tensors if isinstance(one, Tensor)]
        self._lists = [(one, _copied(one)) for one in self._plain.values() if isinstance(one, list | dict | set)]

    def restore(self) -> None:
        module = self._module
        for name, part in self._own.items():
            held = getattr(module, name)
            held.clear()
            held.update(part)
        for name in [one for one in module.__dict__ if not one.startswith("_") and one not in self._plain]:
            del module.__dict__[name]
        module.__dict__.update(self._plain)
        for held, content in self._lists:
            held.clear()
            held.extend(content) if isinstance(held, list) else held.update(content)
        for one in self._tensors:
            one.restore()


class _Tensor:
    """One tensor as it was: its values, its gradient and the gradient's values."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._version = tensor, tensor._version if not tensor.is_inference() else None
        self._values = tensor.detach().clone()
        self._gradient = tensor.grad if tensor.is_leaf else None
        self._slope = None if self._gradient is None else self._gradient.detach().clone()

    def restore(self) -> None:
        tensor = self._tensor
        if self._version is None or tensor._version != self._version or not _same(tensor, self._values):
            tensor.detach().copy_(self._values)
        if tensor.is_leaf:
            tensor.grad = self._gradient
        if self._gradient is not None and self._slope is not None:
            self._gradient.detach().copy_(self._slope)


def _same(left: Tensor, right: Tensor) -> bool:
    return torch.equal(left.detach(), right)


def _copied(value: Any) -> Any:
    return value.copy()
