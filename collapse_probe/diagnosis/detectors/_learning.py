"""Whether anything is learnt at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...journal import Series
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Subject, Threshold
from .._evidence import Evidence
from .._onset import crossing
from .._separation import BATCH, FEWEST_PAIRS
from ._mismatched import PULLED
from ._signature import part

STARTED = "pairs/d_prime at the start"
"""What says that pairs are at chance from the first step to the last."""

CANDIDATES = "number of candidates in a batch"
"""Documents among which a query's own one is told apart."""

DETACHED = "backwards through queries and documents"
LEFT_OUT = "modules with a gradient that no optimiser holds"

_FEWEST = 3
_LONG = 50
"""Steps before which a run from random weights may still be at chance (own choice)."""

_EARLY, _FEWEST_ROWS = 10, 8
"""Losses, and documents of a batch, below which a loss near log n says little (own choice)."""

MOSTLY, _MANY = 0.8, 20
"""Share of steps without a gradient, of the first fifth and of all, from which on nothing is learnt (own choice)."""

_HALF = 0.5
"""The same where the trained domain did not rise: .61 in a margin that most triplets meet from the start (measured)."""

_STILL = 0.02
"""Relative change of a reading below which it did not move (own choice): .012 under a rate that never warmed up."""

_MEASURES = ("norm_median", "norm_mean", "common_share", "spread", "std_mean")


def _judge(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    gradient = evidence.series("gradient/norm").finite()
    if not len(gradient):
        gradient = evidence.series("loss/gradient_norm").finite()
    updates, drifts = evidence.groups("update"), evidence.groups("drift")
    nothing = _nothing(gradient, updates, drifts, mostly=_HALF if _levels(evidence) else MOSTLY)
    if nothing is not None:
        alone = [part(CANDIDATES, 1.0, 1.0, True)] if _candidates(evidence) == 1 else []
        return replace(nothing, conditions=(*nothing.conditions, *alone))
    at_chance = _at_chance(evidence, cuts["chance"])
    if at_chance is not None:
        return at_chance
    found = _detached(evidence) or _left_out(evidence) or _untouched(evidence, drifts) or _too_warm(evidence, cuts)
    if found is not None:
        return found
    if not updates:
        value = None if len(gradient) < _FEWEST else float(np.median(gradient.values))
        return Judgement(value=value, evidence=(gradient.reading,))
    return _small(evidence, updates, drifts, cuts)


def _candidates(evidence: Evidence) -> int:
    """Return the most documents of a batch, or embeddings where no stream is a document; 0 where unknown."""
    streams = {role: [one.name for one in evidence.streams if one.role == role] for role in ("document", "embedding")}
    names = streams["document"] or streams["embedding"]
    read = [evidence.series(f"{name}/{measure}", on="batch") for name in names for measure in _MEASURES]
    return max((int(one.n.max()) for one in read if len(one)), default=0)


def _levels(evidence: Evidence) -> bool:
    """Return whether a run that has ended did not rise in the domain that it is trained on, as far as was read."""
    inside = [one for one in evidence.curves if one.inside and one.fell is not None]
    return evidence.ended and bool(inside) and not any(one.rose or one.learnt for one in inside)


def _nothing(gradient: Series, updates: list[Series], drifts: list[Series], *, mostly: float) -> Judgement | None:
    """Return that no gradient came, no update was made, or no weight moved; None where something did."""
    kinds = [[gradient]] if len(gradient) >= _FEWEST else []
    kinds += [some for some in (updates, drifts) if some and min(map(len, some)) >= _FEWEST]
    for some in kinds:
        # A few gradients that are not 0 teach nothing either, unless they are the first: then it was learnt.
        shares = [min(float((part == 0).mean()) for part in _parts(one.values)) for one in some]
        if min(shares) == 1.0 or (some[0] is gradient and min(shares) > mostly and len(gradient) >= _MANY):
            steps = some[0].steps
            return Judgement(
                value=0.0,
                bounds=Bounds(warning=0.0, critical=0.0, above=False),
                conditions=tuple(part(one.reading, 0.0, 0.0, True) for one in some),
                onset=Onset(step=int(steps[0]), low=0, high=int(steps[0])),
                outside=tuple(int(step) for step in steps),
                before=True,
                evidence=tuple(one.reading for one in some),
            )
    return None


def _parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first fifth of some values, and all."""
    return values[: max(1, len(values) // 5)], values


def _detached(evidence: Evidence) -> Judgement | None:
    """Return that no backward came through a query or a document, and nothing that is scored changed by a bit."""
    drift = evidence.unscored_drift
    if drift is None or evidence.trained_through:
        return None
    return Judgement(
        value=0.0,
        bounds=Bounds(warning=0.0, critical=0.0, above=False),
        conditions=(part(DETACHED, 0.0, 0.0, True),),
        onset=Onset(step=1, low=0, high=1),
        outside=(1, 2, 3),
        before=True,
        evidence=("pairs/d_prime",),
    )


def _left_out(evidence: Evidence) -> Judgement | None:
    """Return that modules have gradients and no optimiser, while separation or retrieval did not rise."""
    count = float(len(evidence.left_out))
    if not count:
        return None
    return Judgement(
        value=count,
        bounds=Bounds(warning=0.0, critical=0.0),
        conditions=(part(LEFT_OUT, count, 0.0, True), *evidence.harm),
        onset=Onset(step=1, low=0, high=1),
        outside=(min(evidence.left_out.values()),),
        before=True,
        evidence=tuple(evidence.left_out),
    )


def _untouched(evidence: Evidence, drifts: list[Series]) -> Judgement | None:
    """Return that a group kept every bit, and every score too, whatever else moved, such as a temperature."""
    still = [one for one in drifts if len(one) >= _FEWEST and not one.values.any()]
    scored = [curve for curve in evidence.curves if len(curve.values) > 1 and curve.name != BATCH]
    if not still or not scored or any(len(set(curve.values)) > 1 for curve in scored):
        return None
    if any(np.ptp(one.values) for one in _of_reference(evidence)):
        return None  # scores that are as high as they can be stay the same while what is scored moves
    return Judgement(
        value=0.0,
        bounds=Bounds(warning=0.0, critical=0.0, above=False),
        conditions=tuple(part(one.reading, 0.0, 0.0, True) for one in still),
        onset=Onset(step=1, low=0, high=1),
        outside=tuple(int(step) for step in still[0].steps),
        before=True,
        evidence=tuple(one.reading for one in still),
    )


def _of_reference(evidence: Evidence) -> list[Series]:
    names = [f"{one.name}/{measure}" for one in evidence.streams for measure in _MEASURES]
    return [one for name in names if len(one := evidence.series(name, on="reference").finite()) > 1]


def _too_warm(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that a loss is at its value by chance while pairs are told apart, in a run too young to show more."""
    loss, auc = (evidence.series(name, on="batch").finite() for name in ("loss/total", "pairs/auc"))
    if not _EARLY <= len(loss) <= _LONG or not len(auc) or auc.n[-1] < _FEWEST_ROWS:
        return None
    shares, told = loss.values / np.log(float(auc.n[-1])), float(np.median(auc.values))
    if shares.min() < cuts["log n"] or shares.max() > 2 - cuts["log n"] or told < cuts["auc"]:
        return None
    if any(one.inside and one.rose for one in evidence.curves):
        return None
    value = float(np.median(shares))
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["log n"]),
        onset=Onset(step=int(loss.steps[0]), low=0, high=int(loss.steps[0])),
        outside=tuple(int(step) for step in loss.steps),
        before=True,
        evidence=("loss over log n",),
    )


def _at_chance(evidence: Evidence, cut: float) -> Judgement | None:
    """Return that a run that has ended tells pairs apart no better than by chance, as it did at its start."""
    series = evidence.series("pairs/d_prime", on="reference").finite()
    solved = any(one.harm and one.holds for one in evidence.harm)
    if not evidence.ended or solved or evidence.run.steps < _LONG or len(series) < 2 or series.n[-1] < FEWEST_PAIRS:
        return None
    if float(series.values.max()) >= cut or evidence.reference_still:
        return None
    pull = evidence.series("pairs/pull", on="batch").finite().values
    if evidence.loss_is_met and len(pull) and float(pull.mean()) > PULLED:
        raise NotApplicable("the loss is met, and is about other pairs than those that are read")
    start, end = float(series.values[0]), float(series.values[-1])
    return Judgement(
        value=end,
        bounds=Bounds(warning=cut, critical=cut, above=False),
        conditions=(part("pairs/d_prime", end, cut, True), part(STARTED, start, cut, True)),
        onset=Onset(step=0, low=0, high=0),
        outside=tuple(int(step) for step in series.steps),
        before=True,
        evidence=("pairs/d_prime",),
        n=int(series.n[-1]),
    )


def _small(evidence: Evidence, updates: list[Series], drifts: list[Series], cuts: Mapping[str, float]) -> Judgement:
    sizes = [float(np.median(one.values)) for one in updates]
    value = max(sizes)
    largest = updates[sizes.index(value)]
    drift = next((one for one in drifts if one.reading.partition("/")[2] == largest.reading.partition("/")[2]), None)
    total = value * max(int(largest.steps[-1]), 1)
    along = None if drift is None or not total else float(drift.values[-1]) / total
    moved = _moved(evidence)
    parts = [part(largest.reading, value, cuts["warning"], value < cuts["warning"])]
    if drift is not None:
        parts.append(part(drift.reading, along, cuts["direction"], along is not None and along > cuts["direction"]))
    parts.append(part("largest relative change of a reading", moved, _STILL, moved is None or moved < _STILL))
    if any(one.inside and one.rose for one in evidence.curves):
        raise NotApplicable("the trained domain rises")
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["warning"], critical=cuts["warning"], above=False),
        conditions=(*parts, _against_raw(evidence)),
        outside=tuple(int(step) for step in largest.steps) if value < cuts["warning"] else (),
        evidence=tuple(one.reading for one in (*updates, *drifts)),
    )


def _moved(evidence: Evidence) -> float | None:
    found = [evidence.track(one.name, measure) for one in evidence.streams for measure in _MEASURES]
    pairs = [(float(one.series.values[0]), float(one.series.values[-1])) for one in found if one is not None]
    return max((abs(end - start) / max(abs(start), 1e-12) for start, end in pairs), default=None)


def _against_raw(evidence: Evidence) -> Condition:
    """Return whether step 0 was no better than the raw encoder: a converged start needs no updates."""
    found = evidence.evaluations
    for curve in evidence.curves:
        variant = curve.variant or found.judged(curve.collection)
        raw, scored = found.raw(curve.collection), found.of(curve.collection, variant)
        change = None
        if raw is not None and scored:
            change = found.change(raw, scored[0], curve.metric)
        if change is not None:
            above = change[1].low > 0
            value = change[0] if above else min(change[0], 0.0)
            reading = f"{curve.name}/{curve.metric} at step 0 minus raw"
            return Condition(reading=reading, value=value, cut=0.0, holds=not above, harm=True, interval=change[1])
    return Condition(reading="step 0 minus raw", value=None, cut=0.0, holds=None, harm=True)


def _underflow(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    zeros = [one for one in evidence.groups("zeros") if float(np.median(one.values)) > 0]
    lost = [*evidence.groups("lost"), *zeros]
    if not lost:
        raise NotApplicable("nothing is trained in half precision")
    shares = {one.reading: float(np.median(one.values)) for one in lost}
    worst = next(one for one in lost if shares[one.reading] == max(shares.values()))
    value = shares[worst.reading]
    sure = value > cuts["critical"]
    outside = worst.values > cuts["warning"]
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"]),
        conditions=(
            part(worst.reading, value, cuts["critical" if sure else "warning"], value > cuts["warning"]),
            *(() if sure else evidence.harm),
        ),
        onset=crossing(worst.steps, outside) if value > cuts["warning"] else None,
        outside=tuple(int(step) for step in worst.steps[outside]) if value > cuts["warning"] else (),
        evidence=tuple(shares),
    )


LEARNING = (
    Detector(
        code="CP504",
        kind="underflow",
        title="updates that half precision loses",
        reads=("lost/GROUP", "zeros/GROUP"),
        per="run",
        formula="The median share of weights that a gradient reached and a step did not change, of the worst group in "
        "half precision, is above the cut; or of gradient entries that are exactly 0, where all of a group's are "
        "numbers of float16.",
        thresholds={
            "warning": Threshold(0.5, "half of the weights do not learn from half of the steps (own choice)"),
            "critical": Threshold(0.8, "with .95 lost, a head gained +.01 in its domain instead of +.05 (measured)"),
        },
        judge=_underflow,
        why="An update below half a unit in the last place leaves a weight as it is, and a gradient below 6e-8 is 0 in "
        "float16, so most of the learning is lost.",
        remedies=(
            Remedy(
                change={"optimizer": "keep weights in float32, and compute in half precision under autocast"},
                reading="lost/GROUP",
            ),
            Remedy(
                change={"optimizer": "scale the loss under float16 (torch.amp.GradScaler), or use bfloat16"},
                reading="zeros/GROUP",
            ),
        ),
        not_this="weights whose gradient is exactly 0, which are not counted",
        confirm=3,
    ),
    Detector(
        code="CP501",
        kind="no_learning",
        title="nothing is learnt",
        reads=("gradient/norm", "update/GROUP", "drift/GROUP"),
        per="run",
        formula="Every gradient norm, every update or every drift is exactly 0; or the largest group's median relative "
        "update is below the cut, drift shows that updates go one way, no reading moved, and step 0 is not above the "
        "raw encoder; or d' of the reference pairs is at chance from the start to the end of a run of 50 steps; or no "
        "backward came through a query or document, and nothing scored changed; or in the first 50 steps the loss "
        "stays at log n, a softmax's value by chance, while the batch's pairs are told apart and nothing rises; or a "
        "gradient reaches parameters that no optimiser holds and nobody changes, and retrieval did not rise.",
        thresholds={
            "warning": Threshold(
                1e-5,
                "a head over frozen MiniLM vectors that learnt nothing drifted 7e-5 in a whole run",
            ),
            "chance": Threshold(0.35, "d' of two random towers on 512 pairs is below .32 (measured)"),
            "log n": Threshold(0.98, "temperature 10: .98 to 1.00; 1: .89 (measured)"),
            "auc": Threshold(0.9, "pairs that a softmax at a working temperature would tell apart (own choice)"),
            "direction": Threshold(0.2, "drift over the sum of updates: below, steps are noise around a minimum"),
        },
        judge=_judge,
        why="No weight moves, so nothing that was measured can change.",
        remedies=(
            Remedy(change={"learning_rate": 1e-3}, reading="update/GROUP"),
            Remedy(
                change={"data": "put more than one pair into a batch: a softmax over one candidate is 0 for any model"},
                reading="gradient/norm",
                part=CANDIDATES,
            ),
            Remedy(
                change={
                    "data": "look at ten pairs: a shifted row, a wrong column, a shuffled side",
                    "model": "encode two texts: does what comes out depend on them, or on padding alone?",
                },
                reading="pairs/auc",
                part=STARTED,
            ),
            Remedy(
                change={
                    "optimizer": "give the optimiser the parameters that are to be trained, and a rate above 0",
                    "model": "look for a detached output, a frozen module, two factors that are both zero",
                },
                reading="update/GROUP",
            ),
        ),
        not_this="a converged start (step 0 above the raw encoder), warm-up",
        confirm=3,
    ),
)
