"""What is wrong with the pairs, or with where they go."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ...journal import Series
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Subject, Threshold
from .._evaluations import REFERENCE
from .._evidence import Evidence
from .._separation import BATCH, equal_n
from ._signature import MEASURED, part

NEAR_COPIES = "pairs/near_own"
OWN_AGAIN = "pairs/tied_share of the first batches"
"""What says that own documents stand in the batch again."""

_MANY, _LAST, _FAR = 100, 5, 0.01
"""Steps, last readings and way of the weights from which on an encoder that knew nothing has learnt (own choice)."""

_FIRST = 3
"""Steps whose batches are those of the start: later ones are told apart as they were trained to be."""


def _mismatched(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if evidence.config.examined:
        raise NotApplicable("no batch of a training was read")
    reading = "pairs/auc"
    batch = evidence.series(reading, on="batch").finite()
    first = first_batches(batch)
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


def first_batches(batch: Series) -> Series:
    """Return the readings of the batches that training has not yet told apart."""
    return batch.where(batch.steps <= max(_FIRST, int(batch.steps[0]))) if len(batch) else batch


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
        return part(
            f"{best.name}/{best.metric} at {evidence.config.start}", value, cuts["scored"], value >= cuts["scored"]
        )
    reference = evidence.series("pairs/auc", on="reference").finite()
    if not len(reference) or int(reference.steps[0]) > 0:
        return None
    value = float(reference.values[0])
    return part(f"pairs/auc of held-out pairs at {evidence.config.start}", value, cuts["known"], value >= cuts["known"])


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


def _solved_collection(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that a collection's scores are all but perfect at every evaluation, from step 0 on; None where none is."""
    for curve in evidence.curves:
        rows = max((one.interval.n for one in curve.changes if one.interval is not None), default=0)
        many = len(curve.values) > 1 and rows >= cuts["pairs"]
        if (
            curve.name in (REFERENCE, BATCH)
            or not many
            or int(curve.steps[0]) > 0
            or min(curve.values) < cuts["solved"]
        ):
            continue
        reading = f"{curve.name}/{curve.metric}"
        return Judgement(
            value=min(curve.values),
            bounds=Bounds(warning=cuts["solved"]),
            conditions=(
                part(f"{reading} at every evaluation", min(curve.values), cuts["solved"], True),
                part(f"queries of {curve.name}", float(rows), cuts["pairs"], True),
                Condition(reading="a fall elsewhere", value=None, cut=0.0, holds=None, harm=True),
            ),
            onset=Onset(step=0, low=0, high=0),
            outside=tuple(curve.steps),
            before=True,
            evidence=(reading,),
            n=rows,
        )
    return None


def _solved(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    collection = _solved_collection(evidence, cuts)
    if collection is not None:
        return collection
    reading = "pairs/mrr"
    if evidence.config.reference is None or evidence.config.reference.seen:
        raise NotApplicable("no reference pairs beside those that are trained on")
    reference, raw = (evidence.series(reading, on=on).finite() for on in ("reference", "raw"))
    reference = equal_n(reference)
    if not len(reference) or int(reference.steps[0]) > 0:
        return Judgement(value=None, evidence=(reading,))
    by_raw = not len(raw) or float(raw.values[0]) >= cuts["solved"]
    at_start = by_raw and float(reference.values[0]) >= cuts["solved"]
    at, when = (0, f"at {evidence.config.start}") if at_start else (-1, "at the end")
    value, rows, step = float(reference.values[at]), int(reference.n[at]), int(reference.steps[at])
    solved = value >= cuts["solved"] and rows >= cuts["pairs"]
    # What is learnt of a leak costs other collections; of what these pairs lose, geometry speaks.
    elsewhere = any(curve.fell for curve in evidence.curves if curve.name not in (REFERENCE, BATCH))
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["solved"]),
        conditions=(
            part(f"{reading} of the reference pairs {when}", value, cuts["solved"], value >= cuts["solved"]),
            part("reference pairs", float(rows), cuts["pairs"], rows >= cuts["pairs"]),
            Condition(reading="a fall elsewhere", value=None, cut=0.0, holds=elsewhere or None, harm=True),
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
    if evidence.config.examined:
        raise NotApplicable("no batch of a training was read")
    equal = _own_as_negatives(evidence, cuts)
    if equal is not None:
        return equal
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


def _own_as_negatives(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement | None:
    """Return that own pairs are driven apart where own documents stand in the batch again, as others'; None else.

    Equal documents hardly harm a softmax by themselves, and not at all under a mask.
    """
    tied = evidence.series("pairs/tied_share", on="batch").finite()
    first = first_batches(tied)
    if not len(first) or not evidence.driven_apart:
        return None
    value = float(np.median(first.values))
    if value <= cuts["equal"]:
        return None
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["equal"], critical=cuts["equal"]),
        conditions=(
            part(OWN_AGAIN, value, cuts["equal"], True),
            Condition(reading="pairs/pull: own pairs are driven apart", value=None, cut=0.0, holds=True, harm=True),
        ),
        onset=Onset(step=1, low=0, high=1),
        outside=tuple(int(step) for step in tied.steps),
        before=True,
        evidence=("pairs/tied_share", "pairs/pull"),
        n=int(tied.n[-1]) if tied.n[-1] > 0 else None,
        of_batches=True,
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
        reads=(NEAR_COPIES, "pairs/tied_share", "pairs/pull"),
        per="run",
        formula="In the first batch a query has more near-copies of its own document than the cut (the mean over "
        "queries; equal documents do not count), and separation or retrieval falls. Or most of the batch's first "
        "places are tied, by equal documents, and the loss moves own pairs apart from the first step to the last.",
        thresholds={
            "copies": Threshold(0.5, "1.5 with four noisy chunks of the answer as negatives, MedQuAD .001 (measured)"),
            "equal": Threshold(
                0.5,
                "1.0 with eight wordings of a question in a batch: pull +.9 to +.5 without a mask, -.2 under one "
                "(measured); MedQuAD .03",
            ),
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
        not_this="equal documents, or few distinct ones, under a mask, or where own pairs still come closer",
    ),
    Detector(
        code="CP516",
        kind="too_good",
        title="pairs that are solved before the first step",
        reads=("pairs/mrr", "pairs/own_equal"),
        per="run",
        formula="The own document of every reference pair is the first: at step 0, and by the raw encoder where it was "
        "read, or of held-out pairs at the end; or a collection's scores are that good at every evaluation. Before "
        "training: queries are their own documents, by a cosine above .999, in half of the pairs.",
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
)
