"""The words of a journal as data: roles, similarities, measures and the names of readings. Needs no library."""

from ._entries import MEASURES
from ._measure import Band, Measure, On
from ._readings import FORCES, NOT_STREAMS, OUTSIDE, SCALARS, SUMMARIES, modern_reading, reading_name, split_reading
from ._roles import Role, Similarity

__all__ = [
    "FORCES",
    "MEASURES",
    "NOT_STREAMS",
    "OUTSIDE",
    "SCALARS",
    "SUMMARIES",
    "Band",
    "Measure",
    "On",
    "Role",
    "Similarity",
    "modern_reading",
    "reading_name",
    "split_reading",
]
