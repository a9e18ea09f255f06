"""What a correction adds: nothing, or the same to every query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._contract import Condition, Detector, Judgement, Remedy, Status, Subject, Threshold
from .._evaluations import REFERENCE
from .._evidence import Evidence
from ._retrieval import WITH, WITHOUT
from ._signature import part, signature

_PENALTY = (
    Remedy(change={"lambda_residual": 0.0}, reading="delta/correction_over_residual"),
    Remedy(
        change={"loss": "lower the penalty on the correction, or turn it off"},
        reading="STREAM/correction_over_residual",
    ),
)


def _identity(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "correction_over_residual")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/correction_over_residual",))
    others = _with_as_without(evidence, cuts["retrieval"])
    return signature(
        track, np.asarray(track.series.values), evidence, cut=cuts["warning"], above=False, others=others, harm=False
    )


def _with_as_without(evidence: Evidence, cut: float) -> tuple[Condition, ...]:
    """Return whether retrieval with the correction is as without, on every collection that was scored both ways."""
    found, parts = evidence.evaluations, []
    for collection in found.collections:
        metric = found.metric(collection)
        pairs = found.pairs(collection, WITHOUT, WITH)
        if collection == REFERENCE or metric is None or not pairs:
            continue
        change = found.change(*pairs[-1], metric)
        if change is not None:
            reading = f"{collection}/{metric} {WITH} minus {WITHOUT}"
            parts.append(part(reading, change[0], cut, max(abs(change[1].low), abs(change[1].high)) < cut))
    return tuple(parts)


def _constant(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "constancy")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/constancy",))
    return signature(track, np.asarray(track.series.values), evidence, cut=cuts["warning"], above=True, harm=False)


CORRECTIONS = (
    Detector(
        code="CP440",
        kind="identity",
        title="a correction that does nothing",
        reads=("STREAM/correction_over_residual", "COLLECTION/METRIC"),
        per="stream",
        roles=("correction",),
        formula="The correction over the gap between query and document is below the cut, and, where both were "
        "scored, retrieval with it is as without.",
        thresholds={
            "warning": Threshold(0.02, "below 2 % of the gap it moves no query past a document (own choice)"),
            "retrieval": Threshold(0.02, "the whole interval of with minus without lies within (own choice)"),
        },
        judge=_identity,
        why="The correction is too small against the gap between query and document to change a ranking.",
        remedies=_PENALTY,
        not_this="a small and useful correction: retrieval with it is better, resolved",
        gravest=Status.WARNING,
        confirm=2,
    ),
    Detector(
        code="CP444",
        kind="constant_correction",
        title="a constant correction",
        reads=("STREAM/constancy",),
        per="stream",
        roles=("correction",),
        formula="||E delta||^2 / E||delta||^2 is above the cut.",
        thresholds={
            "warning": Threshold(0.8, "four fifths of the correction are the same for every query (own choice)")
        },
        judge=_constant,
        why="Nearly the same is added to every query, so it carries nothing about the query.",
        remedies=_PENALTY,
        gravest=Status.WARNING,
        confirm=2,
    ),
)
