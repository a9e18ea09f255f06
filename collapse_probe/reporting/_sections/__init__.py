"""The sections of a report, one file a topic. Adding one: a file with a ``Section``, and its place in ``SECTIONS``."""

from __future__ import annotations

from .._facts import Section
from ._attribution import ATTRIBUTION
from ._averages import AVERAGES
from ._candidates import CANDIDATES
from ._caveats import CAVEATS
from ._corrections import CORRECTIONS
from ._counterfactuals import COUNTERFACTUALS
from ._dimensions import DIMENSIONS
from ._embeddings import EMBEDDINGS
from ._errors import ERRORS
from ._fallen import FALLEN
from ._findings import FINDINGS
from ._happened import HAPPENED
from ._models import MODELS
from ._preflight import PREFLIGHT
from ._retrieval import RETRIEVAL
from ._screen import SCREEN
from ._selection import SELECTION
from ._separation import SEPARATION
from ._settings import SETTINGS
from ._streams import STREAMS
from ._terms import TERMS
from ._unmeasured import UNMEASURED
from ._why import WHY

SECTIONS: tuple[Section, ...] = (
    SCREEN,
    HAPPENED,
    WHY,
    MODELS,
    RETRIEVAL,
    FALLEN,
    AVERAGES,
    SEPARATION,
    EMBEDDINGS,
    DIMENSIONS,
    TERMS,
    CORRECTIONS,
    CANDIDATES,
    SELECTION,
    ATTRIBUTION,
    COUNTERFACTUALS,
    PREFLIGHT,
    FINDINGS,
    STREAMS,
    UNMEASURED,
    CAVEATS,
    ERRORS,
    SETTINGS,
)
"""Every section, in the order of the report: what happened first, settings last."""
