"""The report of a run, and the lines that the terminal shows of its findings."""

from __future__ import annotations

from pathlib import Path

from ..diagnosis import Finding, Status, findings
from ..journal import Run
from ..reporting import write_report
from ._display import say


def report_and_verdict(run: Run, reports: Path) -> bool:
    """Write a run's report, print what was found, and return whether nothing collapsed or is damaged."""
    found = findings(run)
    report = write_report(run, reports / run.name)
    for finding in found:
        if finding.status in (Status.CRITICAL, Status.WARNING):
            say(_line(finding))
    collapsed = [finding for finding in found if finding.status is Status.CRITICAL]
    damaged = run.damaged
    for line in damaged:
        say(f"damaged {line}")
    say(f"run     {run.folder}")
    say(f"report  {report}")
    count = sum(finding.status is Status.WARNING for finding in found)
    missing = sum(finding.status is Status.NOT_MEASURED for finding in found)
    unmeasured = f", {missing} not measured" if missing else ""
    say(f"verdict {len(collapsed)} collapsed, {count} warnings{unmeasured}, of {len(found)} findings")
    return not collapsed and not damaged


def _line(finding: Finding) -> str:
    value = "" if finding.value is None else f" {finding.value:.4g}"
    onset = "" if finding.onset_step is None else f", since step {finding.onset_step}"
    return f"{finding.status.value:<9} {finding.code} {finding.title}:{value} (expected {finding.expected}{onset})"
