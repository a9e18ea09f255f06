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
from ._effects import Effect, LogRatio, ModuleShare, Verdict, effects, module_shares, verdict
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
from ._selection import Choice, RankCorrelation, Selection, choose_checkpoint, loss_against_retrieval, selection
from ._statistics import (
    PairedDifference,
    SeededDifference,
    holm,
    macro_average,
    over_seeds,
    paired_difference,
    randomisation_p,
    smallest_resolvable,
)

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
    "LogRatio",
    "ModuleEffect",
    "ModuleShare",
    "Overlap",
    "PairedDifference",
    "RankCorrelation",
    "Row",
    "SeededDifference",
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
    "holm",
    "last_trained",
    "loss_against_retrieval",
    "macro_average",
    "module_shares",
    "over_seeds",
    "overlaps",
    "paired_difference",
    "randomisation_p",
    "selection",
    "smallest_resolvable",
    "verdict",
    "worst_status",
]
