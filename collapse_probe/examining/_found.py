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
from ..retrieval import check_encoder, find_encoder

Kind = Literal["whole", "plain", "adapter"]

STATE = "trainer_state.json"
_ENDS_IN_NUMBER = re.compile(r"(?:^|[-_])(\d+)$")
_STEPS = re.compile(r"^(?:checkpoint|step)s?[-_](\d+)$")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finished model on this machine.

    Attributes:
        name: What it is called.
        folder: Where it lies.
        kind: ``whole`` for a sentence-transformers model, ``plain`` for a transformers model without pooling,
            ``adapter`` for what PEFT adds to a model.
        step: Optimiser steps of its training; None where unknown.
        counted: Whether the step is one of its training, once models stand in order.
        history: What its trainer logged: entries with ``step``, ``loss`` and so on.
    """

    name: str
    folder: Path
    kind: Kind
    step: int | None = None
    counted: bool = False
    history: Sequence[dict[str, Any]] = field(default=(), repr=False)


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
    path = Path(given).expanduser()
    if not path.exists():
        return [_named(given, cache)]
    if not path.is_dir():
        raise InputError(f"{given}: a file, where a model's folder is needed; give {path.parent}")
    if (path / "run.json").is_file():
        path = path / "model"
        if not path.is_dir():
            raise InputError(f"{given}: a run's folder without a saved model in it; give the folder of a model")
        return [_model(path, name=Path(given).name)]
    inside = _inside(path)
    own = [_model(path, name=_plain_name(path))] if _kind(path) else []
    if not inside and not own:
        _refuse(path)
    history = max((one.history for one in inside), key=len, default=())
    return [replace(one, history=history) for one in inside] + [
        replace(one, history=history or one.history) for one in own
    ]


def in_order(base: Found, models: Sequence[Found]) -> list[Found]:
    """Return models with their steps, and names of their own: counted by their training where all of them say."""
    known = [one.step for one in models if one.step is not None]
    if known and len(known) == len(models) - 1 and models[-1].step is None:
        # The model beside its checkpoints was saved when the training had ended.
        known.append(max(known) + 1)
    rising = len(known) == len(models) and known == sorted(set(known)) and known[0] > 0
    numbered = known if rising else range(1, len(models) + 1)
    return [
        replace(one, step=step, name=name, counted=rising and step > 0 and one.step == step)
        for one, step, name in zip([base, *models], [0, *numbered], _distinct([base, *models]), strict=True)
    ]


def _distinct(models: Sequence[Found]) -> list[str]:
    names = [one.name for one in models]
    longer = [
        f"{one.folder.resolve().parent.name}/{name}" if names.count(name) > 1 else name
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
    kind = _kind(folder) or _refuse(folder)
    return Found(name=name, folder=folder, kind=kind, **_trained(folder))


def _kind(folder: Path) -> Kind | None:
    if (folder / "adapter_config.json").is_file() and not any(folder.glob("model*.safetensors")):
        return "adapter"
    if (folder / "modules.json").is_file():
        return "whole"
    return "plain" if (folder / "config.json").is_file() else None


def _inside(folder: Path) -> list[Found]:
    """Return the checkpoints in a folder, by their numbers; folders of other names where none has that of a trainer."""
    folders = [one for one in folder.iterdir() if one.is_dir() and _kind(one)]
    named = [one for one in folders if one.name.startswith("checkpoint-")]
    if _kind(folder) and not named:
        return []
    found = [_model(one, name=one.name) for one in named or folders]
    # A name without a number is of the model that training ended with.
    return sorted(found, key=lambda one: (_number(one), one.name))


def _number(one: Found) -> float:
    number = _ENDS_IN_NUMBER.search(one.folder.name)
    return one.step if one.step is not None else int(number[1]) if number else float("inf")


def _trained(folder: Path) -> dict[str, Any]:
    """Return the step and the log of a checkpoint, as its trainer wrote them."""
    number = _STEPS.match(folder.name)
    step = int(number[1]) if number else None
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {"step": step}
    state = state if isinstance(state, dict) else {}
    known, log = state.get("global_step"), state.get("log_history")
    entries = [one for one in log if isinstance(one, dict)] if isinstance(log, list) else []
    return {"step": known if type(known) is int and known > 0 else step, "history": tuple(entries)}


def _plain_name(path: Path) -> str:
    return path.resolve().name or "model"


def _refuse(folder: Path) -> NoReturn:
    """Raise the error for a folder without a model, with what is wrong where that can be told."""
    there = sorted(one.name for one in folder.iterdir())
    if not there:
        raise InputError(f"{folder}: an empty folder; give a model's folder, or one with checkpoint-* in it")
    some = next((one for one in there if one.startswith("checkpoint-")), None)
    if some is not None:
        raise InputError(f"{folder}: no checkpoint in it holds a model ({some} has no config.json); save them again")
    check_encoder(folder)
    raise InputError(f"{folder}: no model in it; give a model's folder, or one with checkpoint-* in it")
