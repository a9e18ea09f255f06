"""Watching somebody else's training: one line gives it a journal, a judgement and a report."""

from ._watch import Watch, watch

__all__ = ["Watch", "watch"]
