"""The reports of runs and ablations: figures and prose from journals and findings. Needs no torch."""

from ._ablation_report import write_ablation_report
from ._report import write_report

__all__ = ["write_ablation_report", "write_report"]
