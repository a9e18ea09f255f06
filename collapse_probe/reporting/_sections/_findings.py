"""Every finding with its range, and why those outside matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ...diagnosis import FindingRow, Status
from .._facts import MOST_ROWS, Facts, Section
from .._moments import places
from .._text import Aside, Table, bullets, md, number
from ._happened import explained

MOST = 10
"""Findings of the table: the gravest have their own section."""

_GRAVE = (Status.CRITICAL, Status.WARNING)
_ORDER = (*_GRAVE, Status.NOT_MEASURED, Status.HEALTHY, Status.NOT_APPLICABLE)


def _write(facts: Facts) -> list[str]:
    """Return the gravest as rows; where there are more than a table shows, healthy ones by code alone."""
    rows = [one for one in facts.findings if one.status is not Status.NOT_APPLICABLE]
    rows.sort(key=lambda one: _ORDER.index(one.status))
    many = len(rows) > MOST_ROWS
    healthy = [one for one in rows if many and one.status is Status.HEALTHY]
    shown = [one for one in rows if not (many and one.status is Status.HEALTHY)]
    more = len(shown) - MOST
    return [
        f"{counts(facts.findings)}.",
        _table(shown[:MOST], places(facts)).markdown if shown else "",
        f"{more:,} more that are no better are in `findings.json`." if more > 0 else "",
        f"Healthy: {_by_code(healthy)}; their values are in `findings.json`." if healthy else "",
        Aside(bullets(_reasons(shown[:MOST], explained(facts)))),
        "What each reads, and where its range comes from: `collapse-probe explain CODE`.",
    ]


def _by_code(findings: Sequence[FindingRow]) -> str:
    found = Counter(one.code for one in findings)
    return ", ".join(code if count == 1 else f"{code} ({count})" for code, count in found.items())


def counts(findings: Sequence[FindingRow]) -> str:
    """Return how many findings have each status, the gravest first."""
    found = [(sum(f.status is status for f in findings), status.value) for status in _ORDER]
    return ", ".join(f"{count:,} {name}" for count, name in found if count) or "none"


def _table(findings: Sequence[FindingRow], models: Mapping[int, str]) -> Table:
    names = {step: md(name) for step, name in models.items()}
    rows = [
        [
            f"{one.code} {md(one.title)}",
            number(one.value) if one.value is not None else "-",
            md(one.expected) or "-",
            f"**{one.status.value}**" if one.status in _GRAVE else one.status.value,
            "-" if one.onset_step is None else names.get(one.onset_step, str(one.onset_step)),
            "-" if one.n is None else f"{one.n:,}",
        ]
        for one in findings
    ]
    headers = ["finding", "value", "expected", "status", "since" if models else "since step", "n"]
    return Table(headers, rows, words=["expected", "status"])


def _reasons(findings: Sequence[FindingRow], known: Collection[str]) -> list[str]:
    """Return why each warning or critical finding matters and what to do, each once.

    Args:
        findings: The findings.
        known: Codes of which it was said before.
    """
    shared: dict[tuple[str, str, str], list[str]] = {}
    for one in findings:
        if one.status in _GRAVE and one.code not in known:
            shared.setdefault((one.code, one.why, one.remedy), []).append(md(one.title))
    lines, times = [], Counter(code for code, *_ in shared)
    for (code, why, remedy), titles in shared.items():
        parts = [f"**{code}**:" if times[code] == 1 else f"**{code} {'; '.join(titles)}**:"]
        parts += [f"{md(why)}{'' if why.endswith('.') else '.'}"] if why else []
        parts += [f"*{md(remedy)}.*"] if remedy else []
        lines.append(" ".join(parts))
    return lines


FINDINGS = Section(
    title="Every finding and its range",
    applies=lambda facts: bool(facts.findings),
    write=_write,
)
