"""From what was named to the folders of finished models, in the order of their training. Imports no torch."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from ..errors import InputError
from ..retrieval import check_encoder, find_encoder, no_folder

Kind = Literal["whole", "plain", "adapter", "none"]

STATE = "trainer_state.json"
_ENDS_IN_NUMBER = re.compile(r"(?:^|[-_])(\d+)$")
_LONGEST_NAME = 60
_STEPS = re.compile(r"^(?:checkpoint|step)s?[-_](\d+)$")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finished model on this machine.

    Attributes:
        name: What it is called.
        folder: Where it lies.
        kind: ``whole`` for a sentence-transformers model, ``plain`` for a transformers model without pooling,
            ``adapter`` for what PEFT adds to a model, ``none`` for a checkpoint without a model.
        step: Optimiser steps of its training; None where unknown.
        counted: Whether the step is one of its training, once models stand in order.
        history: What its trainer logged: entries with ``step``, ``loss`` and so on.
        among: Whether it is one of several in a folder that was given, so that the others do without it.
    """

    name: str
    folder: Path
    kind: Kind
    step: int | None = None
    counted: bool = False
    history: Sequence[dict[str, Any]] = field(default=(), repr=False)
    among: bool = False


def find_base(given: str, *, cache: Path) -> Found:
    """Return what the others began as.

    Raises:
        InputError: it is none, or several models.
    """
    found = find_models(given, cache=cache)
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:3])
        raise InputError(
            f"{given}: holds {len(found)} models ({names}), and what the others began as is one model; "
            f"give one of them, such as {found[0].folder}"
        )
    return replace(found[0], step=0, history=())


def find_models(given: str, *, cache: Path) -> list[Found]:
    """Return the models that a folder or a name stands for, in the order of their steps.

    A trainer's output folder has every ``checkpoint-*`` of its own, and after them the model in the folder itself.

    Raises:
        InputError: there is none.
    """
    if not given.strip():
        raise InputError("an empty name, where a model's folder or name is needed")
    try:
        path = Path(given).expanduser()
        return _below(given, path) if path.exists() else [_named(given, cache)]
    except OSError as error:
        raise InputError(f"{given}: cannot be read ({error.strerror or error})") from None


def _below(given: str, path: Path) -> list[Found]:
    if not path.is_dir():
        raise no_folder(path)
    if (path / "run.json").is_file():
        path = path / "model"
        if not path.is_dir():
            raise InputError(f"{given}: a run's folder without a saved model in it; give the folder of a model")
        return [_model(path, name=Path(given).name)]
    path = _snapshot(path)
    inside = _inside(path)
    own = [_model(path, name=_plain_name(path))] if _kind(path) else []
    if not own and all(one.kind == "none" for one in inside):
        refuse(path)
    history = max((one.history for one in inside), key=len, default=())
    found = [replace(one, history=history or one.history) for one in (*inside, *own)]
    return [replace(one, among=len(found) > 1) for one in found]


def _snapshot(path: Path) -> Path:
    """Return the folder of the files of a model in the hub's cache, which keeps one for every version.

    Raises:
        InputError: there are several, and none is the main one.
    """
    versions = sorted(one for one in path.glob("snapshots/*") if one.is_dir())
    if not versions or _kind(path):
        return path
    try:
        main = path / "snapshots" / (path / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        main = versions[0]
        if len(versions) > 1:
            names = ", ".join(one.name for one in versions[:3])
            raise InputError(f"{path}: {len(versions)} versions of a model ({names}); give one of them") from None
    return main if main in versions else versions[-1]


def in_order(base: Found, models: Sequence[Found]) -> list[Found]:
    """Return models with their steps, and names of their own: counted by their training where all of them say."""
    known = [one.step for one in models if one.step is not None]
    if known and all(one.step is None for one in models[len(known) :]):
        # Models beside the checkpoints were saved when the training had ended.
        known += range(max(known) + 1, max(known) + 1 + len(models) - len(known))
    rising = len(known) == len(models) and known == sorted(set(known)) and known[0] > 0
    numbered = known if rising else range(1, len(models) + 1)
    return [
        replace(one, step=step, name=name, counted=rising and step > 0 and one.step == step)
        for one, step, name in zip([base, *models], [0, *numbered], _distinct([base, *models]), strict=True)
    ]


def shown(name: str) -> str:
    r"""Return a folder's name as one can print it: in one line, without what moves a cursor, both ends of a long one.

    >>> shown("two\nlines"), len(shown("x" * 200))
    ('two?lines', 60)
    """
    flat = "".join(one if one.isprintable() else "?" for one in name)
    return flat if len(flat) <= _LONGEST_NAME else f"{flat[: _LONGEST_NAME // 2]}…{flat[1 - _LONGEST_NAME // 2 :]}"


def _distinct(models: Sequence[Found]) -> list[str]:
    names = [shown(one.name) for one in models]
    longer = [
        f"{shown(one.folder.resolve().parent.name)}/{name}" if names.count(name) > 1 else name
        for one, name in zip(models, names, strict=True)
    ]
    return [
        f"{name} ({longer[:at].count(name) + 1})" if longer.count(name) > 1 else name for at, name in enumerate(longer)
    ]


def _named(given: str, cache: Path) -> Found:
    folder, name = find_encoder(given, cache=cache)
    if folder is None:
        there = [one.name for one in Path().iterdir() if one.is_dir()]
        near = difflib.get_close_matches(given, [*there, "all-MiniLM-L6-v2"], n=1)
        hint = f"did you mean {near[0]}? Else " if near else ""
        raise InputError(
            f"{given}: no such folder, and no model of that name on this machine; {hint}give a model's folder"
        )
    return _model(folder, name=name.rpartition("/")[2])


def _model(folder: Path, *, name: str) -> Found:
    kind = _kind(folder) or refuse(folder)
    return Found(name=name, folder=folder, kind=kind, **_trained(folder))


def _kind(folder: Path) -> Kind | None:
    if (folder / "adapter_config.json").is_file() and not any(folder.glob("model*.safetensors")):
        return "adapter"
    if (folder / "modules.json").is_file():
        return "whole"
    return "plain" if (folder / "config.json").is_file() else None


def _inside(folder: Path) -> list[Found]:
    """Return the checkpoints in a folder by their numbers, then models without one, which training ended with.

    In a folder that is a model itself, others are its parts. A checkpoint without a model in it is kept, to be named.
    """
    folders = [one for one in folder.iterdir() if one.is_dir()]
    named = [one for one in folders if one.name.startswith("checkpoint-")]
    if _kind(folder):
        taken = named
    else:
        others = [one for one in folders if one not in named and _kind(one)]
        taken = [*named, *(one for one in others if not named or not _ENDS_IN_NUMBER.search(one.name))]
    found = [
        Found(
            name=one.name,
            folder=one,
            kind=_kind(one) or "none",
            **_trained(one, final=bool(named) and one not in named),
        )
        for one in taken
    ]
    return sorted(found, key=lambda one: (_number(one), one.name))


def _number(one: Found) -> float:
    return _of_name(one.folder.name) if one.step is None else one.step


def _of_name(name: str) -> float:
    number = _ENDS_IN_NUMBER.search(name)
    return int(number[1]) if number else float("inf")


def _trained(folder: Path, *, final: bool = False) -> dict[str, Any]:
    """Return the step and the log of a checkpoint, as its trainer wrote them; no step of a model that is final."""
    number = _STEPS.match(folder.name)
    step = int(number[1]) if number else None
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {"step": step}
    state = state if isinstance(state, dict) else {}
    known, log = state.get("global_step"), state.get("log_history")
    entries = [one for one in log if isinstance(one, dict)] if isinstance(log, list) else []
    step = known if type(known) is int and known > 0 else step
    return {"step": None if final else step, "history": tuple(entries)}


def _plain_name(path: Path) -> str:
    place = path.resolve()
    if place.parent.name == "snapshots" and place.parent.parent.name.startswith("models--"):
        return place.parent.parent.name.rpartition("--")[2]
    return place.name or "model"


def refuse(folder: Path) -> NoReturn:
    """Raise the error for a folder without a model, with what is wrong where that can be told."""
    there = sorted(one.name for one in folder.iterdir())
    if not there:
        raise InputError(f"{folder}: an empty folder; give a model's folder, or one with checkpoint-* in it")
    some = [one for one in there if one.startswith("checkpoint-") and (folder / one).is_dir()]
    if not some and not any(folder.glob("*.safetensors")):
        # Checkpoints by other names, with weights and nothing that says what they are of.
        some = sorted((one.parent.name for one in folder.glob("*/*.safetensors")), key=_of_name)
    if some:
        inside = folder / some[-1]
        if any(inside.iterdir()):
            refuse(inside)
        raise InputError(f"{folder}: no checkpoint in it holds a model ({some[-1]} is empty); save them again")
    deeper = next((one.parent for one in sorted(folder.glob("*/checkpoint-*")) if one.is_dir()), None)
    if deeper is not None:
        raise InputError(f"{folder}: no model in it, and {deeper.name} has checkpoints; give {deeper}")
    cached = next((one for one in there if one.startswith("models--")), None)
    if cached is not None:
        raise InputError(f"{folder}: a cache of the hub, where one model is needed; give {folder / cached}")
    check_encoder(folder)
    raise InputError(f"{folder}: no model in it; give a model's folder, or one with checkpoint-* in it")
