"""What is looked at while a run goes on: the verdict so far, and the course of what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._evidence import Evidence
from ._curves import live_curves
from ._paper import page_of
from ._screen import FIRST, dead_since, in_words, seen, verdict

if TYPE_CHECKING:
    from .._diagnosis import Diagnosis

_SEEN = 4
"""Lines of what the verdict rests on."""


def verdict_so_far(evidence: Evidence, found: Diagnosis, *, width: int) -> list[str]:
    """Return the verdict on a run that goes on and what it rests on, in at most 7 lines of 100 columns.

    Args:
        evidence: What the diagnosis rests on.
        found: The diagnosis.
        width: Columns; 60 at least.
    """
    page = page_of(width)
    lines = verdict(page, evidence, found.status, found.kinds, found.not_measured)
    return [*lines, *seen(page, found.kinds)[: page.lines(_SEEN)]]


def verdict_in_a_line(evidence: Evidence, found: Diagnosis) -> str:
    """Return a verdict with what was found and since when, as ``HEALTHY: nothing was found in 160 steps``."""
    said = in_words(evidence, found.status, found.kinds, found.not_measured)
    return f"{FIRST[found.status]}: {said}" if said else FIRST[found.status]


def course(evidence: Evidence, found: Diagnosis, *, width: int) -> list[str]:
    """Return how a run went so far, in at most 12 lines: no judgement, so it costs milliseconds.

    Separation, spread, common share, the loss with its terms, and retrieval: each as its first value, its course, and
    its value now.

    Args:
        evidence: The run.
        found: Its newest diagnosis.
        width: Columns; 60 at least.
    """
    page = page_of(width)
    return [piece for line in live_curves(page, evidence, dead_since(found.findings)) for piece in page.cut(line)]
