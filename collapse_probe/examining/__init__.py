"""Finished models, judged against what they began as: found, looked at, encoded once, and written as a run."""

from __future__ import annotations

from ._examination import Examination
from ._examine import Asked, examine_asked
from ._face import examine

__all__ = ["Asked", "Examination", "examine", "examine_asked"]
