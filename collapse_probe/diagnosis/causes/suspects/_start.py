"""Mechanisms that lie in the first weights."""

from __future__ import annotations

from collections.abc import Mapping

from ..._contract import Finding
from ..._evidence import Evidence
from .._contract import Suspicion
from .._readings import there_before
from ._beginnings import OWN_LENGTH, opening_of, starts_of


def random_head(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind == "saturation":
        track = evidence.track(kind.subject, "pass_through")
        cut = kind.judgement.bounds.critical if kind.judgement else None
        stuck = track is not None and cut is not None and float(track.series.values[0]) < cut
        because = {f"{kind.subject}/pass_through at first": float(track.series.values[0])} if stuck and track else {}
        return Suspicion(because=because, locus="the first weights") if because else None
    if kind.kind != "forgetting" and not there_before(evidence, kind):
        return None
    if kind.kind == "harmful_correction":
        return _random_correction(evidence)
    overlap = evidence.series("pairs/neighbour_overlap", on="reference").finite()
    start = float(overlap.values[0]) if len(overlap) and int(overlap.steps[0]) == 0 else None
    if start is None or start > cuts["overlap"]:
        return None
    for curve, change in starts_of(evidence):
        if change[1].high < 0:
            because = {
                f"{curve.name}/{curve.metric} of step 0 minus raw": change[0],
                "neighbours kept at step 0": start,
            }
            return Suspicion(because=because, locus="the head's first weights")
    return None


def _random_correction(evidence: Evidence) -> Suspicion | None:
    """Suspect a correction that was as long as what it corrects before any step, where all that is lost was lost."""
    for stream in (one.name for one in evidence.streams if one.role == "correction"):
        reading = f"{stream}/correction_over_query"
        start = opening_of(evidence, reading)
        if start is not None and start > OWN_LENGTH / 2:
            return Suspicion(because={f"{reading} at first": start}, locus=f"the first weights of {stream}")
    return None


def narrow(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    inside = [one for one in evidence.curves if one.inside and one.fell is False]
    starts = [(one, change) for one in inside if (change := one.against("start")) is not None]
    held = next(((one, change) for one, change in starts if one.rose or change.value >= 0), None)
    if held is None:
        return None
    curve, change = held
    return Suspicion(because={f"{curve.name}/{curve.metric}": change.value}, locus="training pairs")
