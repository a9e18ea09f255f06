"""Whether each stream was heard, and why not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..journal import Coverage
from ..journal.vocabulary import Role


@dataclass
class StreamCoverage:
    """Counts of one stream over a run; numbers that come from the device are added when they are handed out.

    Attributes:
        stream: Its name.
        role: Its role.
        where: Where it comes from.
        rule: The rule by which it was found.
        declared: Whether the user named it.
        candidates: What else might have been this stream.
        why: Why nothing was heard.
        calls: Calls since the last record.
        steps: Steps in which it was heard.
        n: Rows since the last record.
        dimension: Columns.
        dtype: Element type.
        finite: Sum of the finite shares that were read, and how many.
    """

    stream: str
    role: Role | None = None
    where: str = ""
    rule: str = ""
    declared: bool = False
    candidates: list[str] = field(default_factory=list)
    why: str = ""
    calls: int = 0
    steps: int = 0
    n: int = 0
    dimension: int | None = None
    dtype: str | None = None
    finite: list[float] = field(default_factory=list)

    def hear(self, *, rows: int, dimension: int, dtype: str) -> None:
        """Count a call."""
        self.calls += 1
        self.n += rows
        self.dimension = dimension
        self.dtype = dtype

    def record(self, *, step: int, epoch: int | None) -> Coverage:
        """Return the record, and count from zero again."""
        share = math.fsum(self.finite) / len(self.finite) if self.finite else None
        record = Coverage(
            stream=self.stream,
            step=step,
            epoch=epoch,
            calls=self.calls,
            role=None if self.role is None else str(self.role),
            where=self.where,
            rule=self.rule,
            steps=self.steps,
            n=self.n,
            dimension=self.dimension,
            dtype=self.dtype,
            finite_share=share,
            candidates=list(self.candidates),
            why=self.why if not self.steps else "",
        )
        self.calls = self.n = 0
        self.finite = []
        return record
