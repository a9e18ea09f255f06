"""The same training with something changed: interventions, the cells they make, where these run, what came of them.

What is trained is any function of a cell, the material that all cells read, and a folder that becomes a run folder.
Imports no torch.
"""

from ._cells import (
    Cell,
    Files,
    Train,
    check_folder,
    finished,
    identity,
    keep,
    make_cells,
    run_cell,
    write_record,
)
from ._effects import Effect, ModuleShare, Verdict, effects, module_shares, verdict
from ._engines import check_ray, run_in_processes, run_in_ray
from ._interventions import Axis, Intervention, combined, distinct
from ._results import CONTROL, Ablation, CellRun

__all__ = [
    "CONTROL",
    "Ablation",
    "Axis",
    "Cell",
    "CellRun",
    "Effect",
    "Files",
    "Intervention",
    "ModuleShare",
    "Train",
    "Verdict",
    "check_folder",
    "check_ray",
    "combined",
    "distinct",
    "effects",
    "finished",
    "identity",
    "keep",
    "make_cells",
    "module_shares",
    "run_cell",
    "run_in_processes",
    "run_in_ray",
    "verdict",
    "write_record",
]
