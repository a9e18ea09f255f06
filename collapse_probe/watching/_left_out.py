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
        self._open = {n: p for n, p in target.named_parameters() if p.requires_grad and id(p) not in known}
        self._versions: dict[str, int] = {}
        self._reached: set[str] = set()

    def before_step(self) -> None:
        """Note which of them have a gradient; the first time also how often each was changed."""
        if not self._versions:
            self._versions = {name: one._version for name, one in self._open.items()}
        self._reached |= {name for name, one in self._open.items() if one.grad is not None}

    def found(self) -> dict[str, int]:
        """Return the modules that hold such parameters, with how many."""
        modules: dict[str, int] = {}
        for name in sorted(self._reached):
            if self._open[name]._version == self._versions[name]:
                module = name.rpartition(".")[0] or name
                modules[module] = modules.get(module, 0) + 1
        return modules
