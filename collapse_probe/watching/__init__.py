"""Watching somebody else's training: one line gives it a journal, a judgement and a report."""

from ._watch import Prepared, Watch, watch

__all__ = ["Prepared", "Watch", "watch"]
