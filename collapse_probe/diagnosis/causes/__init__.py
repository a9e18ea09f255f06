"""Why: mechanisms that are suspected from a run's own readings, and how sure that is.

A suspicion is never a proof: the intervention that would decide stands beside it. Naming no cause is a legal answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._contract import Finding, Remedy, Status
from .._evidence import Evidence
from .._separation import equal_n
from ._audits import AUDITED_MECHANISMS
from ._contract import Cause, Mechanism, Suspicion, Verdict
from ._mechanisms import MECHANISMS

_FREE = (
    ("pairs/mrr_centred", "take each side's mean off, and score by a cosine"),
    ("pairs/mrr_cosine", "score by a cosine"),
)
"""Readings that say what another way of scoring would bring, each with that way."""

LEAST = 0.02
"""Gain of the reciprocal rank from which on a way of scoring is worth saying (own choice)."""

__all__ = [
    "AUDITED_MECHANISMS",
    "MECHANISMS",
    "Cause",
    "Mechanism",
    "Suspicion",
    "Verdict",
    "causes_of",
    "measured_remedies",
    "suspected",
]


def causes_of(evidence: Evidence, kinds: Sequence[Finding]) -> tuple[Cause, ...]:
    """Return what is suspected to have brought about the kinds of a run, that of the first kind first.

    Of one kind the first mechanism that is suspected is named, and those that are asked before it are not: what would
    look like it too stands before it. A mechanism is named once, with the first kind that it explains.

    Args:
        evidence: The run.
        kinds: What it has now, the gravest first.
    """
    return suspected(evidence, kinds, MECHANISMS, more=measured_remedies(evidence))


def suspected(
    evidence: Any, kinds: Sequence[Finding], mechanisms: Sequence[Mechanism], *, more: Sequence[Remedy] = ()
) -> tuple[Cause, ...]:
    """Return, of each kind, the first of some mechanisms that is suspected.

    Args:
        evidence: What mechanisms read: a run's, or what was read before the first step.
        kinds: As of :func:`causes_of`.
        mechanisms: In the order in which they are asked.
        more: Remedies beside theirs.
    """
    found: dict[str, Cause] = {}
    for kind in kinds:
        if kind.status not in (Status.CRITICAL, Status.WARNING):
            continue
        for mechanism in mechanisms:
            if kind.kind not in mechanism.explains:
                continue
            cuts = {name: one.value for name, one in mechanism.thresholds.items()}
            why = mechanism.suspects(evidence, kind, cuts)
            if why is None:
                continue
            found.setdefault(
                mechanism.cause,
                Cause(
                    cause=mechanism.cause,
                    title=mechanism.title,
                    kind=kind.kind,
                    verdict="suspected",
                    locus=why.locus,
                    because=why.because,
                    decides=mechanism.decides,
                    remedies=(*mechanism.remedies, *more),
                ),
            )
            break
    return tuple(found.values())


def measured_remedies(evidence: Evidence) -> tuple[Remedy, ...]:
    """Return the best other way of scoring the same vectors, with the gain that the reference pairs show.

    Nothing is trained for it, and nothing is forecast: the reciprocal rank that way minus the scored one, at the end.
    Empty where the gain is below .02, or was not read.
    """
    scored = equal_n(evidence.series("pairs/mrr", on="reference").finite())
    found = []
    for reading, way in _FREE if len(scored) and not evidence.reference_still else ():
        series = evidence.series(reading, on="reference").finite()
        series = series.where(series.n == scored.n[-1]) if len(series) else series
        if len(series) and series.steps[-1] == scored.steps[-1]:
            found.append((float(series.values[-1] - scored.values[-1]), way))
    gain, way = max(found, default=(0.0, ""))
    return (Remedy(change={"scoring": way}, reading="pairs/mrr", gain=gain),) if gain >= LEAST else ()
