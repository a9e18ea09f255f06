"""The first screen of a diagnosis: its numbers in sentences, here and only here."""

from ._html import screen_html
from ._live import course, verdict_in_a_line, verdict_so_far
from ._preflight import preflight_screen
from ._screen import decided_by, first_screen
from ._words import WIDTH, claim, clean, evidence_line, folded, halving, metric, named, number, remedies, since, title

__all__ = [
    "WIDTH",
    "claim",
    "clean",
    "course",
    "decided_by",
    "evidence_line",
    "first_screen",
    "folded",
    "halving",
    "metric",
    "named",
    "number",
    "preflight_screen",
    "remedies",
    "screen_html",
    "since",
    "title",
    "verdict_in_a_line",
    "verdict_so_far",
]
