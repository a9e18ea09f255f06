"""The reports of runs and ablations: figures and prose from journals and findings. Needs no torch."""

from ._ablation_report import write_ablation_report
from ._place import write_folder
from ._report import write_report
from ._text import Table, bullets, fenced, md, one_line

__all__ = [
    "Table",
    "bullets",
    "fenced",
    "md",
    "one_line",
    "write_ablation_report",
    "write_folder",
    "write_report",
]
