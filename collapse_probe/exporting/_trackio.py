"""Trackio, local: its own folder, or where it is set to."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from ..errors import InputError, setting
from ._described import Described
from ._export import Unreachable, Written

_DIR = "TRACKIO_DIR"
TIME = "wall_time"
"""Trackio stamps what is logged with the time of logging: the time of a step is a metric beside it."""


def writer(to: str) -> Callable[[Described, str | None, str], Written]:
    """Return what writes a run of a project.

    Raises:
        ModuleNotFoundError: trackio is not installed.
    """
    return _write


def _write(run: Described, into: str | None, project: str) -> Written:
    if into is not None:
        _set_folder(Path(into).resolve())
    import trackio
    from trackio.utils import TRACKIO_DIR

    if into is not None and Path(TRACKIO_DIR).resolve() != Path(into).resolve():
        raise InputError(f"{setting('into', into)}: trackio is loaded with {TRACKIO_DIR} already; leave it out")
    rows = list(run.rows())
    older = [one for one in _runs(trackio, project) if (one.config or {}).get("collapse_probe") == run.key]
    where = f"{TRACKIO_DIR} project {project}, run {run.name}"
    whole = (len(rows), len(run.alerts))
    if any((one.config or {}).get("content") == run.content and _count(project, one) == whole for one in older):
        return Written(where=where, fresh=False)
    # It prints, and takes what it cannot write for no failure: what was written is counted.
    with redirect_stdout(io.StringIO()):
        made = _log(trackio, run, rows, project)
        for one in older:
            one.delete()
    if _count(project, made) != whole:
        raise Unreachable(f"trackio did not keep all of {run.name} in {TRACKIO_DIR}")
    note = f"Trackio takes no wall time: the metric {TIME} has it, in seconds since 1970"
    return Written(where=where, notes=[note])


def _set_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if "trackio" not in sys.modules:
        os.environ[_DIR] = str(folder)


def _runs(trackio: Any, project: str) -> list[Any]:
    try:
        return list(trackio.Api().runs(project))
    except ValueError:  # no such project yet
        return []


def _count(project: str, run: Any) -> tuple[int, int]:
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs(project, run.name, run_id=run.id)
    return len(logs), len(SQLiteStorage.get_alerts(project, run_name=run.name, run_id=run.id))


def _log(trackio: Any, run: Described, rows: list[tuple[int, float, dict[str, float]]], project: str) -> Any:
    config = {
        "collapse_probe": run.key,
        "content": run.content,
        "verdict": run.status,
        "steps": run.steps,
        "first_screen": run.summary,
        "card": run.card,
    }
    # The user's own active run, where there is one, stays what it is.
    active = trackio.context_vars.current_run.get()
    own = trackio.init(
        project=project, name=run.name, config=config, embed=False, auto_log_gpu=False, auto_log_cpu=False
    )
    for step, time, values in rows:
        own.log({**values, TIME: time}, step=step)
    for one in run.alerts:
        level = trackio.AlertLevel.ERROR if one.status == "critical" else trackio.AlertLevel.WARN
        own.alert(title=one.title, text=one.text, level=level, step=one.step)
    trackio.finish()
    trackio.context_vars.current_run.set(active)
    return own
