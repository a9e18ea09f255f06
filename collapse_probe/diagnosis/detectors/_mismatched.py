"""Whether queries stand beside their own documents, by batches that are read for the first time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ...journal import Event, Series
from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Onset, Remedy, Subject, Threshold
from .._evaluations import REFERENCE
from .._evidence import Evidence
from .._separation import BATCH
from ._signature import BEGAN_AT_NOTHING, MEASURED, part

_MANY, _LAST, _FAR = 100, 5, 0.01
"""Steps, last readings and way of the weights from which on an encoder that knew nothing has learnt (own choice)."""

NEGATIVE = "pairs/negative_auc"
SWAPPED = f"{NEGATIVE} of the first batches"
"""What says that positives and negatives have changed places."""

SEEN_AGAIN = "pairs/auc of pairs that were seen before"
"""What says that pairs are learnt by heart."""

_SLOW = 300
"""Steps up to which an encoder of random weights may have told nothing apart yet (own choice)."""

PULLED = -0.05
"""Mean force along own distances above which a loss does not pull own pairs together: -.1 to -.7 where it does."""

_UNSURE = (Condition(reading="a fall", value=None, cut=0.0, holds=None, harm=True),)
"""What makes a warning of what has another explanation."""

_Z, _TIMES = 4.0, 4.0
"""Errors between pairs seen before and new ones, and times that the former are as far from chance (own choice)."""

_CARRIED = 0.85
"""AUC of new pairs from which on what is learnt is none by heart (own choice)."""

_SOON = 1.5
"""Epochs up to which weights are about those of the end of the first one (own choice)."""

_EARLY, _POOLED = 10, 8
"""Steps that count as first where own documents and negatives are compared, and last readings of an epoch that are
pooled (own choice)."""

_ONE = 0.99
"""Common share of the first batches above which all vectors are one (own choice)."""

_NOTHING = 1e-3
"""Share of their first length below which vectors have none (own choice)."""

_TIED = 0.5
"""Share of queries whose own document ties with others from which on vectors hold no text: 1.0 of means over padding,
.00 to .05 of wrong pairs (measured)."""

_REPLACED = 1.0
"""A first relative update that replaces a group's weights (own choice)."""

_FIRST_FIVE, _KNOWING = 5, 0.65
"""First batches, which training has hardly changed yet, and the AUC that pretrained weights have on true pairs, at
least (own choices): half of the pairs wrong leaves .69."""

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
    known, which, sure = _swapped(evidence, cuts), "the first batches", True
    if known is not None:
        first = batch.where(batch.steps <= _EARLY) if len(batch) else _at_start(evidence)
        sure = _stays(evidence)
    known = known or _known(evidence, cuts)
    if known is None and (heart := _by_heart(evidence, batch, cuts)) is not None:
        (first, known), which, sure = heart, "new pairs at the end of the first epoch", False
    if known is None and (known := _never_told(evidence, cuts)) is not None:
        first = batch  # none of them was ever told apart: all are as the first
        # Random vectors, one for each text or number, are told apart late, too.
        sure = evidence.run.steps >= _SLOW or evidence.said("pretrained")
    if known is None and (blind := _pretrained_at_chance(evidence, batch)) is not None:
        return blind
    if not len(first) or known is None:
        return Judgement(value=None, evidence=(reading,))
    if not known.holds:
        raise NotApplicable("step 0 does not tell other pairs apart either")
    value = float(first.values.mean())
    # A mean over n queries of ranks that are uniform by chance, of which every row is one.
    rows = int(np.maximum(first.n, 1).sum())
    error = _error(rows)
    # Later batches than the first are told apart as they were trained to be.
    at_chance = value + error < cuts["critical"] and float(first.values[0]) < cuts["warning"]
    # A collection says that the encoder is good, not that these pairs are easy.
    partly = not evidence.seen and value + error < cuts["warning"]
    cut = cuts["critical" if at_chance or evidence.seen else "warning"]
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"], above=False),
        conditions=(
            part(f"{reading} of {which}", value, cut, at_chance or partly),
            known,
            *(() if at_chance else evidence.harm),
            *(() if sure or not at_chance else _UNSURE),
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


def _pretrained_at_chance(evidence: Evidence, batch: Series) -> Judgement | None:
    """Return that pretrained weights which encode both sides told the first pairs apart no better than chance.

    Pairs are wrong then, or the vectors: pooled, cut or split in a wrong way. None where other pairs are known, or two
    models, of which each was trained by itself, encode the sides.
    """
    sides = [one for one in evidence.run.coverage.values() if one.role in ("query", "document") and one.steps]
    first = batch.where(batch.steps <= batch.steps[0] + _FIRST_FIVE - 1) if len(batch) else batch
    if not evidence.said("pretrained") or len({one.where for one in sides}) != 1 or len(first) < _FIRST_FIVE:
        return None
    if len(evidence.series("pairs/auc", on="reference")):
        return None
    tied = evidence.series("pairs/tied_share", on="batch").finite()
    if len(tied) and first_batches(tied).values.mean() > _TIED:
        return None
    value, rows = float(first.values.mean()), int(np.maximum(first.n, 1).sum())
    if value + _error(rows) >= _KNOWING or value - _error(rows) > 0.5:
        return None
    reading = "pairs/auc of the first batches, by pretrained weights"
    return Judgement(
        value=value,
        bounds=Bounds(warning=_KNOWING, critical=0.0, above=False),
        conditions=(part(reading, value, _KNOWING, True), *_UNSURE),
        onset=Onset(step=1, low=0, high=1),
        outside=tuple(int(step) for step in first.steps),
        before=True,
        evidence=("pairs/auc",),
        n=rows,
        of_batches=True,
    )


def _error(rows: int) -> float:
    """Return three standard errors of a mean AUC of so many rows by chance."""
    return 3 * math.sqrt(1 / 12 / max(rows, 1))


def _swapped(evidence: Evidence, cuts: Mapping[str, float]) -> Condition | None:
    """Return that first batches tell queries' negatives from other texts, and own documents not; None where not.

    Then what is called a negative is what belongs to the query. Hard negatives of pairs that are right are told apart,
    too, and so are the own documents. So are those of new pairs that queries' negatives resemble by their words alone,
    once training has begun: they have not changed places.
    """
    if _come_apart(evidence, cuts):
        return None
    for on, until in (("batch", _EARLY), ("reference", 0)):
        found = _first_of(evidence, "pairs/auc", on, until), _first_of(evidence, NEGATIVE, on, until)
        if found[0] is None or found[1] is None:
            continue
        (beside, _), (value, rows) = found
        error = _error(rows)
        if beside + error < cuts["critical"] and value - max(beside, 0.5) >= math.sqrt(2) * error:
            return part(SWAPPED, value, 0.5, True)
    return None


def _come_apart(evidence: Evidence, cuts: Mapping[str, float]) -> bool:
    """Return whether later own documents, of pairs that training has not seen, are told apart; False where unknown.

    Of the last new batches of the first epoch, whose negatives are still before other texts; else of held-out pairs.
    """
    new, negative = _later(evidence, "pairs/auc"), _later(evidence, NEGATIVE)
    if len(new) >= _LAST:
        above = _surely(new, cuts["critical"])
        return above and len(negative) > 0 and float(negative.values.mean()) >= 0.5
    held_out = evidence.series("pairs/auc", on="reference").finite()
    if evidence.seen or len(held_out) < 2:
        return False
    return _surely(held_out.where(held_out.steps == held_out.steps[-1]), cuts["critical"])


def _stays(evidence: Evidence) -> bool:
    """Return whether own documents are no better than chance after many steps, as where they are others' documents."""
    read = [evidence.series("pairs/auc", on=on).finite() for on in ("batch", "reference")]
    ends = next((one.where(one.steps >= one.steps[-min(len(one), _POOLED)]) for one in read if len(one)), None)
    return ends is not None and evidence.run.steps >= _MANY and not _surely(ends, 0.5)


def _later(evidence: Evidence, reading: str) -> Series:
    """Return the last readings of pairs that are new, after the first steps."""
    batch = evidence.series(reading, on="batch").finite()
    last = _first_epoch_ends(evidence, batch) or evidence.run.steps
    later = batch.where((batch.steps > _EARLY) & (batch.steps <= last)) if len(batch) else batch
    return later.where(later.steps >= later.steps[-min(len(later), _POOLED)]) if len(later) else later


def _surely(series: Series, cut: float) -> bool:
    """Return whether a mean AUC is above a cut by three standard errors of chance."""
    rows = int(np.maximum(series.n, 1).sum()) if len(series) else 0
    return rows > 0 and float(series.values.mean()) - _error(rows) > cut


def _at_start(evidence: Evidence) -> Series:
    """Return what of labelled pairs is read at step 0: those that the loss moves together."""
    reference = evidence.series("pairs/auc", on="reference").finite()
    return reference.where(reference.steps == 0)


def _told_at_start(evidence: Evidence) -> bool:
    """Return whether the first weights tell the reference pairs apart, however little: by three standard errors."""
    read = evidence.run.series("pairs/auc", on="reference").finite()
    read = read.where(read.steps == 0) if len(read) else read
    if not len(read) or evidence.misread:
        return False
    most = int(np.argmax(read.n))
    return float(read.values[most]) >= 0.5 + _error(int(read.n[most]))


def _first_of(evidence: Evidence, reading: str, on: str, until: int) -> tuple[float, int] | None:
    """Return the mean of a reading over the first steps, and its rows; None where it was not read then."""
    series = evidence.series(reading, on=on).finite()
    series = series.where(series.steps <= until) if len(series) else series
    return (float(series.values.mean()), int(np.maximum(series.n, 1).sum())) if len(series) else None


def _by_heart(evidence: Evidence, batch: Series, cuts: Mapping[str, float]) -> tuple[Series, Condition] | None:
    """Return that pairs are told apart once they were seen, and never before; None where that is not so, or unknown.

    The batches of the first epoch, to its end, are at chance, as all pairs were before the first step, while about the
    same weights tell apart what training has seen: nothing carries over to new pairs.

    Returns:
        The last readings of the first epoch, and what is held against them.
    """
    last, reference = _first_epoch_ends(evidence, batch), evidence.series("pairs/auc", on="reference").finite()
    fresh = _of_new_pairs(batch, last)
    if len(fresh) < _LAST or not evidence.seen or float(fresh.values[-1]) >= cuts["critical"]:
        return None
    if _told_at_start(evidence):
        return None
    rows = int(np.maximum(fresh.n, 1).sum())
    mean = float(fresh.values.mean())
    if mean + _error(rows) >= cuts["critical"] or _surely(fresh, 0.5):
        return None
    for one in (reference, batch):
        # By about the same weights: what later epochs tell apart, they may have learnt to.
        soon = one.where((one.steps > fresh.steps[-1]) & (one.steps <= last * _SOON)) if len(one) else one
        if len(soon):
            seen, several = float(soon.values.mean()), int(np.maximum(soon.n, 1).sum())
            least = mean + max(cuts["by heart"], math.hypot(_error(rows), _error(several)) * _Z / 3)
            # New pairs that are told apart a little, early in a slow training, say that something carries over.
            least = max(least, 0.5 + _TIMES * (mean - 0.5))
            return (fresh, part(SEEN_AGAIN, seen, least, True)) if seen >= least else None
    return None


def _of_new_pairs(batch: Series, last: int) -> Series:
    """Return the last readings of the first epoch, which ends with a step."""
    fresh = batch.where((batch.steps <= last) & (batch.steps > 0)) if len(batch) else batch
    return fresh.where(fresh.steps >= fresh.steps[-min(len(fresh), _POOLED)]) if len(fresh) else fresh


def carries_over(evidence: Evidence) -> bool:
    """Return whether the last batches of the first epoch, whose pairs are new, are told apart; False where unknown."""
    batch = evidence.series("pairs/auc", on="batch").finite()
    fresh = _of_new_pairs(batch, _first_epoch_ends(evidence, batch))
    return len(fresh) >= _LAST and float(fresh.values.mean()) >= _CARRIED


def _first_epoch_ends(evidence: Evidence, batch: Series) -> int:
    """Return the last step of the first epoch, of a run of which that is known; 0 else."""
    again = next((one.step for one in evidence.run.of(Event) if one.name == "seen_again"), None)
    if again is not None:
        return max(int(again) - 1, 0)
    if len(batch) and int(batch.epochs.max()) > 1:
        return int(batch.steps[batch.epochs == 1].max(initial=0))
    examples = evidence.config.examples
    return int(examples // max(int(batch.n[0]), 1)) if examples and len(batch) else 0


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
    # Pairs of the training that first weights tell apart belong together: what they are later is the training's doing.
    if _told_at_start(evidence):
        return None
    if any(_REPLACED < float(one.values[0]) < BEGAN_AT_NOTHING for one in evidence.groups("update")):
        return None  # a first step that replaces the weights leaves nothing that could tell
    lengths = [evidence.series(f"{one.name}/norm_median", on="batch").finite().values for one in evidence.streams]
    if any(len(one) and not _NOTHING * one[0] <= one[-1] <= one[0] / _NOTHING for one in lengths):
        return None  # nor do vectors of length 0, or whose lengths grow without end
    if any(first_batches(one).values.mean() > _ONE for one in common_shares(evidence) if len(one)):
        return None  # vectors that are one from the start tell nothing apart, whatever the pairs are
    tied = evidence.series("pairs/tied_share", on="batch").finite()
    if len(tied) and first_batches(tied).values.mean() > _TIED:
        return None  # nor do vectors of which many are the same: what told the texts apart is lost before
    pull = evidence.series("pairs/pull", on="batch").finite()
    if len(pull) >= _LAST and float(pull.values.mean()) > PULLED:
        return None  # a loss that does not pull them together is about other pairs, or computed wrongly
    ends = batch.where(batch.steps >= batch.steps[-_POOLED])
    # What rises, however slowly, as of numbers that stand for users, learns something.
    value, rows = float(ends.values.mean()), int(np.maximum(ends.n, 1).sum())
    cut = min(cuts["critical"], 0.5 + _error(rows))
    return part("pairs/auc of the last batches", value, cut, True) if value < cut else None


def common_shares(evidence: Evidence) -> list[Series]:
    """Return the common share of each stream's batches."""
    return [evidence.series(f"{one.name}/common_share", on="batch").finite() for one in evidence.streams]


MISMATCHED = Detector(
    code="CP513",
    kind="mismatched_pairs",
    title="pairs that do not belong together",
    reads=("pairs/auc",),
    per="run",
    formula="The AUC of the first batches' own pairs is below the cut by three standard errors, while the same "
    "weights tell held-out pairs apart, else a collection, or the batch's negatives, or while batches never get "
    "better, or get better once pairs are seen again and not before. It is a warning where new pairs may come apart "
    "later: of what is learnt by heart, of fewer than 300 steps of random weights, and of negatives that are told "
    "apart at first where own documents are not at chance after 100. Below .6 it is at chance; from there to .85 about "
    "2 (1 - AUC) of the pairs are wrong, and separation or retrieval has to fall.",
    thresholds={
        "critical": Threshold(0.6, MEASURED),
        "warning": Threshold(0.85, f"{MEASURED}: .69 with half of the pairs wrong, .98 for the hardest quarter"),
        "scored": Threshold(0.1, "of a collection at step 0, where no held-out pairs are known (own choice)"),
        "by heart": Threshold(
            0.08,
            "of pairs seen before above new ones, and four errors: .17 to .27 where all pairs were wrong; .12 above "
            "new ones at .61 where none was (measured)",
        ),
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
)
