"""One call for every target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..diagnosis import as_run
from ..errors import InputError, naming_extras, setting, unknown_name
from ._described import Described, described

TARGETS = {
    "tensorboard": "an event file that TensorBoard shows",
    "wandb": "an offline run of Weights & Biases, for `wandb sync`",
    "mlflow": "a run of an MLflow experiment",
    "trackio": "a run of a Trackio project",
    "csv": "readings.csv, findings.csv and the model card's section",
    "parquet": "the same as Parquet",
}
"""Every target, and what is written."""

PROJECT = "collapse-probe"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export did.

    Attributes:
        where: Where it lies: a folder, or how the library names it.
        fresh: Whether anything was written; False where the same was there already.
        points: Numbers of the run.
        lines: Series of the run.
        alerts: Findings, each of which is one alert.
        notes: What the target has not, or has otherwise.
    """

    where: str
    fresh: bool
    points: int
    lines: int
    alerts: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a target says of its export.

    Attributes:
        where: As in :class:`Exported`.
        fresh: As in :class:`Exported`.
        notes: As in :class:`Exported`.
    """

    where: str
    fresh: bool = True
    notes: list[str] = field(default_factory=list)


class Unreachable(OSError):
    """A library could not write where it should: no such server, or a refusal. The journal has everything."""


def export(run: Any, *, to: str, into: str | Path | None = None, project: str | None = None) -> Exported:
    """Write a run into another program's files, through that program's library; once, however often it is called.

    Args:
        run: A run folder's path, a ``Run`` or a ``Watch``; or one that is :func:`described`, for several targets.
        to: One of ``TARGETS``.
        into: Where: the log folder (tensorboard), the folder of ``wandb/`` (wandb), a tracking URI or a folder
            (mlflow), Trackio's folder (trackio), a folder (csv, parquet). None for the library's own setting, and for
            ``exports/TARGET`` where it has none.
        project: Project of wandb and trackio, experiment of mlflow; None for ``collapse-probe``.

    Raises:
        InputError: no such run, no such target, or a library that is not installed; the message names the extra.
        Unreachable: the library could not write.
    """
    if to not in TARGETS:
        raise unknown_name("target", to, TARGETS)
    if project is not None and to in ("tensorboard", "csv", "parquet"):
        raise InputError(f"{setting('project')}: {to} has no projects; leave it out")
    if into is not None and to != "mlflow" and Path(into).is_file():
        raise InputError(f"{setting('into', into)} is a file, where a folder is needed")
    with naming_extras():
        write: Callable[[Described, str | None, str], Written] = import_module(
            f"._{'files' if to in ('csv', 'parquet') else to}", __package__
        ).writer(to)
        told = run if isinstance(run, Described) else described(as_run(run))
        written = write(told, None if into is None else str(into), project or PROJECT)
    notes = list(written.notes)
    if not told.times.exact:
        notes.append("wall times between the beginning, evaluations and the end are in proportion to steps")
    return Exported(
        where=written.where,
        fresh=written.fresh,
        points=told.points,
        lines=len(told.lines),
        alerts=len(told.alerts),
        notes=tuple(notes),
    )
