"""The words of a journal as data: roles, similarities, measures and the names of readings. Needs no library."""

from ._entries import MEASURES
from ._measure import Band, Measure, On
from ._readings import (
    CUT,
    FORCES,
    NOT_STREAMS,
    OUTSIDE,
    SCALARS,
    SUMMARIES,
    at_dimension,
    modern_reading,
    reading_name,
    split_dimension,
    split_reading,
)
from ._roles import Role, Similarity

__all__ = [
    "CUT",
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
    "at_dimension",
    "modern_reading",
    "reading_name",
    "split_dimension",
    "split_reading",
]
