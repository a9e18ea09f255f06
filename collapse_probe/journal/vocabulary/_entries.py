"""Every measure by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ._corrections import CORRECTIONS, GATES
from ._measure import Measure
from ._pairs import PAIRS
from ._streams import SPECTRA, STREAMS

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {measure.name: measure for measure in (*STREAMS, *SPECTRA, *PAIRS, *CORRECTIONS, *GATES)}
)
"""What can be read: the functions of these names are in :mod:`collapse_probe.measures`."""
