"""Diagnostic training dynamics for embedding and retrieval models.

One line watches a training that stays as it is::

    with collapse_probe.watch(model, optimizer=optimizer, run="runs/mine") as w:
        ...                                              # the loop
    print(collapse_probe.diagnose("runs/mine").summary)
    collapse_probe.write_report("runs/mine", "reports/mine")

    collapse_probe.watch(trainer); trainer.train()       # of transformers and sentence-transformers
    collapse_probe.autolog()                             # every trainer that is made from here on

A trainer of Lightning takes ``collapse_probe.LightningCallback()``; ``collapse-probe run train.py`` watches a script as
it is. ``collapse_probe.preflight(loss, queries, documents)`` judges any loss and its pairs before the first step;
``collapse_probe.examine(base, model, collections=["scifact"])`` judges finished models without any journal;
``collapse_probe.interpolate(start, end, 0.25, "folder")`` writes the model a quarter of the way from one to another.
What a run does wrong is in its journal; ``diagnose`` reads it, on any machine. Importing this package costs nothing
heavy: torch is imported by what needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import respred
    from .audits import preflight
    from .diagnosis import compare, diagnose
    from .examining import examine
    from .experiments import ablate
    from .journal import Run
    from .recording import Tap, added, call, input, item, output
    from .reporting import write_report
    from .retrieval import interpolate
    from .watching import LightningCallback, Watch, WatchCallback, autolog, watch

_HOMES = {
    "LightningCallback": "watching",
    "Run": "journal",
    "Tap": "recording",
    "Watch": "watching",
    "WatchCallback": "watching",
    "ablate": "experiments",
    "added": "recording",
    "autolog": "watching",
    "call": "recording",
    "compare": "diagnosis",
    "diagnose": "diagnosis",
    "examine": "examining",
    "input": "recording",
    "interpolate": "retrieval",
    "item": "recording",
    "output": "recording",
    "preflight": "audits",
    "watch": "watching",
    "write_report": "reporting",
}
"""Every public name and the layer that it comes from, which is imported when it is first asked for."""

__all__ = [
    "LightningCallback",
    "Run",
    "Tap",
    "Watch",
    "WatchCallback",
    "ablate",
    "added",
    "autolog",
    "call",
    "compare",
    "diagnose",
    "examine",
    "input",
    "interpolate",
    "item",
    "output",
    "preflight",
    "respred",
    "watch",
    "write_report",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    from .errors import find_lazily

    if name == "respred":
        return import_module(f"{__name__}.respred")
    if name in _HOMES:
        return find_lazily(__name__, _HOMES[name], name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
