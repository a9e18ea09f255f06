"""What a detector says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a finding is to be taken. "Not measured" is a result, never silence."""

    HEALTHY = "healthy"
    WARNING = "warning"
    COLLAPSED = "collapsed"
    NOT_APPLICABLE = "not applicable"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at, with its numbers and the way out.

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


_SEVERITY = (Status.NOT_APPLICABLE, Status.HEALTHY, Status.NOT_MEASURED, Status.WARNING, Status.COLLAPSED)


def worst_status(found: Iterable[Finding]) -> Status:
    """Return the gravest status; not applicable where there is no finding.

    >>> worst_status([Finding(code="CP1", title="x", status=Status.WARNING)]).value
    'warning'
    """
    return max((finding.status for finding in found), key=_SEVERITY.index, default=Status.NOT_APPLICABLE)
