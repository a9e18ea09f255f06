"""What was learnt at the cost of something else: other domains, held-out pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Remedy, Subject, Threshold
from .._curves import SMALLEST, Curve
from .._evidence import Evidence
from .._onset import crossing
from .._separation import RANK, equal_n
from ._signature import MEASURED, part

_Z = 3.0
"""Errors of the noise of neighbouring batches that a gain has to exceed."""


_LOST_IN_TRAINING = 0.25
"""Share of a fall against the raw encoder that comes after step 0, from which on training forgot it (own choice)."""

_KEPT = 0.5
"""Share of the raw encoder's score from which on a start still knew the domain (own choice)."""

_ALL_FOUND = 0.99
"""Reciprocal rank above which pairs cannot say more: a text beside itself is found by any encoder."""


def _inside(evidence: Evidence) -> Curve | None:
    """Return the curve that says whether the trained domain rises: of held-out pairs where there are some."""
    known = [one for one in evidence.curves if one.inside and one.fell is not None and not _all_found(one)]
    return min(known, key=lambda one: (one.seen, one.name == "batch pairs"), default=None)


def _all_found(curve: Curve) -> bool:
    """Return whether pairs were all found from the first reading to the last, so that they say nothing."""
    return curve.metric == "mrr" and min(curve.values) > _ALL_FOUND


def _falls(curve: Curve) -> bool:
    """Return whether a curve is below its start, resolved: less than what is critical, and no rise or level."""
    start = curve.against("start")
    small = start is not None and start.interval is not None and start.value <= -SMALLEST and start.interval.high < 0
    return bool(curve.fell) or small


def _knew(inside: Curve) -> bool:
    """Return whether the trained domain rises from most of what the raw encoder knew of it, or to all of that."""
    raw = inside.against("raw")
    known = raw is not None and (inside.values[0] > _KEPT * raw.before or raw.value >= 0)
    return bool(inside.rose and not inside.fell) and known


def _change(curve: Curve) -> float:
    """Return a curve's change since step 0, else against the raw encoder."""
    by = {one.against: one for one in curve.changes}
    found = by.get("start") or by.get("raw") or curve.worst
    return 0.0 if found is None else found.value


def _forgetting(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    curve = next((one for one in evidence.curves if one.name == subject.name), None)
    if curve is not None and curve.inside:
        raise NotApplicable("it is of the domain that is trained on")
    inside = _inside(evidence)
    outside = [one for one in evidence.curves if one.inside is False]
    # What falls, resolved, while the trained domain rises is of another, whether that was told or not.
    parts = curve is not None and bool(curve.fell) and inside is not None and inside.rose and not inside.fell
    if not outside and not parts and (curve is None or curve.inside is None):
        return _neighbours(evidence, inside, cuts)
    if curve is None or curve.worst is None:
        return Judgement(value=None, evidence=(subject.name,))
    if curve.inside is None and not parts:
        raise NotApplicable("it was not told whether it is of the domain that is trained on")
    if inside is None:
        raise NotApplicable("nothing says how the trained domain did")
    start = curve.against("start")
    worst = curve.worst
    later = any(one.fell for one in curve.changes if one.against != "raw")
    small = start is not None and start.value > _LOST_IN_TRAINING * min(worst.value, 0.0)
    if not later and small and not (_falls(curve) and _knew(inside)):
        raise NotApplicable("what is missing against the raw encoder was missing before the first step")
    reading, of_inside = f"{curve.name}/{curve.metric}", f"{inside.name}/{inside.metric}"
    return Judgement(
        value=worst.value,
        bounds=Bounds(warning=0.0, critical=worst.cut, above=False),
        conditions=(
            part(f"{of_inside} since {evidence.config.start}", _change(inside), 0.0, not _falls(inside)),
            part(reading, worst.value, worst.cut, bool(curve.fell)),
            *(one for one in curve.conditions() if one.holds is not None),
        ),
        interval=worst.interval,
        onset=evidence.onset_of(curve) if curve.fell else None,
        outside=curve.outside,
        evidence=(reading, of_inside),
        n=worst.interval.n if worst.interval else None,
    )


def _neighbours(evidence: Evidence, inside: Curve | None, cuts: Mapping[str, float]) -> Judgement:
    """Return what the neighbours suspect where no collection of another domain was scored."""
    reading = "pairs/neighbour_overlap"
    series = equal_n(evidence.series(reading, on="reference").finite())
    if not len(series):
        return Judgement(value=None, evidence=(reading,))
    outside = series.values < cuts["neighbours"]
    held = None if inside is None else bool(inside.rose and not inside.fell)
    return Judgement(
        value=float(series.values[-1]),
        bounds=Bounds(warning=cuts["neighbours"], above=False),
        conditions=(
            part(reading, float(series.values[-1]), cuts["neighbours"], bool(outside[-1])),
            part("in-domain rises", None if inside is None else _change(inside), 0.0, held),
            Condition(reading="another domain", value=None, cut=0.0, holds=None, harm=True),
        ),
        onset=crossing(series.steps, outside),
        outside=tuple(int(step) for step in series.steps[outside]) if outside[-1] else (),
        before=bool(outside.any()),
        evidence=(reading,),
        n=int(series.n[-1]) if series.n[-1] > 0 else None,
    )


def _gained(evidence: Evidence) -> tuple[float, float, float] | None:
    """Return what the batches' reciprocal rank gained since its first readings, the error of that, and what it is."""
    series = evidence.series(RANK, on="batch").finite()
    if len(series) < 6:
        return None
    values = series.values
    first = values[series.steps <= max(3, int(series.steps[0]))]
    last = values[-max(3, min(20, len(values) // 10)) :]
    noise = float(np.std(np.diff(values))) / math.sqrt(2)
    error = noise * math.sqrt(1 / len(first) + 1 / len(last))
    return float(last.mean() - first.mean()), error, float(last.mean())


def epochs(evidence: Evidence) -> float | None:
    """Return how often each training example was seen; None where that is not known."""
    batch, examples = evidence.series(RANK, on="batch"), evidence.config.examples
    if not examples or not len(batch) or batch.n[-1] <= 0:
        return None
    return float(batch.n[-1]) * evidence.run.steps / examples


def _overfitting(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    seen = evidence.config.reference is None or evidence.config.reference.seen
    if seen:
        raise NotApplicable("there are no held-out pairs")
    if evidence.config.examined:
        raise NotApplicable("no training pair was read")
    if (epochs(evidence) or math.inf) < cuts["epochs"]:
        raise NotApplicable("no pair was seen often enough to be learnt by heart")
    inside = _inside(evidence)
    trained = _gained(evidence)
    if inside is None or inside.name == "batch pairs" or inside.metric != "mrr" or trained is None:
        return Judgement(value=None, evidence=(RANK,))
    (gain, error, end), change = trained, _change(inside)
    ahead, sure = gain - change, gain > _Z * error or end > _ALL_FOUND
    harm = [one for curve in evidence.curves for one in curve.conditions() if one.holds is not None]
    elsewhere = [one for one in harm if one.holds]
    fallen = next((curve for curve in evidence.curves if curve.fell), None)
    return Judgement(
        value=ahead,
        bounds=Bounds(warning=cuts["ahead"], critical=cuts["ahead"]),
        conditions=(
            part("pairs/mrr of batches since step 0", gain, _Z * error, sure),
            part(
                "pairs/mrr of batches minus held-out, since step 0",
                ahead,
                cuts["ahead"],
                ahead > cuts["ahead"] or end > _ALL_FOUND,
            ),
            part("pairs/mrr of held-out pairs since step 0", change, cuts["rises"], change < cuts["rises"]),
            part("a fall", float(len(elsewhere)), 1.0, bool(elsewhere)),
            *harm,
        ),
        onset=None if fallen is None else evidence.onset_of(fallen),
        outside=() if fallen is None else fallen.outside,
        evidence=(RANK,),
        n=None if inside.worst is None or inside.worst.interval is None else inside.worst.interval.n,
    )


FORGETTING = (
    Detector(
        code="CP502",
        kind="overfitting",
        title="overfitting",
        reads=("pairs/mrr", "COLLECTION/METRIC"),
        per="run",
        formula="The reciprocal rank of the batches' pairs gained more since step 0 than that of held-out pairs, by "
        "the cut, or is all that it can be; held-out pairs did not rise; they, or another collection, fell; and each "
        "pair was seen three times.",
        thresholds={
            "ahead": Threshold(0.02, f"{MEASURED}: 64 pairs still raised their domain by .04"),
            "epochs": Threshold(3.0, "how often each pair was seen, where that is known (own choice)"),
            "rises": Threshold(0.01, "a smaller rise of held-out pairs counts as none (own choice)"),
        },
        judge=_overfitting,
        why="The training pairs are learnt by heart, and texts that were not trained on are told apart worse.",
        remedies=(
            Remedy(change={"learning_rate": 1e-4, "select": "auto"}, reading="pairs/mrr"),
            Remedy(
                change={
                    "data": "train on more pairs",
                    "optimizer": "take fewer or smaller steps",
                    "model": "choose the checkpoint by held-out pairs",
                }
            ),
        ),
        not_this="held-out pairs that rise more slowly than training pairs",
        confirm=2,
    ),
    Detector(
        code="CP503",
        kind="forgetting",
        title="forgetting: another domain falls",
        reads=("COLLECTION/METRIC", "pairs/mrr", "pairs/neighbour_overlap"),
        per="collection",
        formula="Retrieval on a collection of another domain fell, and in the domain that is trained on it did not; of "
        "a collection whose domain nobody told, it rose, resolved. Where no other domain was scored: the documents "
        "kept less than the cut of their ten nearest neighbours, while the trained domain rises (a warning).",
        thresholds={
            "neighbours": Threshold(
                0.45,
                f"{MEASURED}: with the trained domain rising, SciFact fell in 13 of 15 trainings below .45 and in 0 of "
                "46 above .52",
            )
        },
        judge=_forgetting,
        why="What the encoder knew of other domains is lost while the trained one gains, or holds.",
        remedies=(
            Remedy(change={"learning_rate": 1e-4, "projection": "linear"}, reading="COLLECTION/METRIC"),
            Remedy(
                change={
                    "optimizer": "divide the learning rate by 10",
                    "data": "mix in pairs of other domains",
                    "model": "interpolate the weights back towards the raw encoder",
                },
                reading="COLLECTION/METRIC",
            ),
        ),
        not_this="a collapse, where the trained domain falls as well",
        confirm=2,
    ),
)
