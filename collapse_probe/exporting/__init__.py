"""A run where people already look: its readings, findings and verdict in other programs' files. Needs no torch."""

from ._card import card
from ._described import Alert, Described, Line, described
from ._export import TARGETS, Exported, Unreachable, export
from ._names import cell, distinct, harmless, safe_name

__all__ = [
    "TARGETS",
    "Alert",
    "Described",
    "Exported",
    "Line",
    "Unreachable",
    "card",
    "cell",
    "described",
    "distinct",
    "export",
    "harmless",
    "safe_name",
]
