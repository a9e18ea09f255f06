"""Did retrieval get worse, and where?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Remedy, Status, Subject, Threshold
from .._curves import SMALLEST
from .._evaluations import Evaluations, Pair
from .._evidence import Evidence
from .._status import CRITICAL_P, WARNED
from ._signature import part

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
    start = curve.against("start")
    if not worst.fell and worst.against == "raw" and start is not None and start.value > 0:
        # A head that is on its way, and little below the encoder that it began under, is no fall.
        worst = start
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
        onset=evidence.onset_of(curve),
        outside=curve.outside,
        evidence=(f"{curve.name}/{curve.metric}",),
        n=worst.interval.n if worst.interval else None,
    )


def _critical(one: Condition, cuts: Mapping[str, float]) -> bool:
    assert one.value is not None and one.interval is not None
    return one.value <= cuts["critical"] and one.interval.p <= CRITICAL_P


def _correction(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    found = evidence.evaluations
    without, with_it = (found.of(subject.name, variant) for variant in (WITHOUT, WITH))
    metric = found.metric(subject.name)
    names = tuple(f"{subject.name}/{metric} {variant}" for variant in (WITHOUT, WITH))
    if metric is None or not (without or with_it):
        return _by_locus(subject, evidence, cuts)
    if found.judged(subject.name) == WITHOUT and not with_it:
        raise NotApplicable("only the variant without correction was scored")
    pairs = found.pairs(subject.name, WITHOUT, WITH)
    change = found.change(*pairs[-1], metric) if pairs else None
    if change is None:
        return Judgement(value=None, evidence=names)
    tests = sum(bool(found.pairs(name, WITHOUT, WITH)) for name in found.collections)
    p = min(1.0, tests * found.p_together(pairs, metric, tests=tests)[-1])
    judged = found.judged(subject.name) == WITH
    return Judgement(
        value=change[0],
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"] if judged else None, above=False),
        interval=replace(change[1], p=p),
        outside=_latest_below(found, pairs, metric),
        evidence=names,
        n=change[1].n,
    )


def _by_locus(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    """Return the fall of a collection where the correction and its gate alone were trained: they made it, then."""
    curve = next((one for one in evidence.curves if one.name == subject.name), None)
    trained = correction_alone(evidence)
    if curve is None or trained is None:
        raise NotApplicable("the model was not scored with and without a correction")
    if not trained:
        raise NotApplicable("more than the correction was trained, and nothing was scored without it")
    if any(one.inside and one.rose and not one.fell for one in evidence.curves):
        raise NotApplicable("the trained domain rises: what falls elsewhere is forgotten")
    worst = curve.worst
    if worst is None:
        return Judgement(value=None, evidence=(f"{curve.name}/{curve.metric}",))
    count = float(len(trained))
    return Judgement(
        value=worst.value,
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"], above=False),
        conditions=(
            part("trained groups, all of the correction", count, 1.0, True),
            part(f"{curve.name}/{curve.metric}", worst.value, worst.cut, bool(curve.fell)),
            *curve.conditions(),
        ),
        interval=worst.interval,
        onset=evidence.onset_of(curve),
        outside=curve.outside,
        evidence=(f"{curve.name}/{curve.metric}",),
        n=worst.interval.n if worst.interval else None,
    )


def correction_alone(evidence: Evidence) -> list[str] | None:
    """Return the groups that are trained where all of them are a correction's or its gate's, else none.

    None where nothing is added, or nothing is known to be trained.
    """
    trained = [one.reading.partition("/")[2] for one in evidence.groups("drift") if float(one.values[-1]) > 0]
    added = [one for one in evidence.run.coverage.values() if one.role in ("correction", "gate")]
    if not added or not trained:
        return None
    if any(_is_output(evidence, one.stream) for one in added):
        return trained
    places = {one.where.partition(" ")[2] for one in added}
    alone = all(any(f"{group}.".startswith(f"{place}.") for place in places) for group in trained)
    return trained if alone else []


def _is_output(evidence: Evidence, correction: str) -> bool:
    """Return whether a correction that was handed over is all that the watched model makes: their norms are equal."""
    outputs = [one.stream for one in evidence.run.coverage.values() if one.where == "output of the model"]
    mine = evidence.series(f"{correction}/norm_mean", on="batch")
    others = (evidence.series(f"{name}/norm_mean", on="batch") for name in outputs)
    return len(mine) > 0 and any(np.array_equal(mine.values, one.values) for one in others)


def _latest_below(found: Evaluations, pairs: Sequence[Pair], metric: str) -> tuple[int, ...]:
    """Return the steps of the latest evaluations that are resolved below, without another between them."""
    steps: list[int] = []
    for first, second in reversed(pairs):
        change = found.change(first, second, metric)
        if change is None or not change[1].high < 0:
            break
        steps.append(second.step)
    return tuple(reversed(steps))


RETRIEVAL = (
    Detector(
        code="CP201",
        kind="loss_against_retrieval",
        title="a fall of retrieval",
        reads=("COLLECTION/METRIC", "pairs/mrr", "pairs/d_prime"),
        per="collection",
        formula="The judged variant's last score minus that of step 0, of the raw encoder, and of its own best three "
        "evaluations, paired over queries; p by sign flips, over all evaluations of a collection together (max-T) and "
        "over collections and variants (Holm). Without scored pairs: the reciprocal rank or d' of the reference pairs, "
        "else of the batches, pooled over windows.",
        thresholds={
            "warning": Threshold(0.0, WARNED),
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
        formula="The last score with the correction minus that without, paired over queries; p by sign flips, over all "
        "evaluations together (max-T), times the collections. Critical where the variant with it is the judged one. "
        "Where nothing was scored without it: a fall of the collection while nothing but the correction is trained.",
        thresholds={
            "warning": Threshold(0.0, WARNED),
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
