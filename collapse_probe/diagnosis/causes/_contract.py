"""What a mechanism is, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .._contract import Finding, Remedy, Threshold

if TYPE_CHECKING:
    from ._decided import Decision

Verdict = Literal["suspected", "supported", "confirmed", "contributes", "refuted", "unresolved", "not tested"]


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """Why a mechanism is suspected in one run.

    Attributes:
        because: Reading to number.
        locus: Where: a parameter group, a loss term, a stream; empty where that is not known.
    """

    because: Mapping[str, float]
    locus: str = ""


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """A force, a bug or a data mistake that makes a training go wrong.

    Attributes:
        cause: Its slug.
        title: Its name in words.
        explains: The kinds that it can bring about.
        suspects: From the evidence (a run's, or what was read before the first step) and the kind in question, with
            the cuts in force, to why it is suspected, or None.
        formula: When it is suspected.
        thresholds: Its cuts, each with its source.
        remedies: What to do, as data.
        decides: The intervention that would decide, in words.
        before_training: Whether it acts before the first step, so that what was lost then may be its doing.
    """

    cause: str
    title: str
    explains: tuple[str, ...]
    suspects: Callable[[Any, Finding, Mapping[str, float]], Suspicion | None]
    formula: str
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    remedies: tuple[Remedy, ...] = ()
    decides: str = ""
    before_training: bool = False


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a run is as it is, and how sure that is.

    Attributes:
        cause: The mechanism's slug.
        title: Its name in words.
        kind: The kind that it explains.
        verdict: How sure it is.
        locus: Where.
        because: What it is suspected by.
        decides: The intervention that would decide, in words.
        remedies: What to do, what was measured first.
        decided: The intervention that decided it; None where none did.
    """

    cause: str
    title: str
    kind: str
    verdict: Verdict
    locus: str
    because: Mapping[str, float]
    decides: str
    remedies: Sequence[Remedy]
    decided: Decision | None = None

    @property
    def named(self) -> bool:
        """Whether it is named as a cause; one that was refuted, or tested and left open, is listed alone."""
        return self.verdict in ("suspected", "supported", "confirmed", "contributes")

    def to_dict(self) -> dict[str, Any]:
        """Return the cause as JSON has it."""
        return {
            "cause": self.cause,
            "locus": self.locus,
            "verdict": self.verdict,
            "because": {**(self.decided.because() if self.decided else {}), **self.because},
            "remedies": [_plain(one) for one in self.remedies],
        }


def _plain(remedy: Remedy) -> dict[str, Any]:
    """Return a remedy as JSON has it, with the ends of its gain's interval where there is one."""
    found = asdict(remedy)
    names = ["change", "reading", "gain", *(name for name in ("low", "high") if found[name] is not None)]
    return {name: found[name] for name in names}
