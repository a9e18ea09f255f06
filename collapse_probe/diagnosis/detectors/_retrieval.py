"""Did retrieval get worse, and where?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Remedy, Status, Subject, Threshold
from .._curves import SMALLEST
from .._evidence import Evidence
from .._status import CRITICAL_P

WITH, WITHOUT = "predictor", "no_predictor"
"""The two variants of a model with a correction."""

_TRIED = (
    "with p <= .001, .3 % of runs without any change (four evaluations on two collections) have a critical "
    "fall; at the .05 of an interval it would be 9 %"
)


def _fall(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    curve = next((one for one in evidence.curves if one.name == subject.name), None)
    if curve is None:
        if not evidence.config.trains:
            raise NotApplicable("nothing is trained")
        return Judgement(value=None, evidence=(subject.name,))
    worst = curve.worst
    if worst is None:
        return Judgement(value=None, evidence=(f"{curve.name}/{curve.metric}",))
    conditions = tuple(
        one
        if one.holds is None or one.cut != -SMALLEST
        else replace(one, cut=cuts["critical"], holds=_critical(one, cuts))
        for one in curve.conditions()
    )
    return Judgement(
        value=worst.value if worst.interval is not None else None,
        bounds=Bounds(warning=cuts["warning"], critical=worst.cut, above=False),
        conditions=conditions,
        interval=worst.interval,
        onset=(evidence.separation_onset if curve.inside and curve.fell else None) or curve.onset,
        outside=curve.outside,
        evidence=(f"{curve.name}/{curve.metric}",),
        n=worst.interval.n if worst.interval else None,
    )


def _critical(one: Condition, cuts: Mapping[str, float]) -> bool:
    assert one.value is not None and one.interval is not None
    return one.value <= cuts["critical"] and one.interval.p <= CRITICAL_P


def _correction(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    found = evidence.evaluations
    both = [{one.step: one for one in found.of(subject.name, variant)} for variant in (WITHOUT, WITH)]
    steps = sorted(both[0].keys() & both[1].keys())
    metric = found.metric(subject.name)
    names = tuple(f"{subject.name}/{metric} {variant}" for variant in (WITHOUT, WITH))
    if metric is None or not (both[0] or both[1]):
        raise NotApplicable("the model was not scored with and without a correction")
    if found.judged == WITHOUT and not both[1]:
        raise NotApplicable("only the variant without correction was scored")
    if not steps or steps[-1] == 0:
        return Judgement(value=None, evidence=names)
    change = found.change(both[0][steps[-1]], both[1][steps[-1]], metric)
    if change is None:
        return Judgement(value=None, evidence=names)
    judged = found.judged == WITH
    return Judgement(
        value=change[0],
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"] if judged else None, above=False),
        interval=change[1],
        outside=tuple(steps) if change[1].high < 0 else (),
        evidence=names,
        n=change[1].n,
    )


RETRIEVAL = (
    Detector(
        code="CP201",
        kind="loss_against_retrieval",
        title="a fall of retrieval",
        reads=("COLLECTION/METRIC", "pairs/mrr", "pairs/d_prime"),
        per="collection",
        formula="The judged variant's last score minus that of step 0, of the raw encoder, and of its own best three "
        "evaluations, paired over queries. Without scored pairs: the reciprocal rank or d' of the reference pairs, "
        "else of the batches, pooled over windows.",
        thresholds={
            "warning": Threshold(0.0, "the 95 % interval lies below 0"),
            "critical": Threshold(-SMALLEST, _TRIED),
        },
        judge=_fall,
        why="This is what the model is for; a falling loss says nothing about it.",
        remedies=(
            Remedy(change={"select": "auto", "learning_rate": 1e-4}),
            Remedy(
                change={
                    "model": "keep step 0 and the raw encoder among the candidates, and choose by retrieval",
                    "optimizer": "divide the learning rate by 10",
                }
            ),
        ),
        not_this="a fall elsewhere while the pairs' own domain rises is forgetting; a rank that falls is no fall of "
        "retrieval",
        confirm=2,
    ),
    Detector(
        code="CP202",
        kind="harmful_correction",
        title="scores with the correction against those without",
        reads=("COLLECTION/METRIC",),
        per="collection",
        formula="The last score with the correction minus that without, paired over queries; critical where the "
        "variant with it is the judged one.",
        thresholds={
            "warning": Threshold(0.0, "the 95 % interval lies below 0"),
            "critical": Threshold(-SMALLEST, _TRIED),
        },
        judge=_correction,
        why="The correction makes retrieval worse than leaving it out.",
        remedies=(
            Remedy(change={"scoring_path": "no_predictor"}, reading="ndcg@10"),
            Remedy(change={"model": "score without the correction"}, reading="ndcg@10"),
        ),
        not_this="equal scores: adding delta at scoring time is then not what changed them, yet its losses may still "
        "act through what they share",
        gravest=Status.CRITICAL,
        confirm=2,
    ),
)
