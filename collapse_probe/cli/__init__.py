"""The command line: one file a command, imported when the command is run."""

from __future__ import annotations

from ._group import main

__all__ = ["main"]
