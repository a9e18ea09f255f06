"""The reports of runs, ablations and comparisons: figures and prose from journals and findings. Needs no torch."""

from ._ablation_report import write_ablation_report
from ._comparison import comparison_cells, comparison_notes, write_comparison
from ._page import PAGE
from ._place import write_folder
from ._report import write_report
from ._spreadsheet import no_formula
from ._text import Table, bullets, fenced, md, one_line

__all__ = [
    "PAGE",
    "Table",
    "bullets",
    "comparison_cells",
    "comparison_notes",
    "fenced",
    "md",
    "no_formula",
    "one_line",
    "write_ablation_report",
    "write_comparison",
    "write_folder",
    "write_report",
]
