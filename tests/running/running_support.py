"""Programs that are run by Python and by ``collapse-probe run``, and what both did."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collapse_probe.cli._flags import as_flag
from collapse_probe.errors import spelt
from collapse_probe.running import Asked, Program, Said
from collapse_probe.running._session import Session

PROBE = [sys.executable, "-m", "collapse_probe", "run"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
QUIET.pop("OMP_WAIT_POLICY", None)


def ran(command: list[str], folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=QUIET, timeout=120, **more)


def both(folder: Path, source: str, *arguments: str, **more: Any) -> list[subprocess.CompletedProcess[str]]:
    """Run a script by Python and by us."""
    (folder / "script.py").write_text(source)
    return [ran([*start, "script.py", *arguments], folder, **more) for start in ([sys.executable], PROBE)]


def without_ours(text: str) -> str:
    """Return what a program itself wrote to standard error."""
    return "".join(line for line in text.splitlines(True) if not line.startswith("collapse-probe: "))


class Heard(Said):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(spell=lambda text: spelt(text, as_flag))
        self.lines: list[str] = []

    def block(self, text: str) -> None:
        self.lines += text.splitlines()


@contextmanager
def session(folder: Path, **options: Any) -> Iterator[tuple[Session, Heard]]:
    """Hear the optimisers of this process, as while a program runs."""
    said = Heard()
    found = Session(Program("mine", "mine.py", lambda: None), Asked(run=folder, options=options), said)
    found.begin()
    try:
        yield found, said
    finally:
        found.finish()
        found.close()
