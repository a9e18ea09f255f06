"""The command line: one file a command, imported when the command is run."""

from __future__ import annotations

import os

# Read by OpenMP when torch is loaded, here and in the processes that are started from here: threads that spin while
# they wait take the core that a busy neighbour needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from ._group import main

__all__ = ["main"]
