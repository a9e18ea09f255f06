"""Detectors from a run to findings. Needs neither torch nor the data."""

from ._detectors import ALL_DETECTORS, findings
from ._finding import Finding, Status, worst_status
from ._paired import PairedDifference, paired_difference
from ._retrieval import Selection, fall_onset, selection
from ._scores import (
    HEADLINE,
    collections,
    difference,
    epochs,
    evaluated_path,
    evaluation_records,
    last_trained,
)

__all__ = [
    "ALL_DETECTORS",
    "HEADLINE",
    "Finding",
    "PairedDifference",
    "Selection",
    "Status",
    "collections",
    "difference",
    "epochs",
    "evaluated_path",
    "evaluation_records",
    "fall_onset",
    "findings",
    "last_trained",
    "paired_difference",
    "selection",
    "worst_status",
]
