"""A judgement while the run goes on, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..journal import LiveRun, Raised
from ..recording import Recorder

EVERY = 50
"""Steps between two judgements of a live run."""

_log = logging.getLogger("collapse_probe")


class Verdicts:
    """Judges the live run now and then, journals what is raised, and warns or stops.

    Args:
        live: The run so far.
        recorder: Where findings are journalled.
        on_collapse: ``ignore``, ``warn``, ``stop``, or a function of the finding.
        stop: Called where the training should stop.
    """

    def __init__(self, live: LiveRun, recorder: Recorder, *, on_collapse: Any, stop: Callable[[], None]) -> None:
        self._live = live
        self._recorder = recorder
        self._on_collapse = on_collapse
        self._stop = stop
        self._known: dict[tuple[str, str], str] = {}

    def after_step(self, step: int) -> None:
        """Judge every so many steps, if anything is to follow from it."""
        if self._on_collapse != "ignore" and step % EVERY == 0:
            self._recorder.flush()
            self.judge()

    def judge(self) -> None:
        """Judge the run so far."""
        if self._on_collapse != "ignore":
            self._recorder.containment.run("verdict", self._judge)

    def _judge(self) -> None:
        from ..diagnosis import diagnose

        for finding in diagnose(self._live).kinds:
            key = (finding.code, finding.subject)
            if self._known.get(key) == finding.state:
                continue
            first = key not in self._known
            self._known[key] = finding.state
            self._recorder.journal.write(
                Raised(
                    code=finding.code,
                    subject=finding.subject,
                    state=finding.state,
                    status=str(finding.status),
                    step=self._recorder.done,
                    value=None if finding.judgement is None else finding.judgement.value,
                )
            )
            if first:
                self._act(finding)

    def _act(self, finding: Any) -> None:
        from ..diagnosis.screen import clean, since, title

        if callable(self._on_collapse):
            self._on_collapse(finding)
            return
        of, when = f" of {clean(finding.subject)}" if finding.subject else "", since(finding.judgement)
        kind = title(finding) + of + (f", {when}" if when else "")
        _log.warning("collapse-probe: %s at step %d: %s", finding.status, self._recorder.done, kind)
        if self._on_collapse == "stop" and str(finding.status) == "critical":
            self._stop()
