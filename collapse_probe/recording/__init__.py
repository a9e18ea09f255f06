"""Taps on a model in training, and the recorder that turns what they keep into journal records.

Declarations and names come without torch; what needs it is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._declarations import (
    ALWAYS_WATCHED,
    RESIDUAL_SET,
    Probe,
    available_probes,
    load_probe,
    load_watched,
    parse_probe,
)
from ._names import HISTOGRAM_NAMES, READING_NAMES
from ._schedule import Schedule, at_powers_of, every

if TYPE_CHECKING:
    from ._readings import Sample
    from ._recorder import Recorder
    from ._snapshots import Snapshots
    from ._taps import OpenTaps, Tap

_WITH_TORCH = {
    "OpenTaps": "_taps",
    "Recorder": "_recorder",
    "Sample": "_readings",
    "Snapshots": "_snapshots",
    "Tap": "_taps",
}

__all__ = [
    "ALWAYS_WATCHED",
    "HISTOGRAM_NAMES",
    "READING_NAMES",
    "RESIDUAL_SET",
    "OpenTaps",
    "Probe",
    "Recorder",
    "Sample",
    "Schedule",
    "Snapshots",
    "Tap",
    "at_powers_of",
    "available_probes",
    "every",
    "load_probe",
    "load_watched",
    "parse_probe",
]


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
