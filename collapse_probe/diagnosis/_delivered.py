"""Whose weights a training left."""

from __future__ import annotations

from typing import Any

from ..journal import Event
from ._evidence import Evidence


def delivered_of(evidence: Evidence) -> dict[str, Any] | None:
    """Return whose weights a training left; None where nothing was said, so that they are those of the last step.

    ``step`` is the step that they are of, 0 for the start and None where it is not known, ``last`` the last step and
    ``said`` a sentence.
    """
    said = [one for one in evidence.run.of(Event) if one.name == "delivered"]
    if not said:
        return None
    one = said[-1]
    step = int(one.subject) if one.subject.isascii() and one.subject.isdigit() else None
    return {"step": step, "last": one.step, "said": one.message}
