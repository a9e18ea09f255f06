"""Where a watched run is written, and what is known of it before its first step."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shlex
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ..errors import InputError
from ..journal import JournalError, JournalWriter, ModuleInfo, Run, fresh_folder, is_plain_name, versions_of
from ..journal.vocabulary import Role
from ..recording import Place, Wishes, canonical, process_rank
from ._options import Prepared

_claims: weakref.WeakValueDictionary[Path, Any] = weakref.WeakValueDictionary()
"""Folders that were chosen and in which nothing is written yet, and whose they are."""

IN_MEMORY = "run= is a run that is kept in memory: give the folder of one, Run.load(folder)"

_PACKAGES = ("collapse-probe", "torch", "transformers", "sentence-transformers", "accelerate", "numpy")


def choose_folder(
    run: str | os.PathLike[str] | bool | None, *, name: str, owner: Any = None
) -> tuple[Path | None, str]:
    """Return a new folder for a run, and what is to be said about it.

    Its path is absolute: the program may go to another folder while it trains.

    A folder that exists is never written into, unless it is empty and nobody's yet: a number is added to its name.

    Args:
        run: A folder; None for ``runs/NAME``; False for none at all.
        name: What stands for NAME.
        owner: Whose it is from now on, as long as nothing is written, until :func:`release`; None writes at once.

    Raises:
        InputError: a path that cannot be a folder's, or that cannot be written.
    """
    if run is False or not is_main_process():
        return None, ""
    if run is True or not isinstance(run, str | os.PathLike | None):
        raise InputError(f"run={run!r}: give a folder, None for runs/{name}, or False to keep the run in memory")
    asked = Path("runs") / name if run is None else Path(run)
    if not is_plain_name(asked.name):
        raise InputError(f"run={str(run)!r}: give the path of a folder that can be made, such as runs/mine")
    if run is not None and asked.is_file():
        raise InputError(f"run={str(run)!r}: is a file, where a folder is needed; choose another name")
    try:
        empty = asked.is_dir() and asked.absolute() not in _claims and not any(asked.iterdir())
        folder = asked if empty else fresh_folder(asked.parent, asked.name)
    except OSError as error:
        raise InputError(f"run={str(asked)!r}: cannot be made ({error.strerror})") from None
    if owner is not None:
        _claims[folder.absolute()] = owner
    said = "" if folder == asked else f"{in_short(asked)} exists, so this run is written to {in_short(folder)}"
    return folder.absolute(), said


def output_of(trainer: Any) -> str | None:
    """Return what tells a trainer's checkpoints from those of another: a digest of where it writes them."""
    folder = getattr(getattr(trainer, "args", None), "output_dir", None)
    return None if folder is None else hashlib.sha256(str(Path(folder).absolute()).encode()).hexdigest()[:16]


def run_of_output(output: str | None, asked: Path) -> Path:
    """Return the run of a trainer's checkpoints: the one in a folder, or in one of its name and a number."""
    for folder in (asked, *sorted(asked.parent.glob(f"{glob.escape(asked.name)}-*"))):
        try:
            known = (folder / "run.json").is_file() and Run.load(folder).config.session.get("output")
        except JournalError:
            continue
        if output is not None and known == output:
            return folder
    return asked


def in_short(folder: Path) -> Path:
    """Return a folder's path from where the program is, where that is above it."""
    try:
        return folder.relative_to(Path.cwd())
    except (ValueError, FileNotFoundError):  # it is elsewhere; where the program is has been deleted
        return folder


def release(folder: Path, owner: Any) -> None:
    """Let a folder be anybody's again, if it is the owner's."""
    if _claims.get(folder.absolute()) is owner:
        del _claims[folder.absolute()]


def continue_run(run: Run, wishes: Wishes) -> Prepared:
    """Return a run that another watch began, to go on with after its last step.

    Raises:
        InputError: it is kept in memory alone.
        JournalError: it is still being written, or cannot be.
    """
    if run.folder is None:
        raise InputError(IN_MEMORY)
    folder = run.folder.absolute()
    journal = JournalWriter(folder, lasting=True)
    try:
        known = Run.load(folder)
    except BaseException:
        journal.close()
        raise
    journal.store = known.store
    return Prepared(known.config, journal, wishes, done=known.steps, epoch=None)


def model_name(target: Any) -> str:
    """Return a plain name for a model: its class's, inside of what wraps or compiled it, in lower case with dashes.

    >>> model_name(nn.Linear(1, 1))
    'linear'
    """
    target = target.module if isinstance(target, DataParallel | DistributedDataParallel) else target
    name = type(getattr(target, "_orig_mod", target)).__name__
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return re.sub(r"[^a-z0-9-]+", "-", words.lower()).strip("-") or "model"


def module_infos(target: nn.Module, groups: Sequence[str], scored: Sequence[Place] = ()) -> tuple[ModuleInfo, ...]:
    """Return the trained groups, and the children that no optimiser trains.

    Args:
        target: The model.
        groups: Names of its trained parts.
        scored: Places of streams: what is inside of a query's or a document's module is scored.
    """
    sides = [one.path for one in scored if one.module is not None and one.tap.role in (Role.query, Role.document)]
    trained = {canonical(name) for name in groups}
    frozen = [
        canonical(name)
        for name, child in target.named_children()
        if any(True for _ in child.parameters())
        and not any(one == name or one.startswith(f"{name}.") for one in trained)
    ]
    names = {**dict.fromkeys(groups, True), **dict.fromkeys(frozen, False)}
    inside = {name for name in names for side in sides if side and f"{canonical(name)}.".startswith(f"{side}.")}
    return tuple(
        ModuleInfo(name=name, trained=trained, scored=True if name in inside else None)
        for name, trained in names.items()
    )


def is_main_process() -> bool:
    """Return whether this process is the one that writes: rank 0."""
    return process_rank() == 0


def versions() -> dict[str, str]:
    """Return the versions of what matters, of those that are installed."""
    return versions_of(_PACKAGES)


def command(*, arguments: bool = True) -> str:
    """Return what was typed: with the program's arguments, or without."""
    return shlex.join([Path(sys.executable).name, *(sys.argv if arguments else sys.argv[:1])])
