"""Findings as rows of a table, for what shows them in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..journal import LiveRun
from ._contract import Bounds, Condition, Detector, Finding, Judgement, Status, Subject
from ._evidence import Evidence
from ._findings import examined, ignored_codes
from ._status import status_of

NOT_FINITE = "The reading is not finite, so something that it is computed from is not."


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """A finding as a row of a table: its numbers, and the words beside them.

    Attributes:
        code: Stable code of the detector, as ``CP201``.
        title: What was looked at, in a few words.
        status: The result.
        value: The judged number; None where there is none.
        expected: The range that it was judged by, in words.
        onset_step: First step from which it stayed outside to the end; None where it did not or is unknown.
        evidence: Names of the readings that it rests on.
        why: Why it matters.
        remedy: What to do.
        source: Where the range comes from.
        n: Samples behind the value.
        subject: What it is about, where a detector looks at several things: a collection, a tap, a reading.
    """

    code: str
    title: str
    status: Status
    value: float | None = None
    expected: str = ""
    onset_step: int | None = None
    evidence: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""
    source: str = ""
    n: int | None = None
    subject: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-serialisable values."""
        return asdict(self)


def findings(run: LiveRun) -> list[FindingRow]:
    """Return what every detector says of a run, as rows."""
    evidence = Evidence(run)
    ignored = ignored_codes(evidence.config.probes, ())
    return rows_of(examined(evidence, ignored=ignored), start=evidence.config.start)


def rows_of(everything: Iterable[tuple[Detector, Subject, Finding]], *, start: str) -> list[FindingRow]:
    """Return what detectors say of their subjects, as rows; ``start`` is what stands at step 0."""
    return [
        row
        for detector, subject, finding in everything
        for row in (_by_comparison(detector, finding, start) or [_row(detector, subject, finding)])
    ]


def _row(detector: Detector, subject: Subject, finding: Finding) -> FindingRow:
    judgement, entry = finding.judgement, subject.entry or {}
    title = detector.title if not subject.name else f"{subject.name}: {detector.title}"
    if entry:
        relative = f" / {entry['relative_to']}" if entry.get("relative_to") else ""
        title = f"{subject.name}{relative} ({subject.role})"
    sources = dict.fromkeys(one.source for one in detector.thresholds.values())
    broken = bool(entry) and judgement is not None and judgement.value is not None and math.isnan(judgement.value)
    return FindingRow(
        code=finding.code,
        title=title,
        status=finding.status,
        value=judgement.value if judgement else None,
        expected=_range(entry) if entry else _expected(judgement),
        onset_step=_onset(finding),
        evidence=finding.evidence,
        why=NOT_FINITE if broken else str(entry.get("why") or detector.why),
        remedy="" if broken else str(entry.get("remedy") or _remedy(detector, finding)),
        source=str(entry.get("source") or "; ".join(sources)),
        n=judgement.n if judgement else None,
        subject=subject.name,
    )


def _by_comparison(detector: Detector, finding: Finding, start: str) -> list[FindingRow]:
    """Return a fall of retrieval as a row for each of its comparisons."""
    if finding.kind != "loss_against_retrieval" or finding.judgement is None:
        return []
    rows = []
    for one in finding.judgement.conditions:
        part = Judgement(
            value=one.value if one.interval is not None else None,
            bounds=Bounds(warning=0.0, critical=one.cut, above=False),
            conditions=(one,),
            interval=one.interval,
        )
        status = status_of(part)
        against = one.reading.rpartition(" ")[2]
        named = {"start": start, "raw": "the raw encoder", "best": "its best evaluations"}
        fell = status in (Status.WARNING, Status.CRITICAL)
        rows.append(
            FindingRow(
                code=finding.code,
                title=f"{finding.subject}: change against {named.get(against, f'step {against}')}",
                status=status,
                value=one.value,
                expected="no fall" + _interval(one),
                onset_step=_onset(finding) if fell else None,
                evidence=finding.evidence,
                why=detector.why,
                remedy=_remedy(detector, finding),
                source="paired over queries; critical: p <= .001 and a change of at least .01",
                n=one.interval.n if one.interval else None,
                subject=finding.subject,
            )
        )
    return rows


def _onset(finding: Finding) -> int | None:
    onset = finding.judgement.onset if finding.judgement else None
    return onset.step if onset and finding.state in ("raised", "confirmed") else None


def _interval(one: Condition) -> str:
    if one.interval is None:
        return ""
    if math.isnan(one.interval.high):
        return f"; no interval from n = {one.interval.n} queries"
    return f"; 95 % interval {one.interval.low:+.4f} to {one.interval.high:+.4f}; p = {one.interval.p:.2g} (sign flips)"


def _expected(judgement: Judgement | None) -> str:
    if judgement is None:
        return ""
    bounds = judgement.bounds
    side, beyond = ("at most", "above") if bounds.above else ("at least", "below")
    parts = [] if bounds.warning is None else [f"{side} {bounds.warning:g}"]
    if bounds.critical is not None and bounds.critical != bounds.warning:
        parts.append(f"critical {beyond} {bounds.critical:g}")
    return "; ".join(parts) or "finite"


def _range(entry: Mapping[str, object]) -> str:
    """Return a declared range in words, and where beyond it is critical.

    >>> _range({"min": -0.5, "max": 0.5, "critical_below": -1.0})
    '-0.5 to 0.5; critical below -1'
    """
    low, high = entry.get("min"), entry.get("max")
    parts = []
    if low is not None and high is not None:
        parts.append(f"{low:g} to {high:g}")
    elif low is not None or high is not None:
        parts.append(f"at most {high:g}" if low is None else f"at least {low:g}")
    cuts = {side: entry.get(f"critical_{side}", entry.get(f"collapsed_{side}")) for side in ("below", "above")}
    ends = [f"{side} {cut:g}" for side, cut in cuts.items() if cut is not None]
    if ends:
        parts.append("critical " + " or ".join(ends))
    return "; ".join(parts) or "finite"


def _remedy(detector: Detector, finding: Finding) -> str:
    conditions = finding.judgement.conditions if finding.judgement else ()
    parts = {"", *finding.evidence, *(one.reading for one in conditions)}
    meant = [one for one in detector.remedies if one.part in parts] or detector.remedies
    words = meant[-1].change if meant else {}
    return "; ".join(f"{key}: {value}" for key, value in words.items())
