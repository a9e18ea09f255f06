"""Every finding with its range, and why those outside matter."""

from __future__ import annotations

from collections.abc import Sequence

from ...diagnosis import FindingRow, Status
from .._facts import Facts, Section
from .._text import Table, bullets, md, number

_GRAVE = (Status.CRITICAL, Status.WARNING)
_ORDER = (*_GRAVE, Status.NOT_MEASURED, Status.HEALTHY, Status.NOT_APPLICABLE)
_SHOWN = 40
"""Rows that are all shown; of more than these, the gravest."""


def _write(facts: Facts) -> list[str]:
    rows = facts.findings if facts.founding else [f for f in facts.findings if f.status is not Status.NOT_APPLICABLE]
    gravest = rows if len(rows) <= _SHOWN else sorted(rows, key=lambda one: _ORDER.index(one.status))[: _SHOWN // 2]
    more = len(rows) - len(gravest)
    return [
        f"{counts(facts.findings)}.",
        _table(gravest).markdown if gravest else "",
        f"{more:,} more findings are in `findings.json`." if more else "",
        bullets(_reasons(gravest)),
    ]


def counts(findings: Sequence[FindingRow]) -> str:
    """Return how many findings have each status, the gravest first."""
    found = [(sum(f.status is status for f in findings), status.value) for status in _ORDER]
    return ", ".join(f"{count:,} {name}" for count, name in found if count) or "none"


def _table(findings: Sequence[FindingRow]) -> Table:
    rows = [
        [
            f"{one.code} {md(one.title)}",
            number(one.value) if one.value is not None else "-",
            md(one.expected) or "-",
            f"**{one.status.value}**" if one.status in _GRAVE else one.status.value,
            "-" if one.onset_step is None else str(one.onset_step),
            "-" if one.n is None else f"{one.n:,}",
            md(one.source),
        ]
        for one in findings
    ]
    headers = ["finding", "value", "expected", "status", "since step", "n", "source of the range"]
    return Table(headers, rows, words=["expected", "status", "source of the range"])


def _reasons(findings: Sequence[FindingRow]) -> list[str]:
    """Return why each warning or critical finding matters and what to do, once for findings that share it."""
    shared: dict[tuple[str, str], list[str]] = {}
    for one in findings:
        if one.status in _GRAVE and one.why:
            shared.setdefault((one.why, one.remedy), []).append(f"{one.code} {md(one.title)}")
    return [
        f"**{'; '.join(titles)}**: {md(why)}{'' if why.endswith('.') else '.'}"
        + (f" *{md(remedy)}.*" if remedy else "")
        for (why, remedy), titles in shared.items()
    ]


FINDINGS = Section(
    title="Every finding and its range",
    applies=lambda facts: bool(facts.findings),
    write=_write,
)
