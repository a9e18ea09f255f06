"""Every finding with its range, and why those outside matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from ...diagnosis import FindingRow, Status
from .._facts import MOST_ROWS, Facts, Section
from .._text import Aside, Table, bullets, md, number
from ._happened import explained

MOST = 15
"""Findings of the table; the gravest have their own section."""

_LONG = 60
"""Characters of a part of a source that is not said twice."""

_GRAVE = (Status.CRITICAL, Status.WARNING)
_ORDER = (*_GRAVE, Status.NOT_MEASURED, Status.HEALTHY, Status.NOT_APPLICABLE)


def _write(facts: Facts) -> list[str]:
    """Return the gravest as rows; where there are more than a table shows, healthy ones by code alone."""
    rows = [one for one in facts.findings if one.status is not Status.NOT_APPLICABLE]
    rows.sort(key=lambda one: _ORDER.index(one.status))
    healthy = [one for one in rows if one.status is Status.HEALTHY] if len(rows) > MOST_ROWS else []
    shown = [one for one in rows if one not in healthy]
    more = len(shown) - MOST
    return [
        f"{counts(facts.findings)}.",
        _table(shown[:MOST]).markdown if shown else "",
        f"{more:,} more that are no better are in `findings.json`." if more > 0 else "",
        f"Healthy: {_by_code(healthy)}; their values are in `findings.json`." if healthy else "",
        Aside(bullets(_reasons(shown[:MOST], explained(facts)))),
    ]


def _by_code(findings: Sequence[FindingRow]) -> str:
    found = Counter(one.code for one in findings)
    return ", ".join(code if count == 1 else f"{code} ({count})" for code, count in found.items())


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
        ]
        for one in findings
    ]
    headers = ["finding", "value", "expected", "status", "since step", "n"]
    return Table(headers, rows, words=["expected", "status"])


def _reasons(findings: Sequence[FindingRow], known: Collection[str]) -> list[str]:
    """Return why each warning or critical finding matters, what to do and where its range comes from, each once.

    Args:
        findings: The findings.
        known: Codes whose reason was said before.
    """
    shared: dict[tuple[str, str, str, str], list[str]] = {}
    for one in findings:
        if one.status in _GRAVE:
            why = "" if one.code in known else one.why
            shared.setdefault((one.code, why, one.remedy, one.source), []).append(md(one.title))
    lines, times, said = [], Counter(code for code, *_ in shared), set[str]()
    for (code, why, remedy, source), titles in shared.items():
        parts = [f"**{code}**:" if times[code] == 1 else f"**{code} {'; '.join(titles)}**:"]
        parts += [f"{md(why)}{'' if why.endswith('.') else '.'}"] if why else []
        parts += [f"*{md(remedy)}.*"] if remedy else []
        parts += [f"Range: {md(_unsaid(source, said))}."] if source else []
        lines.append(" ".join(parts))
    return lines


def _unsaid(source: str, said: set[str]) -> str:
    """Return where a range comes from, without what was said of another one already, and remember the rest."""
    parts = list(dict.fromkeys(source.split("; ")))
    kept = [one for one in parts if one not in said]
    said.update(one for one in parts if len(one) > _LONG)
    same = ["measured likewise"] if len(kept) < len(parts) else []
    return "; ".join([*same, *kept])


FINDINGS = Section(
    title="Every finding and its range",
    applies=lambda facts: bool(facts.findings),
    write=_write,
)
