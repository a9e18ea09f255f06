"""Notes of the first screen: what may be meant, or cannot be told, and should be known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...journal import Event
from .._contract import Finding, Status
from .._evaluations import REFERENCE
from .._evidence import Evidence
from .._separation import D_PRIME
from ..causes._readings import last
from ..detectors._mismatched import carries_over
from ..detectors._temperature import loss_over_chance
from ._paper import Page
from ._words import clean, number

_TOLD = 1.0
"""Separation that a pretrained encoder has on pairs of texts that belong together: 1.4 to 3.4 (measured)."""

_FAR_FROM_0, _APART, _SPREADS = 0.35, 0.9, 0.05
"""Loss over log n, AUC, and push of all rows, above which a softmax may be too warm (own choices): .61, .97 and .09 of
cosines that were multiplied by 2.7."""

_FIRST = 3
"""Batches of the start, where no reference pairs were read then."""


def notes(page: Page, evidence: Evidence, status: Status, kinds: Sequence[Finding]) -> list[str]:
    """Return the lines of all notes."""
    found = [_left_out(evidence, kinds)]
    found += [clean(one.message, length=180) for one in evidence.run.of(Event) if one.name == "noted"]
    if status is Status.HEALTHY:
        found += [_began_blind(evidence), _warm(evidence), _by_heart(evidence)]
    return [line for text in found if text for line in page.wrapped("Note", text, most=2)]


def _left_out(evidence: Evidence, kinds: Sequence[Finding]) -> str:
    """Return which modules have gradients and no optimiser, where no finding says so: it may be meant."""
    said = [one.message for one in evidence.run.of(Event) if one.name == "left_out"]
    named = any(one.kind in ("no_learning", "side_not_trained") for one in kinds)
    return "" if named else clean("; ".join(dict.fromkeys(said)), length=180)


def _warm(evidence: Evidence) -> str:
    """Return that a softmax ends far from 0 though pairs are told apart, and pushes all texts more than the nearest."""
    ends = {name: last(evidence, f"pairs/{name}") for name in ("auc", "push", "push_all")}
    over = loss_over_chance(evidence)
    if over is None or not _FAR_FROM_0 < over[1] < 1 or any(one is None for one in ends.values()):
        return ""
    if ends["auc"] < _APART or ends["push_all"] < _SPREADS or ends["push"] > 0:  # type: ignore[operator]
        return ""
    said = f"the loss ends at {number(over[1])} of log n, its value by chance, while the batch's AUC is"
    return f"{said} {number(ends['auc'] or 0)}: label smoothing, or a softmax too warm (multiply cosines by about 20)"


def _began_blind(evidence: Evidence) -> str:
    """Return that a pretrained model began without telling pairs apart, as by padding, or wrong inputs."""
    if not evidence.said("pretrained"):
        return ""
    first = evidence.series(D_PRIME, on="reference").finite()
    first = first.where(first.steps == 0) if len(first) else first
    if not len(first):
        first = evidence.series(D_PRIME, on="batch").finite()
        first = first.where(first.steps <= _FIRST) if len(first) else first
    rows = int(first.n.sum()) if len(first) else 0
    # Own and other cosines are told apart by their means, which lie sqrt(2 / n) apart by chance.
    if not rows or float(first.values.mean()) + 3 * math.sqrt(2 / rows) >= _TOLD:
        return ""
    began = number(float(first.values.mean()))
    return f"weights named as pretrained told no pairs apart at the start (d' {began}): look at pooling, padding, pairs"


def _by_heart(evidence: Evidence) -> str:
    """Return that the pairs which rose are training's own, where nothing is known of others."""
    if not evidence.seen or any(not one.seen for one in evidence.curves):
        return ""
    if not any(one.name == REFERENCE for one in evidence.curves) or carries_over(evidence):
        return ""
    said = "reference pairs are from the training: what is learnt by heart looks the same."
    return f"{said} Give held-out ones: reference=heldout.jsonl"
