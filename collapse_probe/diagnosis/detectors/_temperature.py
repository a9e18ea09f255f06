"""Whether a softmax learns from all of a batch, or from a few rows and the hardest negative of each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ...journal import Series
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Status, Subject, Threshold
from .._evidence import EMBEDDINGS, Evidence
from ._signature import part

LOUD = "loss over log n, in the first steps"
"""What says that scores are so far apart that a softmax of them is saturated."""

VARIES = "spread of the first losses, times the root of n"
"""What a constant beside a loss makes small, and a mean over few rows that lose makes large."""

_EARLY, _TEACHING = 10, 20
"""Steps whose losses, and whose gradients, are those of the start."""

_FEWEST, _ROWS = 3, 8
"""Readings, and rows of a batch, below which nothing is said (own choice)."""

_SLACK = 0.05
"""Share of a batch that teaches beside those whose own document is not the first, as where two are close."""

_CONTRASTS = ("infonce", "ntxent", "multiplenegatives", "npair", "crossentropy", "inbatch", "simcse", "gistembed")

_DERIVED = ("_weighted", ".first", ".last", ".max", ".mean")
"""Ends of the names of what is derived from a term."""


def _cold(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    auc, mrr = (evidence.series(f"pairs/{name}", on="batch").finite() for name in ("auc", "mrr"))
    sides = [evidence.series(f"{one.name}/teaching", on="batch").finite() for one in evidence.streams if _is_side(one)]
    shares = [one.values[one.steps <= _TEACHING] for one in sides if len(one)]
    shares = [one for one in shares if len(one) >= _FEWEST]
    ends, loss = loss_over_chance(evidence), _of_pairs(evidence)[0]
    if not shares or ends is None or not len(mrr):
        return Judgement(value=None, evidence=("loss/total", "STREAM/teaching"))
    value = ends[0]
    teaching = min(float(np.median(one)) for one in shares)
    told, first = (float(np.median(one.values[one.steps <= max(_TEACHING, int(one.steps[0]))])) for one in (auc, mrr))
    # A saturated row teaches only where another document is before its own: of at most 2 (1 - MRR) of the queries.
    most = min(cuts["teaching"], 2 * (1 - first) + _SLACK)
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["log n"]),
        conditions=(
            part(LOUD, value, cuts["log n"], value > cuts["log n"]),
            part("share of the batch that teaches", teaching, most, teaching < most),
            part("pairs/auc", told, cuts["auc"], told > cuts["auc"]),
            *signs(evidence, cuts),
        ),
        onset=Onset(step=int(loss.steps[0]), low=0, high=int(loss.steps[0])),
        outside=tuple(int(step) for step in loss.steps[loss.steps <= _EARLY]) if value > cuts["log n"] else (),
        before=value > cuts["log n"] and teaching < most,
        evidence=("loss/total", "STREAM/teaching"),
        n=int(auc.n[0]),
        of_batches=True,
    )


def signs(evidence: Evidence, cuts: Mapping[str, float]) -> tuple[Condition, ...]:
    """Return what else says that a loss is a mean of saturated rows: neither a sum, nor beside a constant.

    None of a term that is known to be a softmax of the pairs. Else the descent does not spread the batch, as it does
    where others than the nearest are pushed, and the loss varies as a mean over few rows does.
    """
    loss, known = _of_pairs(evidence)
    if known:
        return ()
    spreads = evidence.series("pairs/push_all", on="batch").finite()
    early = spreads.values[spreads.steps <= max(_TEACHING, int(spreads.steps[0]))] if len(spreads) else None
    push = None if early is None else float(np.median(early))
    varies = _varies(evidence, loss)
    return (
        part("pairs/push_all", push, cuts["spreads"], None if push is None else push < cuts["spreads"]),
        part(VARIES, varies, cuts["varies"], None if varies is None else varies > cuts["varies"]),
    )


def loss_over_chance(evidence: Evidence) -> tuple[float, float] | None:
    """Return the first and the last losses over log n, a softmax's value by chance; None where unknown.

    Of the pairs' own term, where one is known by its name.
    """
    auc, loss = evidence.series("pairs/auc", on="batch").finite(), _of_pairs(evidence)[0]
    first = loss.values[loss.steps <= _EARLY] if len(loss) else loss.values
    if len(first) < _FEWEST or not len(auc) or auc.n[0] < _ROWS:
        return None
    chance = math.log(float(auc.n[0]))
    return float(np.median(first)) / chance, float(np.median(loss.values[-_EARLY:])) / chance


def contrasts(loss: str) -> bool:
    """Return whether a loss is a softmax over the texts of a batch, by its name.

    >>> [contrasts(one) for one in ("MultipleNegativesRankingLoss", "nce", "query_nce", "distance", "SoftmaxLoss")]
    [True, True, True, False, False]
    """
    words = [one.lower() for one in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", loss)]
    return bool({"nce", "mnrl", "mnr"} & set(words)) or any(one in "".join(words) for one in _CONTRASTS)


def _of_pairs(evidence: Evidence) -> tuple[Series, bool]:
    """Return the losses of the term that is a softmax by its name, else all, and whether it is one of the pairs.

    A cross-entropy may be one of tokens. The least of several terms is taken.
    """
    keys = {key[0] for key in evidence.run.keys if key[1] == "batch" and key[0].startswith("loss/")}
    named = sorted(one for one in keys if contrasts(one.removeprefix("loss/")) and not one.endswith(_DERIVED))
    found = [(one, series) for one in named if len(series := evidence.series(one, on="batch").finite()) >= _FEWEST]
    if not found:
        return evidence.series("loss/total", on="batch").finite(), False
    name, series = min(found, key=lambda one: float(np.median(one[1].values)))
    return series, "crossentropy" not in name.lower().replace("_", "")


def _varies(evidence: Evidence, loss: Series) -> float | None:
    """Return how far neighbouring first losses are apart, of their median, as if a batch had one row."""
    auc = evidence.series("pairs/auc", on="batch").finite()
    first = loss.values[loss.steps <= _EARLY] if len(loss) else loss.values
    if len(first) < _FEWEST or not len(auc) or float(np.median(first)) <= 0:
        return None
    apart = float(np.std(np.diff(first))) / math.sqrt(2)
    return apart / float(np.median(first)) * math.sqrt(float(auc.n[0]))


def _is_side(stream: Subject) -> bool:
    return stream.role in EMBEDDINGS and stream.role != "hidden"


TEMPERATURE = (
    Detector(
        code="CP518",
        kind="cold_softmax",
        title="a softmax that is saturated",
        reads=("loss/total", "STREAM/teaching", "pairs/auc", "pairs/mrr", "pairs/push_all"),
        per="run",
        formula="In the first 10 steps the loss is above the cut times log n, a softmax's value by chance, and in the "
        "first 20 steps fewer rows than the cut, and than 2 (1 - MRR), have a gradient of at least a hundredth of the "
        "largest, while the batch's pairs are told apart. Of a loss that no term's name calls a softmax of the pairs: "
        "its descent does not spread the batch, and it varies from step to step as a mean over few rows does.",
        thresholds={
            "log n": Threshold(
                6.0,
                "8 to 92 at a temperature of .001; at .05 to .07 up to 4.7, 5.9 beside a loss of "
                "another kind (measured)",
            ),
            "teaching": Threshold(
                0.95,
                ".25 to .88 at a temperature of .001; at .05 .25 to .75 of easy pairs, whose loss is small, and .81 to "
                "1 of hard ones (measured): so it says nothing alone",
            ),
            "spreads": Threshold(
                0.0,
                "pairs/push_all: -.06 to -.01 at a temperature of .001, +.00 to +.03 of sums of triplets with random "
                "negatives (measured); a sum over hardest negatives cannot be told",
            ),
            "varies": Threshold(
                0.5, ".65 to 2.4 at a temperature of .001, .04 to .41 at .01 to .05 beside a constant (measured)"
            ),
            "auc": Threshold(0.6, "as of mismatched pairs: what tells nothing apart has another fault"),
        },
        judge=_cold,
        why="A row's gradient is of its hardest negative alone, or there is none: at a temperature of .001 a training "
        "with a queue ended at a held-out MRR of .38 in the place of .65 (measured).",
        remedies=(
            Remedy(change={"temperature": 0.05}),
            Remedy(change={"loss": "raise the temperature to about .05: of vectors of unit length, scores times 20"}),
        ),
        not_this="a margin that most triplets meet; a sum over rows; a temperature that is too high, at chance",
        gravest=Status.WARNING,
        confirm=3,
    ),
)
