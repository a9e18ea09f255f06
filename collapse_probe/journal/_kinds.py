"""The record kinds of a journal: a dataclass a kind, checked when it is read.

A journal is append-only JSON Lines. Every line is one object with ``kind`` and ``seq`` (0, 1, 2, ... over the whole
file) beside the fields of its kind; a field that has its default is left out. Steps count from 1: a reading ``on`` a
batch at step s was taken in the s-th optimiser step; everything else at step s was taken when s steps were done, 0
before training.
"""

from __future__ import annotations

from ._course import Artifact, Clock, End, Event, Raised, Start
from ._readings import Coverage, Force, Histogram, Readings, Spectrum, Summary, Terms
from ._scored import Counterfactual, Evaluation

Record = (
    Start
    | Clock
    | Readings
    | Terms
    | Summary
    | Histogram
    | Spectrum
    | Evaluation
    | Counterfactual
    | Coverage
    | Force
    | Raised
    | Artifact
    | Event
    | End
)

KINDS: dict[str, type] = {
    "start": Start,
    "clock": Clock,
    "readings": Readings,
    "terms": Terms,
    "summary": Summary,
    "histogram": Histogram,
    "spectrum": Spectrum,
    "evaluation": Evaluation,
    "counterfactual": Counterfactual,
    "coverage": Coverage,
    "force": Force,
    "finding": Raised,
    "artifact": Artifact,
    "event": Event,
    "end": End,
}
"""Every kind by its name in the journal; a reader keeps and counts what it does not know."""

NAMES = {kind: name for name, kind in KINDS.items()}
