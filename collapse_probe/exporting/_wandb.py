"""Weights & Biases: an offline run, which ``wandb sync`` sends wherever the user wants it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

from ._described import Described
from ._export import Unreachable, Written

MARK = "collapse_probe.json"
"""Written into the folder of an offline run when it is complete: the content that it has."""


_BLOCK, _PAUSE, _STILL, _TRIES = 32768, 0.1, 8, 300


def writer(to: str) -> Callable[[Described, str | None, str], Written]:
    """Return what writes an offline run.

    Raises:
        ModuleNotFoundError: wandb is not installed.
    """
    import wandb  # noqa: F401

    return _write


def _write(run: Described, into: str | None, project: str) -> Written:
    parent = Path(into or os.environ.get("WANDB_DIR") or ".")
    identity = f"cp-{run.key}"
    before = [one for one in parent.glob(f"wandb/offline-run-*-{identity}") if one.is_dir()]
    for one in before:
        if _content(one) == [run.content, project]:
            return Written(where=str(one), fresh=False)
    parent.mkdir(parents=True, exist_ok=True)
    place = Path(_log(run, parent, identity, project)).parent
    _settle(place)
    (place / MARK).write_text(json.dumps([run.content, project]) + "\n", encoding="utf-8")
    for one in before:
        if one.resolve() != place.resolve():
            shutil.rmtree(one, ignore_errors=True)
    return Written(where=str(place), notes=[f"to send it: wandb sync {place}"])


def _content(folder: Path) -> Any:
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _log(run: Described, parent: Path, identity: str, project: str) -> str:
    import wandb

    quiet = wandb.Settings(
        silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
    )
    # The user's own active run, where there is one, stays what it is.
    own = wandb.init(
        project=project,
        id=identity,
        name=run.name,
        dir=str(parent),
        mode="offline",
        reinit="create_new",
        config={"steps": run.steps, "began": run.times.began},
        settings=quiet,
    )
    for step, time, values in run.rows():
        own.log({**values, "_timestamp": time}, step=step)
    for one in run.alerts:
        level = wandb.AlertLevel.ERROR if one.status == "critical" else wandb.AlertLevel.WARN
        own.alert(title=one.title, text=f"{one.text} (step {one.step:,})", level=level)
    own.summary.update({"verdict": run.status, "first_screen": run.summary, "card": run.card})
    own.finish()
    return own.dir


def _settle(folder: Path) -> None:
    """Wait until the library's own process has written the file out, which can be after its ``finish`` (0.31).

    It writes whole blocks, and the rest of the last one when it is done.
    """
    sizes: list[int] = []
    for _ in range(_TRIES):
        sizes.append(sum(one.stat().st_size for one in folder.glob("*.wandb")))
        if sizes[-1] % _BLOCK and len(sizes) >= _STILL and len(set(sizes[-_STILL:])) == 1:
            return
        sleep(_PAUSE)
    raise Unreachable(f"wandb did not finish writing {folder}")
