"""Whether what is trained is what is scored."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ...journal import Series
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Status, Subject, Threshold
from .._evidence import Evidence
from .._separation import D_PRIME
from ._learning import LEFT_OUT
from ._mismatched import first_batches
from ._signature import MEASURED, a_fall, part

BATCH_MEANS = "common share of scored pairs under batch norm"
"""What a judgement by the means of batches rests on."""

BATCH_LENGTHS = "length of batches over scored ones, or its inverse, under batch norm"
"""What a judgement by the lengths of batches rests on."""

_CENTRED = 1e-10
"""Common share that is nothing but rounding (own choice)."""

_MOVED = 0.01
"""Relative change of a reading from which on a side moves (own choice)."""

_GAINED, _KEPT = 0.25, 0.97
"""Gain of separation from which on scored pairs have to follow, and neighbours kept where little moves (own choice)."""

_SIDES = ("query", "document")

_ENDS = 8
"""Last readings that are pooled."""


def _path(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    apart = _apart(evidence, cuts) or _side_left(evidence) or _normalised(evidence, cuts) or _unsettled(evidence, cuts)
    if apart is not None:
        return apart
    readings = [one for one in ("pairs/d_prime", "pairs/mrr") if len(evidence.series(one, on="reference").finite()) > 1]
    if not readings:
        return Judgement(value=None, evidence=("pairs/d_prime",))
    if not evidence.trained_through:
        raise NotApplicable("no backward came through a query or a document")
    if evidence.left_out:
        raise NotApplicable("what is scored is in no optimiser")
    drift, steps = evidence.unscored_drift, evidence.series(readings[0], on="reference").finite().steps
    drift = None if drift is None or drift <= cuts["drift"] else drift
    parted = None if drift else _parted(evidence, cuts)
    if parted is not None:
        return parted
    lag = _lag(evidence)
    if drift is None and lag is not None and abs(lag) < cuts["lag"]:
        return Judgement(
            value=lag,
            bounds=Bounds(warning=cuts["lag"], critical=cuts["lag"], above=False),
            conditions=(part("part of the batches' gain that scored pairs have", lag, cuts["lag"], True),),
            onset=Onset(step=1, low=0, high=1),
            outside=tuple(int(step) for step in steps),
            before=True,
            evidence=tuple(readings),
        )
    return Judgement(
        value=drift or 0.0,
        bounds=Bounds(warning=cuts["drift"], critical=cuts["drift"]),
        conditions=(
            part("way of the weights while no scored vector changed", drift or 0.0, cuts["drift"], drift is not None),
        ),
        onset=None if drift is None else Onset(step=1, low=0, high=1),
        outside=() if drift is None else tuple(int(step) for step in steps),
        evidence=tuple(readings),
    )


def _apart(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that the first batches tell pairs apart where the reference pairs do not; None where both are alike."""
    reading = "pairs/auc"
    reference, batch = (evidence.series(reading, on=on).finite() for on in ("reference", "batch"))
    first = first_batches(batch)
    if not len(reference) or not len(first) or int(reference.steps[0]) > 0:
        return None
    scored, trained = float(reference.values[0]), float(first.values.mean())
    if int(first.steps[0]) == 1:
        trained = min(trained, float(first.values[0]))  # the later ones may have learnt already
    if trained - scored < cuts["gap"]:
        return None
    at_chance = scored < cuts["chance"] or None
    return Judgement(
        value=trained - scored,
        bounds=Bounds(warning=cuts["gap"], critical=cuts["gap"]),
        conditions=(
            part(f"{reading} of the first batches minus that of reference pairs", trained - scored, cuts["gap"], True),
            Condition(reading="at chance when scored", value=scored, cut=cuts["chance"], holds=at_chance, harm=True),
        ),
        onset=Onset(step=0, low=0, high=0),
        outside=tuple(int(step) for step in reference.steps),
        before=True,
        evidence=(reading,),
        n=int(reference.n[0]),
    )


def _parted(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that scored pairs are told apart as the batches' are at step 0 alone, and lie elsewhere; None else.

    Texts of one source that go one way have one length, one mean and one gap between sides, learnt by heart or not:
    pairs that lay alike and do not since went two ways, or pairs of which something else was made from the start.
    """
    if not any(curve.inside and curve.fell for curve in evidence.curves):
        return None
    sides = [one.name for one in evidence.streams if one.role in ("query", "document")]
    gaps, apart = (_against_batches(evidence, name) for name in ("pairs/side_gap", D_PRIME))
    lengths, shares = (
        [_against_batches(evidence, f"{side}/{name}") for side in sides] for name in ("norm_median", "common_share")
    )
    later = sorted(step for step in set(gaps) & set(apart) if step > 0)
    rest = max((apart[step] for step in later), default=math.inf)
    if len(later) < 2 or rest > cuts["apart"]:
        return None
    gap = min(gaps[step] for step in later)
    since = gap >= cuts["gaps"] and _alike(gaps, cuts) and _unlike([*lengths, *shares], later) >= cuts["shape"]
    always = [_unlike(one, [0, *later]) for one in (lengths, shares)]
    made = _alike(apart, cuts) and always[0] >= cuts["length"] and always[1] >= cuts["shape"]
    if not since and not made:
        return None
    shape = _unlike([*lengths, *shares], later)
    return Judgement(
        value=rest,
        bounds=Bounds(warning=cuts["apart"], critical=cuts["apart"], above=False),
        conditions=(
            part(f"{D_PRIME} of reference pairs over that of batches, since step 0", rest, cuts["apart"], True),
            part("a side's length or common share over that of batches, or its inverse", shape, cuts["shape"], True),
            *([part("pairs/side_gap over that of batches, since step 0", gap, cuts["gaps"], True)] if since else []),
            a_fall(evidence),
        ),
        onset=Onset(step=1, low=0, high=later[0]),
        outside=tuple(later),
        before=True,
        evidence=(D_PRIME, "pairs/side_gap"),
    )


def _alike(found: Mapping[int, float], cuts: Mapping[str, float]) -> bool:
    """Return whether a reading was that of the batches at step 0."""
    return 1 / cuts["alike"] < found.get(0, 0.0) < cuts["alike"]


def _unlike(found: list[dict[int, float]], steps: list[int]) -> float:
    """Return how many times the batches' reading the unlikest of some was, or its inverse, where it was least so."""
    return math.exp(min(max((abs(math.log(one[step])) for one in found if step in one), default=0.0) for step in steps))


def _against_batches(evidence: Evidence, reading: str) -> dict[int, float]:
    """Return a reading of the reference pairs by step, over that of the batches nearest to it."""
    reference, batch = (evidence.series(reading, on=on).finite() for on in ("reference", "batch"))
    if len(batch) < 3 * _ENDS:
        return {}
    found = {}
    for step, value in zip(reference.steps, reference.values, strict=True):
        near = np.argsort(np.abs(batch.steps - step), kind="stable")[: 3 if step else 1]
        there = float(np.median(batch.values[near]))
        if there > 0 and value > 0:
            found[int(step)] = float(value) / there
    return found


def _side_left(evidence: Evidence) -> Judgement | None:
    """Return that the scored vectors of one side never change by a bit while that side is trained; None else.

    A side that is frozen by design has no gradient; one that no optimiser holds is judged by itself.
    """
    for stream in () if evidence.left_out else evidence.streams:
        forces = evidence.series(f"{stream.name}/radial", on="batch").finite().values
        if stream.role not in ("query", "document") or not forces.any():
            continue
        scored, trained = (_shape(evidence, stream.name, on) for on in ("reference", "batch"))
        if not scored or not trained or any(np.ptp(one.values) for one in scored):
            continue
        ways = [
            one for one in evidence.groups("drift") if _gives(evidence, one.reading.partition("/")[2], [stream.name])
        ]
        if ways and not any(one.values.any() for one in ways):
            continue  # held still, as by whoever unfreezes it later
        moved = max(float(np.ptp(one.values)) / max(abs(float(one.values[0])), 1e-12) for one in trained)
        others = [one for one in evidence.streams if one.name != stream.name and one.role in ("query", "document")]
        changed = any(np.ptp(one.values) for other in others for one in _shape(evidence, other.name, "reference"))
        if not changed or moved < _MOVED:
            continue
        reading = f"{stream.name}: change of its batches while its scored vectors kept every bit"
        return Judgement(
            value=moved,
            bounds=Bounds(warning=0.0, critical=0.0),
            conditions=(part(reading, moved, _MOVED, True),),
            onset=Onset(step=1, low=0, high=1),
            outside=tuple(int(step) for step in scored[0].steps),
            before=True,
            evidence=tuple(one.reading for one in scored),
        )
    return None


def _untrained(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    """Return that one side's scored vectors keep every bit, where weights of it were meant to be trained."""
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    sides = {one.name: _shape(evidence, one.name, "reference") for one in evidence.streams if one.role in _SIDES}
    still = [name for name, read in sides.items() if read and not any(np.ptp(one.values) for one in read)]
    changed = [name for name, read in sides.items() if any(np.ptp(one.values) for one in read)]
    if len(sides) < 2 or not all(sides.values()):
        return Judgement(value=None, evidence=tuple(f"{name}/common_share" for name in sides))
    ways = {one.reading: float(one.values[-1]) for one in evidence.groups("drift")}
    # A group with a rate of 0 is frozen on purpose.
    frozen = not any(ways.values()) or any(not one.values.any() for one in evidence.groups("rate"))
    still_ones = [] if frozen else [name for name, way in ways.items() if way == 0.0]
    idle = [name for name in still_ones if _gives(evidence, name.partition("/")[2], still)]
    count = float(len(evidence.left_out) or len(idle))
    if not count:
        raise NotApplicable("every weight that has a gradient is in an optimiser, and moved")
    steps = next(iter(sides.values()))[0].steps
    holds = bool(still) and bool(changed)
    return Judgement(
        value=float(len(still)),
        bounds=Bounds(warning=0.0),
        conditions=(
            part(f"sides whose scored vectors kept every bit{_named(still)}", float(len(still)), 0.0, holds),
            part(LEFT_OUT, count, 0.0, True) if evidence.left_out else part(idle[0], 0.0, 0.0, True),
        ),
        onset=Onset(step=1, low=0, high=1) if holds else None,
        outside=tuple(int(step) for step in steps) if holds else (),
        before=holds,
        evidence=tuple(one.reading for name in still for one in sides[name]),
    )


def _gives(evidence: Evidence, group: str, sides: list[str]) -> bool:
    """Return whether a group is of the module that gives one of some sides: a pooler beside given vectors is not."""
    places = [one.where for one in evidence.run.coverage.values() if one.stream in sides]
    modules = [found[1] for one in places if (found := re.search(r"\bmodule (\S+)", one))]
    return any(f"{one}.".startswith(f"{group}.") or f"{group}.".startswith(f"{one}.") for one in modules)


def _named(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _shape(evidence: Evidence, stream: str, on: str) -> list[Series]:
    names = ("norm_median", "common_share", "participation_ratio_corrected")
    found = [evidence.series(f"{stream}/{name}", on=on).finite() for name in names]
    return [one for one in found if len(one) > 1]


def _normalised(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that both sides of the scored pairs began with a mean of nothing in a model that normalises over batches.

    In evaluation mode running statistics leave a mean; to the last bit only the batch's own take it off, until a bias
    is learnt.
    """
    if not evidence.said("batch_norm"):
        return None
    sides = [one.name for one in evidence.streams if one.role in ("query", "document")]
    shares = [evidence.series(f"{name}/common_share", on="reference").finite() for name in sides]
    if len(shares) < 2 or any(not len(one) or float(one.values[0]) > _CENTRED for one in shares):
        return None
    value = max(float(one.values[0]) for one in shares)
    return Judgement(
        value=value,
        bounds=Bounds(warning=_CENTRED, critical=_CENTRED, above=False),
        conditions=(
            part(BATCH_MEANS, value, _CENTRED, True),
            a_fall(evidence),
        ),
        onset=Onset(step=0, low=0, high=0),
        outside=tuple(int(step) for step in shares[0].steps),
        before=True,
        evidence=tuple(one.reading for one in shares),
    )


def _unsettled(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that scored vectors keep another length than the batches' in a model that normalises over batches.

    Running statistics that are those of the batches leave each dimension its length, or nearly. Asked where anything
    fell.
    """
    sides = [one.name for one in evidence.streams if one.role in ("query", "document")]
    if not evidence.said("batch_norm") or len(sides) < 2:
        return None
    lengths = [_against_batches(evidence, f"{side}/norm_median") for side in sides]
    if any(len(one) < 3 for one in lengths) or not any(curve.fell for curve in evidence.curves):
        return None
    times = min(abs(math.log(value)) for one in lengths for value in one.values())
    if times < math.log(cuts["length"]):
        return None
    return Judgement(
        value=math.exp(times),
        bounds=Bounds(warning=cuts["length"], critical=cuts["length"]),
        conditions=(part(BATCH_LENGTHS, math.exp(times), cuts["length"], True), a_fall(evidence)),
        onset=Onset(step=0, low=0, high=0),
        outside=tuple(lengths[0]),
        before=True,
        evidence=tuple(f"{side}/norm_median" for side in sides),
    )


def _lag(evidence: Evidence) -> float | None:
    """Which part of what the batches' separation gained the reference pairs' gained; None where little was gained.

    None, too, where who is near whom changed, as what learns its pairs by heart does, and where anything fell.
    """
    batch, reference = (evidence.series(D_PRIME, on=on).finite() for on in ("batch", "reference"))
    if len(batch) < 3 * _ENDS or len(reference) < 2 or int(reference.steps[0]) > 0:
        return None
    kept = evidence.series("pairs/neighbour_overlap", on="reference").finite()
    if not len(kept) or float(kept.values[-1]) < _KEPT or any(curve.fell for curve in evidence.curves):
        return None
    start, end = (float(np.median(part)) for part in (batch.values[:3], batch.values[-_ENDS:]))
    # What first steps spoil and later ones mend is no gain.
    start = max(start, float(batch.values[0]))
    first, last = float(reference.values[0]), float(reference.values[-1])
    if start <= 0 or first <= 0 or end < (1 + _GAINED) * start:
        return None
    return (last / first - 1) / (end / start - 1)


PATHS = (
    Detector(
        code="CP521",
        kind="path_mismatch",
        title="what is trained is not what is scored",
        reads=("pairs/d_prime", "pairs/mrr", "drift/GROUP", "gradient/norm"),
        per="run",
        formula="No reading of the reference pairs changed by a bit, while a gradient arrived and weights moved; or "
        "the first batches tell pairs apart by more than the cut better than the reference pairs are at step 0, "
        "critical where those are at chance; or one side's scored vectors keep every bit while that side is trained; "
        "or they lie where the batches do at step 0, and since then are told apart worse, their sides farther from "
        "each other and of another length or mean, or are of another length and mean from the start; or, where the "
        "model normalises over batches, both sides have no mean, or never the batches' length; or separation rises in "
        "batches and next to nothing of that is scored, as of a moving average that hardly moves.",
        thresholds={
            "drift": Threshold(1e-6, "weights that moved further have moved vectors (rounding of float32)"),
            "lag": Threshold(0.1, "moving averages that hardly move .00 to .05, healthy heads .77 and more (measured)"),
            "gap": Threshold(0.2, "AUC .98 against .5 in a failure (measured)"),
            "chance": Threshold(0.6, f"{MEASURED}, as of mismatched pairs"),
            "length": Threshold(4.0, "running statistics that never moved 14 (measured), settled ones 1.0 to 1.3"),
            "alike": Threshold(1.25, "samples of one source at step 0, .93 to 1.07 (measured)"),
            "gaps": Threshold(1.4, "1.5 to 6.4 in three failures; .7 to 1.3 where samples share a path (measured)"),
            "shape": Threshold(1.5, "1.7 to 5.9 in three failures; the noise of a batch is a tenth (measured)"),
            "apart": Threshold(0.8, "of the separation of batches: .24 to .71 in three failures (measured)"),
        },
        judge=_path,
        why="The module that is trained is not on the path that is scored, so nothing that it learns is used.",
        remedies=(Remedy(change={"model": "score with the module that is trained, or train the one that is scored"}),),
        not_this="a run without gradient, in which nothing is learnt",
        confirm=2,
    ),
    Detector(
        code="CP519",
        kind="side_not_trained",
        title="one side is not trained",
        reads=("STREAM/common_share", "drift/GROUP"),
        per="run",
        formula="The scored vectors of queries, or of documents, keep every bit while the other side's change, and a "
        "group of the module that gives them never moved, or one that has a gradient is in no optimiser.",
        thresholds={},
        judge=_untrained,
        why="A side whose weights were to be trained stays as it was made: what it does not tell apart, nothing will.",
        remedies=(
            Remedy(
                change={
                    "optimizer": "give the optimiser the side's parameters",
                    "model": "or look for a detached output; freeze what is meant to be (requires_grad_(False))",
                },
                reading="update/GROUP",
            ),
        ),
        not_this="a side that is frozen: parameters that ask for no gradient",
        gravest=Status.WARNING,
        confirm=2,
    ),
)
