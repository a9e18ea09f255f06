"""Taps: forward hooks that keep what a module made, and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Extract = Callable[[nn.Module, tuple[Any, ...], Any], Mapping[str, Tensor]]
"""From a module, its arguments and its output to the named tensors that a tap keeps."""


@dataclass(frozen=True)
class FoundingTap:
    """A module to listen to, and what to keep of its output.

    Attributes:
        name: Unique among the taps that are open together.
        module: The module that is hooked.
        extract: What to keep; its tensors are detached by the tap.
    """

    name: str
    module: nn.Module
    extract: Extract


class OpenTaps:
    """The hooks of several taps, open inside a ``with`` block only.

    Forward passes in evaluation mode are not kept. The hooks return None, so outputs stay as they are, and
    keep references to detached tensors: nothing is copied and nothing waits for a device.

    Args:
        taps: The taps; their names are unique.

    Raises:
        ValueError: two taps of one name.

    Attributes:
        kept: Tensors of the latest training forward pass, by name.
        calls: How often each tap has fired since :meth:`reset_calls`, by tap.
    """

    def __init__(self, taps: Sequence[FoundingTap]) -> None:
        names = [tap.name for tap in taps]
        if len(set(names)) != len(names):
            raise ValueError(f"taps need unique names, got {', '.join(names)}")
        self._taps = tuple(taps)
        self._handles: list[RemovableHandle] = []
        self.kept: dict[str, Tensor] = {}
        self.calls: dict[str, int] = dict.fromkeys(names, 0)

    def __enter__(self) -> Self:
        try:
            for tap in self._taps:
                self._handles.append(tap.module.register_forward_hook(self._hook(tap)))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove every hook; may be called twice."""
        while self._handles:
            self._handles.pop().remove()

    def reset_calls(self) -> None:
        """Count calls from zero again."""
        self.calls = dict.fromkeys(self.calls, 0)

    def _hook(self, tap: FoundingTap) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def keep(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            if not module.training:
                return
            found = tap.extract(module, arguments, output)
            if found:
                self.calls[tap.name] += 1
                for name, tensor in found.items():
                    self.kept[name] = tensor.detach()

        return keep
