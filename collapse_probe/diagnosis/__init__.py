"""From a run to its diagnosis: findings, kinds, what was not measured. Needs neither torch nor the data."""

from ._agreement import agreement
from ._attribution import (
    Attribution,
    ModuleEffect,
    attribution,
    counterfactual_differences,
    counterfactual_records,
)
from ._audited import Audited, audit
from ._candidates import Candidate, Gain, candidates, change, last_epoch, value_of
from ._comparison import Compared, Row, compare
from ._contract import (
    Bounds,
    Condition,
    Detector,
    Finding,
    Forecast,
    Interval,
    Judgement,
    NotApplicable,
    Onset,
    Remedy,
    Status,
    Subject,
    Threshold,
)
from ._curves import Change, Curve
from ._diagnosis import Diagnosis, as_run, diagnose, diagnosed
from ._evaluations import REFERENCE, Evaluations
from ._evidence import Evidence
from ._fallen import Fallen, LostQuery, Taker, fallen
from ._findings import check_declared
from ._measured import LOCUS, NotMeasured
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
    per_query,
)
from ._selection import Choice, Selection, choose_checkpoint, keeping, loss_against_retrieval, selection
from .causes import AUDITED_MECHANISMS, MECHANISMS, VERDICTS, Cause, Decision, Decisions, Mechanism, verdict_of
from .detectors import AUDITS, BY_CODE, DETECTORS, find_detector

__all__ = [
    "AUDITED_MECHANISMS",
    "AUDITS",
    "BY_CODE",
    "DETECTORS",
    "HEADLINE",
    "LOCUS",
    "MECHANISMS",
    "REFERENCE",
    "VERDICTS",
    "Attribution",
    "Audited",
    "Bounds",
    "Candidate",
    "Cause",
    "Change",
    "Choice",
    "Compared",
    "Condition",
    "Curve",
    "Decision",
    "Decisions",
    "Detector",
    "Diagnosis",
    "Evaluations",
    "Evidence",
    "Fallen",
    "Finding",
    "FindingRow",
    "Forecast",
    "Gain",
    "Interval",
    "Judgement",
    "LostQuery",
    "Mechanism",
    "ModuleEffect",
    "NotApplicable",
    "NotMeasured",
    "Onset",
    "Overlap",
    "Remedy",
    "Row",
    "Selection",
    "Status",
    "Subject",
    "Taker",
    "Threshold",
    "agreement",
    "as_run",
    "attribution",
    "audit",
    "candidates",
    "change",
    "check_declared",
    "choose_checkpoint",
    "collections",
    "compare",
    "counterfactual_differences",
    "counterfactual_records",
    "diagnose",
    "diagnosed",
    "difference",
    "epochs",
    "evaluated_path",
    "evaluation_records",
    "fall_onset",
    "fallen",
    "find_detector",
    "findings",
    "keeping",
    "last_epoch",
    "last_trained",
    "loss_against_retrieval",
    "overlaps",
    "per_query",
    "selection",
    "value_of",
    "verdict_of",
]
