"""From a run to its diagnosis: findings, kinds, what was not measured. Needs neither torch nor the data."""

from ._ablation import CONTROL, Ablation, CellRun
from ._agreement import agreement
from ._attribution import (
    Attribution,
    ModuleEffect,
    attribution,
    counterfactual_differences,
    counterfactual_records,
)
from ._comparison import Compared, Row, compare
from ._contract import (
    Bounds,
    Condition,
    Detector,
    Finding,
    Interval,
    Judgement,
    NotApplicable,
    Onset,
    Remedy,
    Status,
    Subject,
    Threshold,
)
from ._diagnosis import Diagnosis, diagnose
from ._effects import Effect, LogRatio, ModuleShare, Verdict, effects, module_shares, verdict
from ._evidence import Evidence
from ._overlap import Overlap, overlaps
from ._rows import FindingRow, findings
from ._scores import (
    HEADLINE,
    collections,
    difference,
    epochs,
    evaluated_path,
    evaluation_records,
    fall_onset,
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
from .detectors import BY_CODE, DETECTORS

__all__ = [
    "BY_CODE",
    "CONTROL",
    "DETECTORS",
    "HEADLINE",
    "Ablation",
    "Attribution",
    "Bounds",
    "CellRun",
    "Choice",
    "Compared",
    "Condition",
    "Detector",
    "Diagnosis",
    "Effect",
    "Evidence",
    "Finding",
    "FindingRow",
    "Interval",
    "Judgement",
    "LogRatio",
    "ModuleEffect",
    "ModuleShare",
    "NotApplicable",
    "Onset",
    "Overlap",
    "PairedDifference",
    "RankCorrelation",
    "Remedy",
    "Row",
    "SeededDifference",
    "Selection",
    "Status",
    "Subject",
    "Threshold",
    "Verdict",
    "agreement",
    "attribution",
    "choose_checkpoint",
    "collections",
    "compare",
    "counterfactual_differences",
    "counterfactual_records",
    "diagnose",
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
]
