"""A fall that no signature explains: the geometry that is nearest its cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ._contract import Detector, Finding, Judgement, Status, Subject
from ._status import state_of, status_of

NEAR = {
    "complete_collapse": 0.2,
    "cone": 0.7,
    "dimensional_collapse": 0.4,
    "dead_dimensions": 0.15,
    "scale_collapse": 0.5,
    "scale_explosion": 2.0,
}
"""Where near begins: twice the cut, or half of it where outside is above; of a cone .7, as 1.0 is what there was."""

_FACTOR = 2.0

_FALL = "loss_against_retrieval"

Examined = tuple[Detector, Subject, Finding]


def with_nearest(found: Sequence[Examined]) -> list[Examined]:
    """Return findings in which a fall that nothing explains has the kind that is nearest, if one is near.

    A detector's own cut is where healthy runs were never seen; a fall says that this run is none of them. Whole
    embeddings and each number of first columns are looked at by themselves.
    """
    parts: dict[int | None, list[Examined]] = {}
    for one in found:
        parts.setdefault(one[2].cut, []).append(one)
    return [one for part in parts.values() for one in _with_nearest(part)]


def _with_nearest(found: Sequence[Examined]) -> list[Examined]:
    grave = [one for _, _, one in found if one.grave and one.status is Status.CRITICAL]
    near = [at for at, (_, _, one) in enumerate(found) if _distance(one) < 1]
    if {one.kind for one in grave} != {_FALL} or not near:
        return list(found)
    chosen = min(near, key=lambda at: _distance(found[at][2]))
    detector, subject, finding = found[chosen]
    judgement = _nearer(finding, grave[0].judgement)
    status = status_of(judgement, gravest=detector.gravest)
    raised = replace(finding, judgement=judgement, status=status, state=state_of(judgement, detector, status))
    return [(detector, subject, raised) if at == chosen else one for at, one in enumerate(found)]


def _distance(finding: Finding) -> float:
    """Return how far a reading is outside nearness, 0 at its cut and 1 where near begins; infinite where it is none."""
    judgement = finding.judgement
    near = NEAR.get(finding.kind)
    if near is None or judgement is None or finding.status is not Status.HEALTHY or not judgement.conditions:
        return math.inf
    own, *others = judgement.conditions
    if not own.value or own.value <= 0 or not own.cut or own.holds is not False:
        return math.inf
    # A cut that is further away is of another reading, as of norms under a cosine, which cannot see them.
    if not own.cut / _FACTOR <= near <= own.cut * _FACTOR:
        return math.inf
    if any(one.holds is not True for one in others if not one.harm):
        return math.inf
    return math.log(own.value / own.cut) / math.log(near / own.cut)


def _nearer(finding: Finding, fall: Judgement | None) -> Judgement:
    """Return a judgement by where near begins, since when retrieval falls."""
    judgement = finding.judgement
    assert judgement is not None and fall is not None
    own, *others = judgement.conditions
    near = NEAR[finding.kind]
    return replace(
        judgement,
        bounds=replace(judgement.bounds, warning=near, critical=near),
        conditions=(replace(own, cut=near, holds=True), *others),
        onset=fall.onset,
        outside=fall.outside,
    )
