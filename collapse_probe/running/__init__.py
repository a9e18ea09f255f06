"""Running somebody's training program, unchanged, and watching what it trains.

Nothing here imports torch or numpy before the program does: what it sets in its environment first must hold.
"""

from __future__ import annotations

from ._program import Program, find_program
from ._run import run_program
from ._said import Said
from ._session import Asked

__all__ = ["Asked", "Program", "Said", "find_program", "run_program"]
