"""The reports of runs, ablations and comparisons: figures and prose from journals and findings. Needs no torch."""

from ._ablation_report import write_ablation_report
from ._comparison import comparison_cells, comparison_notes, write_comparison
from ._page import PAGE
from ._report import write_report

__all__ = ["PAGE", "comparison_cells", "comparison_notes", "write_ablation_report", "write_comparison", "write_report"]
