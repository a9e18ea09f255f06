"""Who fell, on the first screen."""

from __future__ import annotations

from collections.abc import Sequence

from ...journal import LOST
from .._fallen import Fallen
from ._words import clean, number

FILE = "failing_queries.csv"
"""What the report calls the list of all of them."""


def who_fell(lost: Sequence[Fallen]) -> str:
    """Return who lost on the collection that fell most, as one line; empty where no fall counts."""
    one = next((one for one in lost if one.fell), None)
    if one is None:
        return ""
    taken = ""
    if one.share is not None:
        documents = f"{len(one.half):,} document" + ("s" if len(one.half) > 1 else "")
        taken = f"; {documents} took {one.share:.0%} of their places".replace("%", " %")
    said = f"{clean(one.collection, length=24)}: {len(one.lost):,} of {one.n:,} queries lost more than "
    return f"{said}{number(LOST).rstrip('0')}{taken}"
