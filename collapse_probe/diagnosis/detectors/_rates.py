"""Whether the learning rate lets a run learn for as long as it goes on."""

from __future__ import annotations

from collections.abc import Mapping

from ...journal import Series
from .._contract import Bounds, Detector, Judgement, NotApplicable, Onset, Remedy, Status, Subject, Threshold
from .._evidence import Evidence
from ._signature import part

IDLE = "share of the steps since the learning rate is 0"

_FEWEST = 10
"""Steps at a rate of 0 below which nothing is said (own choice)."""


def _idle(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    rates, steps = evidence.groups("rate"), evidence.run.steps
    if not rates or not steps:
        return Judgement(value=None, evidence=("rate/GROUP",))
    last = max(_last_above_zero(one, steps) for one in rates)
    if last == 0:
        raise NotApplicable("no learning rate was ever above 0")
    later = [found for one in evidence.groups("update") if len(found := one.where(one.steps > last))]
    still = bool(later) and not any(one.values.any() for one in later)
    value = (steps - last) / steps
    # A rate that came to 0 may rise again, until the run has ended.
    holds = evidence.ended and still and value > cuts["idle"] and steps - last >= _FEWEST
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["idle"]),
        conditions=(part(IDLE, value, cuts["idle"], holds),),
        onset=Onset(step=last + 1, low=last, high=last + 1) if holds else None,
        outside=tuple(range(last + 1, min(steps, last + _FEWEST) + 1)) if holds else (),
        evidence=tuple(one.reading for one in rates),
    )


def _last_above_zero(rate: Series, steps: int) -> int:
    """Return the last step that had a rate above 0, 0 for none; a rate is written where it changes."""
    above = rate.values > 0
    if not above.any():
        return 0
    at = int(above.nonzero()[0][-1])
    return steps if at + 1 == len(rate) else int(rate.steps[at + 1]) - 1


RATES = (
    Detector(
        code="CP522",
        kind="rate_at_zero",
        title="the learning rate is 0",
        reads=("rate/GROUP", "update/GROUP"),
        per="run",
        formula="At the end every group's learning rate, which was above 0, has been 0 for more than the cut of all "
        "steps, and for ten of them at least, and no weight moved in these.",
        thresholds={"idle": Threshold(0.1, "of all steps; a schedule that ends with its run has one such step")},
        judge=_idle,
        why="The schedule has come to its end and the run has not: nothing is learnt from the batches that follow.",
        remedies=(
            Remedy(
                change={"optimizer": "give the schedule as many optimiser steps as the run has"}, reading="rate/GROUP"
            ),
        ),
        not_this="a warm-up, which begins at 0; a group that is frozen while others are trained",
        gravest=Status.WARNING,
        confirm=3,
    ),
)
