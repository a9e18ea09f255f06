"""The failure analysis of a run: figures and prose from its journal and findings. Needs no torch."""

from ._report import write_report

__all__ = ["write_report"]
