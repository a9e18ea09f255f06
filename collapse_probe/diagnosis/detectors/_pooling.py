"""Whether texts' vectors are made of their own tokens."""

from __future__ import annotations

from collections.abc import Mapping

from ...journal import Event
from .._contract import Bounds, Detector, Judgement, NotApplicable, Onset, Remedy, Status, Subject, Threshold
from .._evidence import Evidence
from ._signature import part

EVENT = "padding_pooled"
"""What says how."""


def _pooled(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    share = evidence.series("padding/share").finite()
    if not len(share):
        raise NotApplicable("no vector was seen to be made of tokens some of which are padding")
    value = float(share.values[-1])
    step = int(share.steps[-1])
    found = value > cuts["share"] and evidence.said(EVENT)
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["share"]),
        conditions=(part(f"padding/share, {how(evidence)}", value, cuts["share"], found),) if found else (),
        onset=Onset(step=step, low=0, high=step) if found else None,
        outside=(step,) if found else (),
        before=found,
        evidence=("padding/share",),
    )


def how(evidence: Evidence) -> str:
    """Return how padding comes into the vectors; empty where it does not."""
    return next((one.message for one in evidence.run.of(Event) if one.name == EVENT), "")


POOLING = (
    Detector(
        code="CP523",
        kind="padding_pooled",
        title="vectors are made of padding",
        reads=("padding/share",),
        per="run",
        formula="In one of the first steps texts' vectors point where a mean over all tokens does, padding among them, "
        "or a mean over the padding, or the first or last position, which is padding, and not where the texts' own "
        "tokens do; the mask is the encoder's attention_mask, else what its embedding's padding_idx says.",
        thresholds={"share": Threshold(0.1, "of a vector: less hardly turns it (own choice)")},
        judge=_pooled,
        why="What a text's vector is depends on how far its batch was padded, and the less on the text.",
        remedies=(
            Remedy(
                change={
                    "model": "pool what attention_mask keeps: (tokens * mask).sum(1) / mask.sum(1), or its last token"
                },
                reading="padding/share",
            ),
        ),
        not_this="padding that is the text's last token by design, such as an end of the text",
        gravest=Status.WARNING,
        confirm=1,
    ),
)
