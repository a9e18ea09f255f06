"""Watching somebody else's training: one line gives it a journal, a judgement and a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._attach import is_compiled
from ._autolog import Autolog, autolog
from ._dispatch import watch
from ._folder import in_short
from ._options import Known, Prepared
from ._watch import Watch, open_watches

if TYPE_CHECKING:
    from ._callback import WatchCallback
    from .lightning import LightningCallback

__all__ = [
    "Autolog",
    "Known",
    "LightningCallback",
    "Prepared",
    "Watch",
    "WatchCallback",
    "autolog",
    "in_short",
    "is_compiled",
    "open_watches",
    "watch",
]


def __getattr__(name: str) -> Any:
    # A callback is a class of a trainer's library, which is imported for those alone who ask for one.
    if name == "WatchCallback":
        from ._callback import WatchCallback

        return WatchCallback
    if name == "LightningCallback":
        from .lightning import LightningCallback, callback_class

        callback_class()
        return LightningCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
