"""Parameters that the loss reaches and that nothing updates."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


class LeftOut:
    """Finds parameters that a gradient reaches, that no watched optimiser holds, and that nobody changes.

    An optimiser that is not watched changes its parameters in place, which their version counts; so nothing is read
    from the device.

    Args:
        target: The model.
        held: Parameters that the watched optimisers hold.
    """

    def __init__(self, target: nn.Module, held: Iterable[nn.Parameter]) -> None:
        known = {id(one) for one in held}
        trainable = {name: one for name, one in target.named_parameters() if one.requires_grad}
        self._trainable = frozenset(trainable)
        self._open = {name: one for name, one in trainable.items() if id(one) not in known}
        self._versions: dict[str, int] = {}
        self._reached: set[str] = set()

    def before_step(self) -> None:
        """Note which of them have a gradient; the first time also how often each was changed."""
        if not self._versions:
            self._versions = {name: one._version for name, one in self._open.items()}
        self._reached |= {name for name, one in self._open.items() if one.grad is not None}

    def found(self) -> dict[str, int]:
        """Return the largest modules of which every trainable parameter is such a one, with how many they hold."""
        left = {name for name in self._reached if self._open[name]._version == self._versions[name]}
        others = {module for name in self._trainable - left for module in _above(name)}
        modules: dict[str, int] = {}
        for name in sorted(left):
            above = _above(name)
            module = next((one for one in above if one not in others), above[-1] if above else name)
            modules[module] = modules.get(module, 0) + 1
        return modules


def _above(name: str) -> list[str]:
    """Return the modules that hold a parameter, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]
