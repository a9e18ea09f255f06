"""Why: mechanisms that are suspected from a run's own readings, and how sure that is.

A suspicion is never a proof: the intervention that would decide stands beside it, and once an ablation has run, what it
decided. Naming no cause is a legal answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._contract import Finding, Remedy, Status
from .._evidence import Evidence
from .._selection import keeping
from .._separation import equal_n
from ._audits import AUDITED_MECHANISMS
from ._contract import Cause, Mechanism, Suspicion, Verdict
from ._decided import RANK, VERDICTS, Decision, Decisions, certainty, verdict_of
from ._mechanisms import MECHANISMS
from ._readings import there_before

_FREE = (
    ("pairs/mrr_centred", "take each side's mean off, and score by a cosine"),
    ("pairs/mrr_cosine", "score by a cosine"),
)
"""Readings that say what another way of scoring would bring, each with that way."""

_AT_FIRST = ("loss_against_retrieval", "harmful_correction", "dimensional_collapse")
"""Kinds that the first weights alone may bring about."""

LEAST = 0.02
"""Gain of the reciprocal rank from which on a way of scoring is worth saying (own choice)."""

__all__ = [
    "AUDITED_MECHANISMS",
    "MECHANISMS",
    "VERDICTS",
    "Cause",
    "Decision",
    "Decisions",
    "Mechanism",
    "Suspicion",
    "Verdict",
    "causes_of",
    "measured_remedies",
    "suspected",
    "verdict_of",
]


def causes_of(evidence: Evidence, kinds: Sequence[Finding], decisions: Decisions | None = None) -> tuple[Cause, ...]:
    """Return what is suspected to have brought about the kinds of a run, or decided to have, the most certain first.

    Of one kind the first mechanism that is suspected and not refuted is named, and those that are asked after it are
    not: what would look like it too stands before it. A mechanism is named once, with the first kind that it explains.
    One that nothing suspected is named where an intervention confirms it.

    Args:
        evidence: The run.
        kinds: What it has now, the gravest first.
        decisions: What interventions showed of it.
    """
    fallen = frozenset(curve.name for curve in evidence.curves if curve.fell)
    decisions = replace(decisions or Decisions(), fallen=fallen)
    measured = measured_remedies(evidence) if kinds else ()
    found = {one.cause: one for one in suspected(evidence, kinds, MECHANISMS, more=measured, decisions=decisions)}
    first = list(found)
    for cause in _confirmed([one for one in kinds if _counts(one)], decisions, measured):
        found.setdefault(cause.cause, cause)
    return tuple(sorted(found.values(), key=lambda one: (*_place(one), one.cause not in first)))


def suspected(
    evidence: Any,
    kinds: Sequence[Finding],
    mechanisms: Sequence[Mechanism],
    *,
    more: Sequence[Remedy] = (),
    decisions: Decisions | None = None,
) -> tuple[Cause, ...]:
    """Return, of each kind, the first of some mechanisms that is suspected and not refuted.

    Args:
        evidence: What mechanisms read: a run's, or what was read before the first step.
        kinds: As of :func:`causes_of`.
        mechanisms: In the order in which they are asked.
        more: Remedies beside theirs.
        decisions: What interventions showed.
    """
    decisions = decisions or Decisions()
    found: dict[str, Cause] = {}
    for kind in kinds:
        for mechanism in mechanisms if _counts(kind) else ():
            if kind.kind not in mechanism.explains:
                continue
            if kind.kind in _AT_FIRST and not mechanism.before_training and there_before(evidence, kind):
                continue  # what was lost before the first step, no force of training has taken
            cuts = {name: one.value for name, one in mechanism.thresholds.items()}
            why = mechanism.suspects(evidence, kind, cuts)
            if why is None:
                continue
            decided = decisions.decisive(mechanism.cause, kind)
            cause = Cause(
                cause=mechanism.cause,
                title=mechanism.title,
                kind=kind.kind,
                verdict=decided.verdict if decided else "suspected",
                locus=why.locus,
                because=why.because,
                decides=mechanism.decides,
                remedies=decisions.with_gains((*_for(mechanism, why), *more), mechanism.cause, kind),
                decided=decided,
            )
            known = found.get(cause.cause)
            if known is None or RANK.index(cause.verdict) < RANK.index(known.verdict):
                found[cause.cause] = cause
            if cause.verdict != "refuted":
                break
    return tuple(found.values())


def _for(mechanism: Mechanism, why: Suspicion) -> tuple[Remedy, ...]:
    """Return a mechanism's remedies for the place where it is suspected, those that are for it alone first."""
    fit = [one for one in mechanism.remedies if one.part in why.because or why.locus.startswith(one.part)]
    return tuple(sorted(fit, key=lambda one: not one.part))


def _counts(kind: Finding) -> bool:
    return kind.status in (Status.CRITICAL, Status.WARNING)


def _place(one: Cause) -> tuple[float, ...]:
    sure, restored = certainty(one.decided) if one.decided else (RANK.index(one.verdict), 0.0)
    return sure, restored if one.verdict == "confirmed" else 0.0


def _confirmed(kinds: Sequence[Finding], decisions: Decisions, measured: Sequence[Remedy]) -> list[Cause]:
    """Return what interventions confirm by themselves, whatever was suspected; not those that only train less."""
    known, found = {one.cause: one for one in MECHANISMS}, []
    for slug in dict.fromkeys(one.tests for one in decisions.found if one.tests and not one.trains_less):
        mechanism = known.get(slug)
        explained = [one for one in kinds if mechanism and one.kind in mechanism.explains] or list(kinds)
        decided = decisions.decisive(slug, explained[0]) if explained else None
        if decided is None or decided.verdict != "confirmed" or decided.trains_less:
            continue
        remedies = (*mechanism.remedies, *measured) if mechanism else measured
        found.append(
            Cause(
                cause=slug,
                title=mechanism.title if mechanism else slug.replace("_", " "),
                kind=explained[0].kind,
                verdict="confirmed",
                locus="",
                because={},
                decides=mechanism.decides if mechanism else "",
                remedies=decisions.with_gains(remedies, slug, explained[0]),
                decided=decided,
            )
        )
    return found


def measured_remedies(evidence: Evidence) -> tuple[Remedy, ...]:
    """Return what would help without further training, with the gain that was measured.

    Another model of the run to keep, an interpolation among them; and the best other way of scoring the same vectors:
    the reciprocal rank that way minus the scored one, on the reference pairs at the end. Nothing is forecast. Empty
    where the gains are below .02, or were not read.
    """
    kept = keeping(evidence.run)
    scored = equal_n(evidence.series("pairs/mrr", on="reference"))
    # What the model gives at the end must be numbers: of an earlier one nobody asks how to score it.
    known = len(scored) > 0 and bool(np.isfinite(scored.values[-1])) and not evidence.reference_still
    found = []
    for reading, way in _FREE if known else ():
        series = evidence.series(reading, on="reference")
        series = series.where(series.n == scored.n[-1]) if len(series) else series
        if len(series) and series.steps[-1] == scored.steps[-1] and np.isfinite(series.values[-1]):
            found.append((float(series.values[-1] - scored.values[-1]), way))
    gain, way = max(found, default=(0.0, ""))
    ways = [Remedy(change={"scoring": way}, reading="pairs/mrr", gain=gain)] if gain >= LEAST else []
    return (*([kept] if kept else []), *ways)
