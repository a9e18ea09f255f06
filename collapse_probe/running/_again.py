"""A program that starts itself again, for the other processes of its training: they are started under ``run``, too."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_RANKS = ("RANK", "LOCAL_RANK")
"""Where a process finds which of a training's it is."""

_FLAGS = ("-u", "-B")
"""Flags of Python that launchers give; with others the program is started as it is."""


def start_again_watched(ours: Sequence[str], started: Callable[[], None]) -> Callable[[], None]:
    """Start a program's own further processes under ``run``, until what is returned is called.

    Args:
        ours: What of the command line stands before the program, ``run`` first, and ``-m`` left out.
        started: Called when such a process is about to be started.

    Returns:
        What undoes it.
    """
    kind, process = subprocess.Popen, os.getpid()
    inner = kind.__init__

    @functools.wraps(inner)
    def __init__(popen: Any, *given: Any, **kwargs: Any) -> None:
        watched = None
        # A command can be anything: what cannot be told is started as it is.
        with suppress(Exception):
            if os.getpid() == process and len(given) == 1 and not kwargs.get("shell") and not kwargs.get("executable"):
                watched = watched_command(given[0], kwargs.get("env"), kwargs.get("cwd"), ours)
        if watched is not None:
            started()
            given = (watched,)
        inner(popen, *given, **kwargs)

    kind.__init__ = __init__  # type: ignore[method-assign]

    def undo() -> None:
        if kind.__init__ is __init__:
            kind.__init__ = inner  # type: ignore[method-assign]

    return undo


def watched_command(
    command: Any, environment: Mapping[str, str] | None, folder: Any, ours: Sequence[str]
) -> list[str] | None:
    """Return a command under ``run``, if it starts this program again as another process of its training; else None.

    Args:
        command: What is to be started.
        environment: The environment of what is started; None for that of this process.
        folder: Where it is started; None for where this process is.
        ours: As in :func:`start_again_watched`.
    """
    if environment is None or not any(environment.get(name) not in (None, os.environ.get(name)) for name in _RANKS):
        return None
    python, *rest = [os.fspath(one) for one in command]
    if python != sys.executable:
        return None
    flags = [rest.pop(0) for _ in range(len(rest)) if rest and rest[0] in _FLAGS]
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    same_module = spec is not None and spec.name != "__main__" and rest[:2] == ["-m", spec.name]
    same_script = bool(rest) and spec is None and file is not None and _is_same(rest[0], file, folder)
    if not same_module and not same_script:
        return None
    return [python, *flags, "-c", _start(), *ours, *rest]


def _is_same(script: str, file: str, folder: Any) -> bool:
    script = os.path.join(folder or os.getcwd(), script)
    return os.path.isfile(script) and os.path.samefile(script, file)


def _start() -> str:
    """Return code that runs the command line as ``-m collapse_probe`` does, wherever it is started."""
    package = __name__.partition(".")[0]
    beside = "" if sys.flags.safe_path else f"sys.path[0] = {os.path.dirname(sys.executable)!r}; "
    here = str(Path(__file__).resolve().parents[2])
    found = f"from importlib.util import find_spec; find_spec({package!r}) or sys.path.append({here!r}); "
    return f"import sys; {beside}{found}from {package}.cli import main; main()"
