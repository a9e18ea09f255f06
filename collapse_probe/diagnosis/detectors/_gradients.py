"""Whether a step takes the gradient of its own batch, and is not taken back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._contract import Bounds, Detector, Judgement, NotApplicable, Onset, Remedy, Status, Subject, Threshold
from .._evidence import Evidence
from ._signature import part

GROWN = "gradient/norm of steps 11 to 20 over that of the first three"

_FEWEST_UNDONE = 5
"""Pairs of steps below which nothing is said of what is taken back (own choice)."""

_FEWEST = 15
"""Gradients of the first 20 steps below which nothing is said (own choice)."""


def _kept(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    if not evidence.said("gradients_kept"):
        raise NotApplicable("gradients were cleared, or written more than once a step")
    gradient = evidence.series("gradient/norm").finite()
    early = gradient.where(gradient.steps <= 20) if len(gradient) else gradient
    if len(early) < _FEWEST:
        return Judgement(value=None, evidence=("gradient/norm",))
    own = evidence.series("gradient/own").finite()
    if not len(own):
        return Judgement(value=None, evidence=("gradient/own",))
    cosine = float(np.median(own.values))
    start, end = float(np.median(early.values[:3])), float(np.median(early.values[early.steps > 10]))
    value = end / start if start > 0 else 0.0
    grown = value > cuts["grown"] and cosine < cuts["own"]
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["grown"]),
        conditions=(
            part(GROWN, value, cuts["grown"], value > cuts["grown"]),
            part("gradient/own", cosine, cuts["own"], cosine < cuts["own"]),
        ),
        onset=Onset(step=2, low=1, high=2) if grown else None,
        outside=tuple(int(step) for step in early.steps[1:]) if grown else (),
        before=grown,
        evidence=("gradient/norm", "gradient/own"),
    )


def _undone(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    shares = undone_shares(evidence)
    if not shares:
        raise NotApplicable("no two steps one after the other were read")
    reading = max(shares, key=lambda name: shares[name])
    value, series = shares[reading], evidence.series(reading).finite()
    holds = value > cuts["undone"]
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["undone"]),
        onset=Onset(step=int(series.steps[0]) - 1, low=0, high=int(series.steps[0])) if holds else None,
        outside=tuple(int(step) for step in series.steps) if holds else (),
        before=holds,
        evidence=(reading,),
    )


def undone_shares(evidence: Evidence) -> dict[str, float]:
    """Return which share of its update each group loses before the next step, the median, by reading."""
    found = (one.finite() for one in evidence.groups("undone"))
    return {one.reading: float(np.median(one.values)) for one in found if len(one) >= _FEWEST_UNDONE}


GRADIENTS = (
    Detector(
        code="CP520",
        kind="gradients_add_up",
        title="gradients are never cleared",
        reads=("gradient/norm", "gradient/own"),
        per="run",
        formula="In three of the first steps one after the other nothing but one backward wrote the gradients, and "
        "clipping where that was heard; their norm grows by more than the cut; and a step takes "
        "another gradient than its backward gave.",
        thresholds={
            "grown": Threshold(1.5, "3.3 without zero_grad() (measured); gradients that agree add up to 15"),
            "own": Threshold(0.9999, "cosine of both: 1 but for rounding where nothing was there before"),
        },
        judge=_kept,
        why="Every step takes the gradients of all steps before it once more: steps grow, and old batches outweigh the "
        "present one.",
        remedies=(Remedy(change={"optimizer": "call zero_grad() before every backward"}, reading="gradient/norm"),),
        not_this="several backwards before a step, which are meant to add up",
        gravest=Status.WARNING,
        confirm=3,
    ),
    Detector(
        code="CP524",
        kind="updates_undone",
        title="what steps change is put back",
        reads=("undone/GROUP",),
        per="run",
        formula="In the median pair of the first steps more than the cut of a group's update was taken back before the "
        "next step, by something that writes the weights beside the optimiser.",
        thresholds={"undone": Threshold(0.8, "1.0 where weights are put back, 0 where not, .5 at most of projections")},
        judge=_undone,
        why="The optimiser's steps are undone as soon as they are done, so that hardly anything is learnt.",
        remedies=(
            Remedy(
                change={
                    "model": "look for what writes these weights after the optimiser's step: an average that is copied "
                    "the wrong way, a state that is loaded in every step"
                },
                reading="undone/GROUP",
            ),
        ),
        not_this="weights that are clipped or normalised after each step: the most of the update stays",
        gravest=Status.WARNING,
        confirm=3,
    ),
)
