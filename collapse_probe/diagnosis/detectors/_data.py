"""What is wrong with the pairs, or with where they go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...journal import Event, Series
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Subject, Threshold
from .._evaluations import REFERENCE
from .._evidence import Evidence
from .._separation import BATCH, equal_n
from ._signature import MEASURED, part

NEAR_COPIES = "pairs/near_own"

BATCH_MEANS = "common share of scored pairs under batch norm"
"""What a judgement by the means of batches rests on."""

_CENTRED = 1e-10
"""Common share that is nothing but rounding (own choice)."""

_MOVED = 0.01
"""Relative change of a reading from which on a side moves (own choice)."""

_MANY, _LAST, _FAR = 100, 5, 0.01
"""Steps, last readings and way of the weights from which on an encoder that knew nothing has learnt (own choice)."""

_FIRST = 3
"""Steps whose batches are those of the start: later ones are told apart as they were trained to be."""


def _mismatched(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    reading = "pairs/auc"
    batch = evidence.series(reading, on="batch").finite()
    first = batch.where(batch.steps <= max(_FIRST, int(batch.steps[0]))) if len(batch) else batch
    parted = _parted(evidence, batch, cuts)
    if parted is not None:
        return parted
    known = _known(evidence, cuts) or _never_told(evidence, cuts)
    if not len(first) or known is None:
        return Judgement(value=None, evidence=(reading,))
    if not known.holds:
        raise NotApplicable("step 0 does not tell other pairs apart either")
    value = float(first.values.mean())
    # A mean over n queries of ranks that are uniform by chance, of which every row is one.
    rows = int(np.maximum(first.n, 1).sum())
    error = 3 * math.sqrt(1 / 12 / rows)
    # Later batches than the first are told apart as they were trained to be.
    at_chance = value + error < cuts["critical"] and float(first.values[0]) < cuts["warning"]
    # A collection says that the encoder is good, not that these pairs are easy.
    partly = not evidence.seen and value + error < cuts["warning"]
    cut = cuts["critical" if at_chance or evidence.seen else "warning"]
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"], above=False),
        conditions=(
            part(f"{reading} of the first batches", value, cut, at_chance or partly),
            known,
            *(() if at_chance else evidence.harm),
        ),
        onset=Onset(step=1, low=0, high=1),
        outside=tuple(int(step) for step in first.steps),
        before=True,
        evidence=(reading,),
        n=rows,
        of_batches=True,
    )


def _parted(evidence: Evidence, batch: Series, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that the batches' pairs came to chance while the reference pairs held; None where they did not."""
    reading = "pairs/auc"
    reference = evidence.series(reading, on="reference").finite()
    if len(batch) < 3 * _LAST or len(reference) < 2 or evidence.reference_still:
        return None
    start, end = (float(np.median(part)) for part in (batch.values[:_LAST], batch.values[-_LAST:]))
    held = float(reference.values[-1])
    if start < cuts["warning"] or end >= cuts["critical"] or held < cuts["warning"]:
        return None
    inside = batch.values >= (start + end) / 2
    last = int(np.flatnonzero(inside)[-1])
    onset = Onset(step=int(batch.steps[last + 1]), low=int(batch.steps[last]), high=int(batch.steps[last + 1]))
    return Judgement(
        value=end,
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"], above=False),
        conditions=(
            part(f"{reading} of the last batches", end, cuts["critical"], True),
            part(f"{reading} of the reference pairs at the end", held, cuts["warning"], True),
        ),
        onset=onset,
        outside=tuple(int(step) for step in batch.steps[batch.steps >= onset.step]),
        before=True,
        evidence=(reading,),
        n=int(batch.n[-_LAST:].sum()),
        of_batches=True,
    )


def _known(evidence: Evidence, cuts: Mapping[str, float]) -> Condition | None:
    """Return whether the model of step 0 tells other pairs apart; None where nothing says.

    By held-out pairs; where the reference pairs are training pairs themselves, by what was scored of a collection.
    """
    if evidence.seen:
        found = [one for one in evidence.curves if one.inside is not True and one.name not in (REFERENCE, BATCH)]
        started = [one for one in found if one.steps and one.steps[0] == 0]
        if not started:
            return None
        best = max(started, key=lambda one: one.values[0])
        value = float(best.values[0])
        return part(f"{best.name}/{best.metric} at step 0", value, cuts["scored"], value >= cuts["scored"])
    reference = evidence.series("pairs/auc", on="reference").finite()
    if not len(reference) or int(reference.steps[0]) > 0:
        return None
    value = float(reference.values[0])
    return part("pairs/auc of held-out pairs at step 0", value, cuts["known"], value >= cuts["known"])


def _never_told(evidence: Evidence, cuts: Mapping[str, float]) -> Condition | None:
    """Return whether the batches' pairs are still at chance after many steps that moved weights; None where not.

    An encoder that knows nothing learns to tell true pairs apart; one whose pairs are wrong has nothing to learn.
    """
    batch = evidence.series("pairs/auc", on="batch").finite()
    moved = max((float(one.values[-1]) for one in evidence.groups("drift")), default=0.0)
    if evidence.run.steps < _MANY or len(batch) < 2 * _LAST or moved < _FAR:
        return None
    value = float(np.median(batch.values[-_LAST:]))
    return part("pairs/auc of the last batches", value, cuts["critical"], True) if value < cuts["critical"] else None


def _solved(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    reading = "pairs/mrr"
    if evidence.config.reference is None or evidence.config.reference.seen:
        raise NotApplicable("no reference pairs beside those that are trained on")
    reference, raw = (evidence.series(reading, on=on).finite() for on in ("reference", "raw"))
    reference = equal_n(reference)
    if not len(reference) or int(reference.steps[0]) > 0:
        return Judgement(value=None, evidence=(reading,))
    by_raw = not len(raw) or float(raw.values[0]) >= cuts["solved"]
    at_start = by_raw and float(reference.values[0]) >= cuts["solved"]
    at, when = (0, "at step 0") if at_start else (-1, "at the end")
    value, rows, step = float(reference.values[at]), int(reference.n[at]), int(reference.steps[at])
    solved = value >= cuts["solved"] and rows >= cuts["pairs"]
    fell = any(curve.fell for curve in evidence.curves)
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["solved"]),
        conditions=(
            part(f"{reading} of the reference pairs {when}", value, cuts["solved"], value >= cuts["solved"]),
            part("reference pairs", float(rows), cuts["pairs"], rows >= cuts["pairs"]),
            Condition(reading="a fall", value=None, cut=0.0, holds=fell or None, harm=True),
        ),
        onset=Onset(step=step, low=0, high=step) if solved else None,
        outside=(step,) if solved else (),
        before=solved,
        evidence=(reading,),
        n=rows,
    )


def first_copies(evidence: Evidence) -> Series:
    """Return how many near-copies there were before the first update: later ones may be what became of the vectors."""
    batch = evidence.series(NEAR_COPIES, on="batch").finite()
    return batch.where(batch.steps <= 1)


def _copies(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    first = first_copies(evidence)
    if not len(first):
        return Judgement(value=None, evidence=(NEAR_COPIES,))
    value = float(np.median(first.values))
    many = value > cuts["copies"]
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["copies"]),
        conditions=(part(NEAR_COPIES, value, cuts["copies"], many), *evidence.harm),
        onset=Onset(step=1, low=0, high=1) if many else None,
        outside=tuple(int(step) for step in first.steps) if many else (),
        before=many,
        evidence=(NEAR_COPIES,),
        n=int(first.n[-1]) if first.n[-1] > 0 else None,
        of_batches=True,
    )


def _path(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    apart = _apart(evidence, cuts) or _side_left(evidence) or _normalised(evidence, cuts)
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
    lag = evidence.lag
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
    first = batch.where(batch.steps <= max(_FIRST, int(batch.steps[0]))) if len(batch) else batch
    if not len(reference) or not len(first) or int(reference.steps[0]) > 0:
        return None
    scored, trained = float(reference.values[0]), float(first.values.mean())
    if trained - scored < cuts["gap"]:
        return None
    at_chance = Condition(reading="at chance when scored", value=scored, cut=cuts["chance"], holds=None, harm=True)
    return Judgement(
        value=trained - scored,
        bounds=Bounds(warning=cuts["gap"], critical=cuts["gap"]),
        conditions=(
            part(f"{reading} of the first batches minus that of reference pairs", trained - scored, cuts["gap"], True),
            replace(at_chance, holds=scored < cuts["chance"] or None),
        ),
        onset=Onset(step=0, low=0, high=0),
        outside=tuple(int(step) for step in reference.steps),
        before=True,
        evidence=(reading,),
        n=int(reference.n[0]),
    )


def _side_left(evidence: Evidence) -> Judgement | None:
    """Return that the scored vectors of one side never change by a bit while that side is trained; None else.

    A side that is frozen by design has no gradient.
    """
    for stream in evidence.streams:
        forces = evidence.series(f"{stream.name}/radial", on="batch").finite().values
        if stream.role not in ("query", "document") or not forces.any():
            continue
        scored, trained = (_shape(evidence, stream.name, on) for on in ("reference", "batch"))
        if not scored or not trained or any(np.ptp(one.values) for one in scored):
            continue
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


def _shape(evidence: Evidence, stream: str, on: str) -> list[Series]:
    names = ("norm_median", "common_share", "participation_ratio_corrected")
    found = [evidence.series(f"{stream}/{name}", on=on).finite() for name in names]
    return [one for one in found if len(one) > 1]


def _normalised(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that both sides of the scored pairs began with a mean of nothing in a model that normalises over batches.

    In evaluation mode running statistics leave a mean; to the last bit only the batch's own take it off, until a bias
    is learnt.
    """
    if not any(one.name == "batch_norm" for one in evidence.run.of(Event)):
        return None
    sides = [one.name for one in evidence.streams if one.role in ("query", "document")]
    shares = [evidence.series(f"{name}/common_share", on="reference").finite() for name in sides]
    if len(shares) < 2 or any(not len(one) or float(one.values[0]) > _CENTRED for one in shares):
        return None
    value = max(float(one.values[0]) for one in shares)
    fell = any(curve.fell for curve in evidence.curves)
    return Judgement(
        value=value,
        bounds=Bounds(warning=_CENTRED, critical=_CENTRED, above=False),
        conditions=(
            part(BATCH_MEANS, value, _CENTRED, True),
            Condition(reading="a fall", value=None, cut=0.0, holds=fell or None, harm=True),
        ),
        onset=Onset(step=0, low=0, high=0),
        outside=tuple(int(step) for step in shares[0].steps),
        before=True,
        evidence=tuple(one.reading for one in shares),
    )


DATA = (
    Detector(
        code="CP513",
        kind="mismatched_pairs",
        title="pairs that do not belong together",
        reads=("pairs/auc",),
        per="run",
        formula="The AUC of the first batches' own pairs is below the cut by three standard errors, while the same "
        "weights tell held-out pairs apart, else a collection, or while batches never get better. Below .6 it is at "
        "chance; from there to .85 about 2 (1 - AUC) of the pairs are wrong, and separation or retrieval has to fall.",
        thresholds={
            "critical": Threshold(0.6, MEASURED),
            "warning": Threshold(0.85, f"{MEASURED}: .69 with half of the pairs wrong, .98 for the hardest quarter"),
            "scored": Threshold(0.1, "of a collection at step 0, where no held-out pairs are known (own choice)"),
            "known": Threshold(0.9, "held-out pairs at step 0: below, the encoder itself may be to blame (own choice)"),
        },
        judge=_mismatched,
        why="Queries are trained towards documents that have nothing to do with them.",
        remedies=(
            Remedy(
                change={"data": "look at ten pairs of a batch: a shifted row, a wrong column, a shuffled side"},
                reading="pairs/auc",
            ),
        ),
        not_this="hard but true pairs, which an encoder tells apart in .98 of cases",
        confirm=1,
    ),
    Detector(
        code="CP514",
        kind="false_negatives",
        title="near-copies of the right document as negatives",
        reads=(NEAR_COPIES,),
        per="run",
        formula="In the first batch a query has more near-copies of its own document than the cut (the mean over "
        "queries; equal documents do not count), and separation or retrieval falls.",
        thresholds={
            "copies": Threshold(0.5, "1.5 with four noisy chunks of the answer as negatives, MedQuAD .001 (measured)")
        },
        judge=_copies,
        why="The loss pushes a query away from what answers it.",
        remedies=(
            Remedy(
                change={
                    "data": "draw batches without near-copies, mine negatives below the own score by a margin, or "
                    "mask near-copies in the loss"
                }
            ),
        ),
        not_this="equal documents, or few distinct ones, which hardly harm a softmax",
    ),
    Detector(
        code="CP516",
        kind="too_good",
        title="pairs that are solved before the first step",
        reads=("pairs/mrr", "pairs/own_equal"),
        per="run",
        formula="The own document of every reference pair is the first: at step 0, and by the raw encoder where it was "
        "read, or of held-out pairs at the end. Before training: queries are their own documents, by a cosine above "
        ".999, in half of the pairs.",
        thresholds={
            "solved": Threshold(
                0.995,
                "documents that hold their queries 1.0 but for equal texts, which tie; pairs as they are .88 to .93, "
                "after training on them .96; an answer's number among the features 1.0 (measured)",
            ),
            "pairs": Threshold(100, "fewer are solved by chance (own choice)"),
            "share": Threshold(0.5, "a pair that is one text teaches nothing (own choice)"),
        },
        judge=_solved,
        why="What cannot rise any more shows no gain, and a query that is found this well may be in its own document.",
        remedies=(Remedy(change={"data": "look at ten pairs: is the query, or one column twice, in the document?"}),),
        not_this="pairs that are easy, such as titles with texts that repeat them; views of one text under dropout",
        confirm=1,
    ),
    Detector(
        code="CP521",
        kind="path_mismatch",
        title="what is trained is not what is scored",
        reads=("pairs/d_prime", "pairs/mrr", "drift/GROUP", "gradient/norm"),
        per="run",
        formula="No reading of the reference pairs changed by a bit, while a gradient arrived and weights moved; or "
        "the first batches tell pairs apart by more than the cut better than the reference pairs are at step 0, "
        "critical where those are at chance; or one side's scored vectors keep every bit while that side is trained; "
        "or both sides have no mean where the model normalises over batches; or separation rises in batches and next "
        "to nothing of that is scored, as of a moving average that hardly moves.",
        thresholds={
            "drift": Threshold(1e-6, "weights that moved further have moved vectors (rounding of float32)"),
            "lag": Threshold(0.1, "moving averages that hardly move .00 to .05, healthy heads .77 and more (measured)"),
            "gap": Threshold(0.2, "AUC .98 against .5 in a failure (measured)"),
            "chance": Threshold(0.6, f"{MEASURED}, as of mismatched pairs"),
        },
        judge=_path,
        why="The module that is trained is not on the path that is scored, so nothing that it learns is used.",
        remedies=(Remedy(change={"model": "score with the module that is trained, or train the one that is scored"}),),
        not_this="a run without gradient, in which nothing is learnt",
        confirm=2,
    ),
)
