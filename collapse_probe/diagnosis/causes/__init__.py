"""Why: mechanisms that are suspected from a run's own readings, and how sure that is.

A suspicion is never a proof: the intervention that would decide stands beside it. Naming no cause is a legal answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._contract import Finding, Status
from .._evidence import Evidence
from ._contract import Cause, Mechanism, Suspicion, Verdict
from ._mechanisms import MECHANISMS

__all__ = ["MECHANISMS", "Cause", "Mechanism", "Suspicion", "Verdict", "causes_of"]


def causes_of(evidence: Evidence, kinds: Sequence[Finding]) -> tuple[Cause, ...]:
    """Return what is suspected to have brought about the kinds of a run, that of the first kind first.

    Of one kind the first mechanism that is suspected is named, and those that are asked before it are not: what would
    look like it too stands before it. A mechanism is named once, with the first kind that it explains.

    Args:
        evidence: The run.
        kinds: What it has now, the gravest first.
    """
    found: dict[str, Cause] = {}
    for kind in kinds:
        if kind.status not in (Status.CRITICAL, Status.WARNING):
            continue
        for mechanism in MECHANISMS:
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
                    remedies=mechanism.remedies,
                ),
            )
            break
    return tuple(found.values())
