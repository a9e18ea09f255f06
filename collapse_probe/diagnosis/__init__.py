"""Detectors from a run to findings. Needs neither torch nor the data."""

from ._ablation import CONTROL, Ablation, CellRun
from ._attribution import (
    Attribution,
    ModuleEffect,
    attribution,
    counterfactual_differences,
    counterfactual_records,
)
from ._comparison import Compared, Row, compare
from ._detectors import ALL_DETECTORS, findings
from ._effects import Effect, ModuleShare, Verdict, effects, module_shares, verdict
from ._finding import Finding, Status, worst_status
from ._overlap import Overlap, overlaps
from ._retrieval import fall_onset
from ._scores import (
    HEADLINE,
    collections,
    difference,
    epochs,
    evaluated_path,
    evaluation_records,
    last_trained,
)
from ._selection import Choice, Selection, choose_checkpoint, loss_against_retrieval, selection

__all__ = [
    "ALL_DETECTORS",
    "CONTROL",
    "HEADLINE",
    "Ablation",
    "Attribution",
    "CellRun",
    "Choice",
    "Compared",
    "Effect",
    "Finding",
    "ModuleEffect",
    "ModuleShare",
    "Overlap",
    "Row",
    "Selection",
    "Status",
    "Verdict",
    "attribution",
    "choose_checkpoint",
    "collections",
    "compare",
    "counterfactual_differences",
    "counterfactual_records",
    "difference",
    "effects",
    "epochs",
    "evaluated_path",
    "evaluation_records",
    "fall_onset",
    "findings",
    "last_trained",
    "loss_against_retrieval",
    "module_shares",
    "overlaps",
    "selection",
    "verdict",
    "worst_status",
]
