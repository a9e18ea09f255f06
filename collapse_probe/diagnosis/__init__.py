"""Detectors from a run to findings. Needs neither torch nor the data."""

from ._ablation import Ablation, CellRun
from ._attribution import (
    Attribution,
    ModuleEffect,
    attribution,
    counterfactual_differences,
    counterfactual_records,
)
from ._detectors import ALL_DETECTORS, findings
from ._effects import Effect, LogRatio, ModuleShare, Verdict, effects, module_shares, verdict
from ._finding import Finding, Status, worst_status
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
from ._selection import Choice, RankCorrelation, Selection, choose_checkpoint, loss_against_retrieval, selection
from ._statistics import PairedDifference, SeededDifference, over_seeds, paired_difference

__all__ = [
    "ALL_DETECTORS",
    "HEADLINE",
    "Ablation",
    "Attribution",
    "CellRun",
    "Choice",
    "Effect",
    "Finding",
    "LogRatio",
    "ModuleEffect",
    "ModuleShare",
    "PairedDifference",
    "RankCorrelation",
    "SeededDifference",
    "Selection",
    "Status",
    "Verdict",
    "attribution",
    "choose_checkpoint",
    "collections",
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
    "over_seeds",
    "paired_difference",
    "selection",
    "verdict",
    "worst_status",
]
