"""The same training with something changed: interventions, the cells they make, where these run, what came of them.

What is trained is any function of a cell, the material that all cells read, and a folder that becomes a run folder.
Imports no torch.
"""

from ._cells import (
    ERROR,
    RECORD,
    Cell,
    Files,
    Train,
    check_folder,
    finished,
    keep,
    make_cells,
    run_cell,
    write_record,
)
from ._effects import Effect, ModuleShare, Verdict, effects, module_shares, verdict
from ._engines import check_ray, run_in_processes, run_in_ray
from ._interventions import CONTROL, Axis, Intervention, combined, distinct
from ._results import Ablation, CellRun, Failure
from ._theirs import ablate
from ._verdicts import decisions, write_verdicts

__all__ = [
    "CONTROL",
    "ERROR",
    "RECORD",
    "Ablation",
    "Axis",
    "Cell",
    "CellRun",
    "Effect",
    "Failure",
    "Files",
    "Intervention",
    "ModuleShare",
    "Train",
    "Verdict",
    "ablate",
    "check_folder",
    "check_ray",
    "combined",
    "decisions",
    "distinct",
    "effects",
    "finished",
    "keep",
    "make_cells",
    "module_shares",
    "run_cell",
    "run_in_processes",
    "run_in_ray",
    "verdict",
    "write_record",
    "write_verdicts",
]
