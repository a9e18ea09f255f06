"""Places of candidates: what is listened to from then on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ..journal.vocabulary import Role
from ..recording import Place, Take, Tap
from ._candidates import Candidate


def place(one: Candidate, stream: str, role: Role | None, take: Take | None = None) -> Place:
    tap = Tap(stream=stream, at=one.module, take=take or one.take, role=role)
    return Place(tap, one.path, module=one.module, method=one.method)


def argument(name: str) -> Callable[[Any], Tensor | None]:
    """Return a take of one argument of a call, however it is given."""

    def take(found: Any) -> Tensor | None:
        if name in found.kwargs:
            return found.kwargs[name]
        names = argument_names(found.module, found.args)
        return found.args[names.index(name)] if name in names[: len(found.args)] else None

    return take


def argument_names(module: nn.Module, args: Sequence[Any]) -> list[str]:
    """Return the names of positional arguments of a module's forward."""
    try:
        names = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        names = []
    return names + [f"argument {index}" for index in range(len(names), len(args))]
