"""The command line: one file a command, imported when the command is run."""

from __future__ import annotations

from . import _environment  # noqa: F401  (before anything that loads torch)
from ._group import main

__all__ = ["main"]
