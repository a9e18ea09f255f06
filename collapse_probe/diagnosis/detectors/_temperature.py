"""Whether a softmax learns from all of a batch, or from a few rows and the hardest negative of each."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .._contract import Bounds, Detector, Judgement, NotApplicable, Onset, Remedy, Status, Subject, Threshold
from .._evidence import EMBEDDINGS, Evidence
from ._signature import part

LOUD = "loss over log n, in the first steps"
"""What says that scores are so far apart that a softmax of them is saturated."""

_EARLY, _TEACHING = 10, 20
"""Steps whose losses, and whose gradients, are those of the start."""

_FEWEST, _ROWS = 3, 8
"""Readings, and rows of a batch, below which nothing is said (own choice)."""


def _cold(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    auc, loss = (evidence.series(name, on="batch").finite() for name in ("pairs/auc", "loss/total"))
    sides = [evidence.series(f"{one.name}/teaching", on="batch").finite() for one in evidence.streams if _is_side(one)]
    shares = [one.values[one.steps <= _TEACHING] for one in sides if len(one)]
    shares = [one for one in shares if len(one) >= _FEWEST]
    ends = loss_over_chance(evidence)
    if not shares or ends is None:
        return Judgement(value=None, evidence=("loss/total", "STREAM/teaching"))
    value = ends[0]
    teaching = min(float(np.median(one)) for one in shares)
    told = float(np.median(auc.values[auc.steps <= max(_TEACHING, int(auc.steps[0]))]))
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["log n"]),
        conditions=(
            part(LOUD, value, cuts["log n"], value > cuts["log n"]),
            part("share of the batch that teaches", teaching, cuts["teaching"], teaching < cuts["teaching"]),
            part("pairs/auc", told, cuts["auc"], told > cuts["auc"]),
        ),
        onset=Onset(step=int(loss.steps[0]), low=0, high=int(loss.steps[0])),
        outside=tuple(int(step) for step in loss.steps[loss.steps <= _EARLY]) if value > cuts["log n"] else (),
        before=value > cuts["log n"] and teaching < cuts["teaching"],
        evidence=("loss/total", "STREAM/teaching"),
        n=int(auc.n[0]),
        of_batches=True,
    )


def loss_over_chance(evidence: Evidence) -> tuple[float, float] | None:
    """Return the first and the last losses over log n, a softmax's value by chance; None where unknown."""
    auc, loss = (evidence.series(name, on="batch").finite() for name in ("pairs/auc", "loss/total"))
    first = loss.values[loss.steps <= _EARLY] if len(loss) else loss.values
    if len(first) < _FEWEST or not len(auc) or auc.n[0] < _ROWS:
        return None
    chance = math.log(float(auc.n[0]))
    return float(np.median(first)) / chance, float(np.median(loss.values[-_EARLY:])) / chance


def _is_side(stream: Subject) -> bool:
    return stream.role in EMBEDDINGS and stream.role != "hidden"


TEMPERATURE = (
    Detector(
        code="CP518",
        kind="cold_softmax",
        title="a softmax that is saturated",
        reads=("loss/total", "STREAM/teaching", "pairs/auc"),
        per="run",
        formula="In the first 10 steps the loss is above the cut times log n, a softmax's value by chance, and in the "
        "first 20 steps fewer rows than the cut have a gradient of at least a hundredth of the largest, while the "
        "batch's pairs are told apart.",
        thresholds={
            "log n": Threshold(
                6.0,
                "8 to 92 at a temperature of .001; at .05 to .07 up to 4.7, 5.9 beside a loss of "
                "another kind (measured)",
            ),
            "teaching": Threshold(0.95, ".67 to .78 at a temperature of .001, 1.0 at .05 (measured)"),
            "auc": Threshold(0.6, "as of mismatched pairs: what tells nothing apart has another fault"),
        },
        judge=_cold,
        why="A row's gradient is of its hardest negative alone, or there is none: at a temperature of .001 a training "
        "with a queue ended at a held-out MRR of .38 in the place of .65 (measured).",
        remedies=(
            Remedy(change={"temperature": 0.05}),
            Remedy(change={"loss": "raise the temperature to about .05: of vectors of unit length, scores times 20"}),
        ),
        not_this="a margin that most triplets meet, whose loss is small; a temperature that is too high, at chance",
        gravest=Status.WARNING,
        confirm=3,
    ),
)
