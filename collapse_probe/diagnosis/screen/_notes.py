"""Notes of the first screen: what may be meant, or cannot be told, and should be known."""

from __future__ import annotations

from collections.abc import Sequence

from ...journal import Event
from .._contract import Finding, Status
from .._evaluations import REFERENCE
from .._evidence import Evidence
from ..detectors._mismatched import carries_over
from ._paper import Page
from ._words import clean


def notes(page: Page, evidence: Evidence, status: Status, kinds: Sequence[Finding]) -> list[str]:
    """Return the lines of all notes."""
    found = [_left_out(evidence, kinds), _by_heart(evidence) if status is Status.HEALTHY else ""]
    return [line for text in found if text for line in page.wrapped("Note", text, most=2)]


def _left_out(evidence: Evidence, kinds: Sequence[Finding]) -> str:
    """Return which modules have gradients and no optimiser, where no finding says so: it may be meant."""
    said = [one.message for one in evidence.run.of(Event) if one.name == "left_out"]
    named = any(one.kind in ("no_learning", "side_not_trained") for one in kinds)
    return "" if named else clean("; ".join(dict.fromkeys(said)), length=180)


def _by_heart(evidence: Evidence) -> str:
    """Return that the pairs which rose are training's own, where nothing is known of others."""
    if not evidence.seen or any(not one.seen for one in evidence.curves):
        return ""
    if not any(one.name == REFERENCE for one in evidence.curves) or carries_over(evidence):
        return ""
    said = "reference pairs are from the training: what is learnt by heart looks the same."
    return f"{said} Give held-out ones: reference=heldout.jsonl"
