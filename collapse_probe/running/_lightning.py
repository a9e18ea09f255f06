"""Trainers of Lightning: each ``fit`` of them gets a callback, and loses it afterwards."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any


def patch(module: ModuleType, options: dict[str, Any], fail: Callable[[Exception], None]) -> Callable[[], None]:
    """Give every trainer of a Lightning's module a callback while it fits.

    Args:
        module: Where the class ``Trainer`` is.
        options: Arguments of a watch.
        fail: Called with what fails of ours.

    Returns:
        What undoes it.
    """
    kind = module.Trainer
    inner = kind.fit

    @functools.wraps(inner)
    def fit(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        added = None
        try:
            added = _added(trainer, options)
        except Exception as error:
            fail(error)
        try:
            return inner(trainer, *args, **kwargs)
        finally:
            trainer.callbacks[:] = [one for one in trainer.callbacks if one is not added]

    kind.fit = fit

    def undo() -> None:
        if kind.fit is fit:
            kind.fit = inner

    return undo


def _added(trainer: Any, options: dict[str, Any]) -> Any:
    from ..watching import LightningCallback

    if any(type(one).__name__ == LightningCallback.__name__ for one in trainer.callbacks):
        return None
    callback = LightningCallback(**options)
    trainer.callbacks.insert(0, callback)
    return callback
