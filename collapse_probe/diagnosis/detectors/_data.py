"""What is wrong with the pairs, or with where they go."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...journal import Series
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Subject, Threshold
from .._evaluations import REFERENCE
from .._evidence import Evidence
from .._separation import BATCH, equal_n
from ._mismatched import MISMATCHED, first_batches
from ._signature import part

NEAR_COPIES = "pairs/near_own"
OWN_AGAIN = "pairs/tied_share of the first batches"
"""What says that own documents stand in the batch again."""


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
    MISMATCHED,
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
