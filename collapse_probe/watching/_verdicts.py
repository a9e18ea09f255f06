"""A judgement while the run goes on, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..errors import in_one_line
from ..journal import LiveRun, Raised
from ..recording import Recorder

EVERY = 50
"""Steps between two judgements of a live run."""

_GRADES = ("warning", "critical")

_log = logging.getLogger("collapse_probe")


class Verdicts:
    """Judges the live run now and then, journals what is raised, becomes graver and is cleared, and warns or stops.

    What follows a finding follows it once, and once more when it becomes graver.

    Args:
        live: The run so far.
        recorder: Where findings are journalled.
        on_collapse: ``ignore``, ``warn``, ``stop``, or a function of the finding; what it raises ends nothing.
        stop: Called where the training should stop.
    """

    def __init__(self, live: LiveRun, recorder: Recorder, *, on_collapse: Any, stop: Callable[[], None]) -> None:
        self._live = live
        self._recorder = recorder
        self._on_collapse = on_collapse
        self._stop = stop
        self._known: dict[tuple[str, str], tuple[str, str]] = {}
        self._acted: dict[tuple[str, str], int] = {}
        self._failed = False

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

        found = diagnose(self._live)
        for finding in found.kinds:
            key, status = (finding.code, finding.subject), str(finding.status)
            if self._known.get(key) != (finding.state, status):
                self._known[key] = (str(finding.state), status)
                self._write(finding, str(finding.state), status)
            grade = _GRADES.index(status)
            if grade > self._acted.get(key, -1):
                self._acted[key] = grade
                self._act(finding)
        for finding in found.findings:
            key = (finding.code, finding.subject)
            if key in self._known and str(finding.status) == "healthy":
                self._write(finding, "cleared", self._known.pop(key)[1])

    def _write(self, finding: Any, state: str, status: str) -> None:
        self._recorder.journal.write(
            Raised(
                code=finding.code,
                subject=finding.subject,
                state=state,
                status=status,
                step=self._recorder.done,
                value=None if finding.judgement is None else finding.judgement.value,
            )
        )

    def _act(self, finding: Any) -> None:
        from ..diagnosis.screen import clean, halving, since, title

        if callable(self._on_collapse):
            self._call(finding)
            return
        of = f" of {clean(finding.subject)}" if finding.subject else ""
        said = (title(finding) + of, since(finding.judgement), halving(finding.judgement))
        kind = ", ".join(one for one in said if one)
        _log.warning("collapse-probe: %s at step %d: %s", finding.status, self._recorder.done, kind)
        if self._on_collapse == "stop" and str(finding.status) == "critical":
            self._stop()

    def _call(self, finding: Any) -> None:
        """Call the user's function: what it raises is told once, as theirs, and ends neither training nor judging."""
        try:
            self._on_collapse(finding)
        except Exception as error:
            if not self._failed:
                self._failed = True
                _log.warning(
                    "collapse-probe: your on_collapse function raised %s: training goes on, and it is called with the "
                    "next finding",
                    in_one_line(error),
                )
            said = in_one_line(error, messages=self._recorder.containment.messages)
            self._recorder.event("note", f"the user's on_collapse function raised {said}"[:500], subject="on_collapse")
