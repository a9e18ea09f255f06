"""What a correction adds: nothing, or the same to every query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._contract import Condition, Detector, Judgement, NotApplicable, Remedy, Status, Subject, Threshold
from .._evaluations import REFERENCE
from .._evidence import EMBEDDINGS, Evidence
from ._learning import LEFT_OUT, MOSTLY
from ._retrieval import WITH, WITHOUT, correction_alone
from ._signature import part, ratios, signature

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
    values = np.asarray(track.series.values)
    # What nobody trains, or no gradient reaches, is no small correction that may yet grow.
    unreached = _without_gradient(evidence) == 1.0
    untrained = (bool(evidence.left_out) or unreached) and float(np.abs(values).max()) == 0.0
    others = (*others, Condition(reading=LEFT_OUT, value=None, cut=0.0, holds=untrained or None, harm=True))
    return signature(track, values, evidence, cut=cuts["warning"], above=False, others=others, harm=False)


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
    last = float(track.series.values[-1])
    same = last > cuts["same"]
    made = same and bool(correction_alone(evidence)) and any(curve.fell for curve in evidence.curves)
    others = [
        Condition(reading="a fall, and nothing else is trained", value=None, cut=0.0, holds=made or None, harm=True)
    ]
    if any(curve.inside and not curve.fell and (curve.rose or curve.learnt) for curve in evidence.curves):
        # What is not the same for every query may be small, and be what the pairs gain by.
        others.append(part(f"{subject.name}/constancy while pairs gain", last, cuts["same"], same))
    values = np.asarray(track.series.values)
    return signature(track, values, evidence, cut=cuts["warning"], above=True, others=tuple(others), harm=False)


def _vanished(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "mean_abs")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/mean_abs",))
    if track.baseline == 0:
        raise NotApplicable("it was 0 at the start")
    values = ratios(np.abs(track.series.values), abs(track.baseline))
    return signature(track, values, evidence, cut=cuts["warning"], above=False, harm=False, ratio=True)


def _without_gradient(evidence: Evidence) -> float:
    """Return the share of steps whose gradient was exactly 0; 0 where none was read."""
    gradient = evidence.series("gradient/norm").finite().values
    return float((gradient == 0).mean()) if len(gradient) else 0.0


def _gate_closed(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "value")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/value",))
    if abs(track.baseline) < cuts["open"]:
        raise NotApplicable("it was closed at the start")
    values = ratios(np.abs(track.series.values), abs(track.baseline))
    # What the gate let through was all that was trained: nothing is learnt behind it.
    nothing = _without_gradient(evidence) > MOSTLY
    others = (Condition(reading="gradient/norm", value=None, cut=0.0, holds=nothing or None, harm=True),)
    return signature(track, values, evidence, cut=cuts["warning"], above=False, others=others, harm=False, ratio=True)


def _gate_never_opened(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "value")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/value",))
    if abs(track.baseline) >= cuts["warning"]:
        raise NotApplicable("it was open at the start")
    largest = np.maximum.accumulate(np.abs(track.series.values))
    nothing = _without_gradient(evidence) == 1.0
    others = (Condition(reading="gradient/norm", value=None, cut=0.0, holds=nothing or None, harm=True),)
    return signature(track, largest, evidence, cut=cuts["warning"], above=False, others=others, harm=False)


def _saturated(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "pass_through")
    if track is None and subject.role != "correction":
        raise NotApplicable("no bound was looked for on it")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/pass_through",))
    values = np.asarray(track.series.values)
    # What is missing elsewhere since before the first step, at a bound that was reached then, no step has taken.
    before = float(values[0]) < cuts["critical"] and any(one.fell for one in evidence.curves) and evidence.lost_before
    others = (Condition(reading="a fall before the first step", value=None, cut=0.0, holds=before or None, harm=True),)
    return signature(track, values, evidence, cut=cuts["critical"], above=False, others=others if before else ())


_OPEN = (
    Remedy(
        change={
            "model": "start the gate away from 0, or leave it out",
            "optimizer": "give the gate a rate of its own",
        },
        reading="STREAM/value",
    ),
)

CORRECTIONS = (
    Detector(
        code="CP441",
        kind="delta_collapse",
        title="a correction that vanished",
        reads=("STREAM/mean_abs",),
        per="stream",
        roles=("correction",),
        formula="The correction's mean absolute entry, before its gate, over that of step 0 is below the cut.",
        thresholds={
            "warning": Threshold(0.3, "weight decay of 1 leaves .25 (measured), and the founding run's penalty .01")
        },
        judge=_vanished,
        why="What the correction adds has gone to nothing; whether that matters, retrieval with and without it says.",
        remedies=_PENALTY,
        not_this="a gate that closed: the correction itself keeps its size",
        gravest=Status.WARNING,
    ),
    Detector(
        code="CP442",
        kind="gate_collapse",
        title="a gate that closed",
        reads=("STREAM/value",),
        per="stream",
        roles=("gate",),
        formula="The gate's value over that of step 0 is below the cut; critical where most steps have no gradient.",
        thresholds={
            "warning": Threshold(0.1, "a tenth of its start (own choice)"),
            "open": Threshold(1e-3, "below, it was never open (own choice)"),
        },
        judge=_gate_closed,
        why="What is behind the gate no longer reaches what is scored.",
        remedies=_OPEN,
        not_this="a small gate that is learnt, while retrieval with the correction is better",
    ),
    Detector(
        code="CP443",
        kind="gate_never_opened",
        title="a gate that never opened",
        reads=("STREAM/value",),
        per="stream",
        roles=("gate",),
        formula="The gate's value began below the cut and was never above it; critical where no gradient arrives.",
        thresholds={"warning": Threshold(1e-3, "a thousandth of what is behind it passes (own choice)")},
        judge=_gate_never_opened,
        why="A gate of 0 passes neither the correction nor the gradient that would train it.",
        remedies=_OPEN,
        not_this="a gate that opens slowly: its value grows",
    ),
    Detector(
        code="CP445",
        kind="saturation",
        title="saturation",
        reads=("STREAM/pass_through",),
        per="stream",
        roles=("correction", *EMBEDDINGS),
        formula="The mean share of the gradient that a bound of 1 passes, 1 - z^2, is below the cut, and separation "
        "or retrieval fell, be it before the first step.",
        thresholds={
            "critical": Threshold(
                0.2,
                "a hash head at too high a rate .13, at a right one .99 (measured); a clamp at .03 raised its domain",
            )
        },
        judge=_saturated,
        why="Entries at their bound pass no gradient, so they are stuck where they are.",
        remedies=(
            Remedy(change={"tanh": False}, reading="STREAM/pass_through"),
            Remedy(change={"model": "widen the bound, or leave it out"}, reading="STREAM/pass_through"),
        ),
        not_this="a bound that slows learning while retrieval rises",
    ),
    Detector(
        code="CP440",
        kind="identity",
        title="a correction that does nothing",
        reads=("STREAM/correction_over_residual", "COLLECTION/METRIC"),
        per="stream",
        roles=("correction",),
        formula="The correction over the gap between query and document is below the cut, and, where both were "
        "scored, retrieval with it is as without; critical where it is 0 throughout, and in no optimiser or without "
        "any gradient.",
        thresholds={
            "warning": Threshold(0.02, "below 2 % of the gap it moves no query past a document (own choice)"),
            "retrieval": Threshold(0.02, "the whole interval of with minus without lies within (own choice)"),
        },
        judge=_identity,
        why="The correction is too small against the gap between query and document to change a ranking.",
        remedies=_PENALTY,
        not_this="a small and useful correction: retrieval with it is better, resolved",
        confirm=2,
    ),
    Detector(
        code="CP444",
        kind="constant_correction",
        title="a constant correction",
        reads=("STREAM/constancy",),
        per="stream",
        roles=("correction",),
        formula="||E delta||^2 / E||delta||^2 is above the cut, and, while the pairs' domain rises, nearly 1; critical "
        "where it is all of it, nothing else is trained, and a collection or the pairs fell.",
        thresholds={
            "warning": Threshold(0.8, "four fifths of the correction are the same for every query (own choice)"),
            "same": Threshold(0.95, "what else it adds is too little to be to blame (own choice)"),
        },
        judge=_constant,
        why="Nearly the same is added to every query, so it carries nothing about the query.",
        remedies=_PENALTY,
        confirm=2,
    ),
)
