"""Every detector, one file a family. Adding one: an entry in its family's tuple, a test of power and false alarms."""

from __future__ import annotations

from ...errors import unknown_name
from .._contract import Detector
from ._audits import AUDITS
from ._corrections import CORRECTIONS
from ._data import DATA
from ._facts import FACTS
from ._forgetting import FORGETTING
from ._geometry import GEOMETRY
from ._gradients import GRADIENTS
from ._learning import LEARNING
from ._numbers import NUMBERS
from ._paths import PATHS
from ._pooling import POOLING
from ._ranges import RANGES
from ._rates import RATES
from ._retrieval import RETRIEVAL
from ._scale import SCALE
from ._selection import SELECTION
from ._sides import SIDES
from ._tables import TABLES
from ._temperature import TEMPERATURE

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
    *GRADIENTS,
    *RATES,
    *FORGETTING,
    *DATA,
    *PATHS,
    *POOLING,
    *FACTS,
    *TEMPERATURE,
    *TABLES,
)
"""Every detector, in the order of its family; tests, ``list`` and ``explain`` are made from it."""

LISTED = "collapse-probe list detectors"
"""The command that lists them."""

BY_CODE = {detector.code: detector for detector in (*AUDITS, *DETECTORS)}


def find_detector(name: str) -> Detector:
    """Return the detector of a code or a kind, in upper or lower case.

    Raises:
        InputError: no detector has it.
    """
    asked = name.strip()
    found = BY_CODE.get(asked.upper()) or next((one for one in BY_CODE.values() if one.kind == asked.lower()), None)
    if found is None:
        known = [one for detector in BY_CODE.values() for one in (detector.code, detector.kind)]
        raise unknown_name("code", name, known, listed=LISTED)
    return found


__all__ = ["AUDITS", "BY_CODE", "DETECTORS", "LISTED", "find_detector"]
