"""Every detector, one file a family. Adding one: an entry in its family's tuple, a test of power and false alarms."""

from __future__ import annotations

from .._contract import Detector
from ._corrections import CORRECTIONS
from ._data import DATA
from ._forgetting import FORGETTING
from ._geometry import GEOMETRY
from ._learning import LEARNING
from ._numbers import NUMBERS
from ._ranges import RANGES
from ._retrieval import RETRIEVAL
from ._scale import SCALE
from ._selection import SELECTION
from ._sides import SIDES
from ._tables import TABLES

DETECTORS: tuple[Detector, ...] = (
    *NUMBERS,
    *RANGES,
    *RETRIEVAL,
    *SELECTION,
    *GEOMETRY,
    *SCALE,
    *SIDES,
    *CORRECTIONS,
    *LEARNING,
    *FORGETTING,
    *DATA,
    *TABLES,
)
"""Every detector, in the order of its family; tests, ``list`` and ``explain`` are made from it."""

BY_CODE = {detector.code: detector for detector in DETECTORS}

__all__ = ["BY_CODE", "DETECTORS"]
