"""What was seen in the first steps, holds for every step, and needs no statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...journal import Event
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Status, Subject, Threshold
from .._evidence import Evidence

SOFTMAX_TWICE = "softmax_twice"
ONE_TEXT = "one_text"
"""Events, and kinds."""


def seen(name: str) -> Callable[[Subject, Evidence, Mapping[str, float]], Judgement]:
    """Return what judges by an event alone: its message is what was seen."""

    def judge(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
        said = next((one for one in evidence.run.of(Event) if one.name == name), None)
        if said is None:
            raise NotApplicable("nothing of it was seen in the first steps")
        if name == ONE_TEXT and evidence.loss_is_met:
            raise NotApplicable("the loss is met all the same: one text on a side may be meant")
        step = int(said.step or 1)
        return Judgement(
            value=1.0,
            bounds=Bounds(warning=cuts["seen"]),
            conditions=(Condition(reading=said.message, value=None, cut=cuts["seen"], holds=True),),
            onset=Onset(step=1, low=0, high=1),
            outside=(step,),
            before=True,
            evidence=(name,),
        )

    return judge


_SEEN = {"seen": Threshold(0.5, "seen or not: no size is compared")}

FACTS = (
    Detector(
        code="CP525",
        kind=SOFTMAX_TWICE,
        title="the loss takes a softmax of a softmax",
        reads=(SOFTMAX_TWICE,),
        per="run",
        formula="In the graph behind the loss of one of the first steps a logarithm of a softmax is taken of what is a "
        "softmax itself, but for scales and shapes in between.",
        thresholds=_SEEN,
        judge=seen(SOFTMAX_TWICE),
        why="Probabilities lie between 0 and 1, so that the second softmax can hardly tell them apart: gradients "
        "are faint, and the loss cannot fall below about log n - 1.",
        remedies=(Remedy(change={"loss": "give cross_entropy the scores themselves, before any softmax"}),),
        not_this="attention, whose softmax is followed by a product",
        gravest=Status.WARNING,
        confirm=1,
    ),
    Detector(
        code="CP526",
        kind=ONE_TEXT,
        title="all texts of a side are one",
        reads=(ONE_TEXT,),
        per="run",
        formula="In two of the first steps all texts of one batch of a side have the same token ids, and both batches "
        "the same.",
        thresholds=_SEEN,
        judge=seen(ONE_TEXT),
        why="What is the same for all texts says nothing of any: their vectors can be nothing but one.",
        remedies=(
            Remedy(
                change={
                    "data": "decode the token ids of one batch: does a prompt fill the maximum length, or a template?"
                }
            ),
        ),
        not_this="one query for a batch of documents, which is another in the next step",
        gravest=Status.CRITICAL,
        confirm=1,
    ),
)
