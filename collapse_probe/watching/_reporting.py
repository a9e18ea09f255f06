"""Where a trainer reports to, by its own ``report_to``, what is read and found is reported as well."""

from __future__ import annotations

import copy
import os
from typing import Any

from ..journal import Raised

OFF = "COLLAPSE_PROBE_REPORT"
"""Set to ``0``, nothing is handed to the trainer's integrations."""

PROGRAMS = ("TensorBoardCallback", "WandbCallback", "MLflowCallback", "TrackioCallback")
"""Integrations of transformers that take numbers by name and step."""

GRADES = {"cleared": 0.0, "healthy": 0.0, "warning": 1.0, "critical": 2.0, "not measured": 3.0}
"""Findings and the verdict as numbers: these integrations take no text."""


class Reports:
    """Hands numbers to a trainer's integrations, past its log, control and metrics, which stay as they are.

    Args:
        trainer: The trainer.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._sent: dict[Any, int] = {}
        self._raised = 0

    @property
    def programs(self) -> list[Any]:
        """The integrations that the trainer reports to."""
        if os.environ.get(OFF) == "0":
            return []
        callbacks = getattr(getattr(self._trainer, "callback_handler", None), "callbacks", ())
        known = [one for one in callbacks if type(one).__name__ in PROGRAMS]
        return [one for one in known if type(one).__module__.startswith("transformers.integrations")]

    def send(self, live: Any, state: Any, control: Any) -> None:
        """Hand over what was journalled since the last time, each number at its own step."""
        rows: dict[int, dict[str, float]] = {}
        for key in live.keys:
            reading, on, dataset = key
            if "." in reading.rpartition("/")[2]:
                continue
            series, sent = live.series(reading, on=on, dataset=dataset), self._sent.get(key, 0)
            self._sent[key] = len(series)
            name = "/".join(["collapse_probe", on, reading, *([dataset] if dataset else [])])
            for step, value in zip(series.steps[sent:].tolist(), series.values[sent:].tolist(), strict=True):
                rows.setdefault(step, {})[_safe(name)] = value
        found = live.of(Raised)
        for one in found[self._raised :]:
            name = _safe(f"collapse_probe/findings/{one.code}/{one.subject or 'run'}")
            rows.setdefault(one.step, {})[name] = GRADES["cleared" if one.state == "cleared" else one.status]
        self._raised = len(found)
        for step in sorted(rows):
            self._hand(step, rows[step], state, control)

    def verdict(self, live: Any, state: Any, control: Any) -> None:
        """Hand over the verdict, and every finding that is raised or confirmed at the end."""
        from ..diagnosis import diagnose

        found = diagnose(live)
        values = {
            _safe(f"collapse_probe/findings/{one.code}/{one.subject or 'run'}"): GRADES[one.status.value]
            for one in found.kinds
        }
        self._hand(found.steps, {**values, "collapse_probe/verdict": GRADES[found.status.value]}, state, control)

    def _hand(self, step: int, values: dict[str, float], state: Any, control: Any) -> None:
        then, own = copy.copy(state), copy.copy(control)
        then.global_step = step
        for program in self.programs:
            program.on_log(self._trainer.args, then, own, logs=dict(values), model=self._trainer.model)


def _safe(name: str) -> str:
    """Return a name of letters, digits and ``_ - . : /`` that is not too long for any of them."""
    shown = "".join(one if one.isalnum() or one in "_-./: " else "_" for one in name[:200])
    return "/".join(part.strip(" .") or "_" for part in shown.split("/"))
