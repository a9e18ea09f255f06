"""Journals and configurations of schemas 1 and 2, read as what they would be today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ._config import CollectionInfo, RunConfig, StreamInfo
from ._fields import FieldError
from .vocabulary import modern_reading

_SUMMARIES = (".first", ".last", ".mean", ".max")


def modern_line(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of schema 1 or 2 as one of schema 3.

    Raises:
        FieldError: a field that is needed is missing, or of a wrong type.
    """
    kind = content.get("kind")
    line = {key: value for key, value in content.items() if key not in ("schema", "kind")}
    if kind == "reading":
        return _readings(line)
    if kind in ("histogram", "spectrum"):
        name, on = _named(line)
        return {**line, "kind": kind, "name": name, "on": on}
    if kind in ("evaluation", "counterfactual"):
        return {**line, "kind": kind, "variant": line.pop("path", None)}
    if kind == "coverage":
        return {**line, "kind": kind, "stream": line.pop("tap", None)}
    if kind == "event" and line.get("name") == "checkpoint":
        return {**line, "kind": "artifact", "path": line.get("message")}
    if kind == "event" and line.get("name") == "nan_loss":
        return {**line, "kind": kind, "name": "not_finite", "subject": "loss/total", "step": _after(line, "step")}
    if kind == "start":
        return {"kind": kind, "schema": content.get("schema"), "time": line.get("time", "")}
    return {**line, "kind": kind}


def modern_config(content: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a ``run.json`` of schema 1 or 2.

    Raises:
        FieldError: a field is missing, or of a wrong type.
    """
    recipe = _mapping(content, "recipe")
    pairs = _mapping(content, "pairs")
    modules = _mapping(content, "modules")
    trains = bool(pairs)
    where = {"similarity": recipe.get("similarity"), "trained_by": recipe.get("similarity")}
    values: dict[str, Any] = {
        key: content[key]
        for key in ("name", "seed", "device", "precision", "threads", "command", "versions", "probes")
        if content.get(key) is not None
    }
    values |= {key: value for key, value in where.items() if value is not None}
    values["judged"] = recipe.get("scoring_path", "no_predictor")
    values["trains"] = trains
    values["streams"] = [_plain(one) for one in founding_streams(recipe)] if trains else []
    values["modules"] = [
        {"name": name, "trained": entry.get("trained"), "scored": entry.get("on_evaluated_path")}
        for name, entry in modules.items()
        if isinstance(entry, Mapping)
    ]
    values["collections"] = [_collection(entry) for entry in _list(content, "collections")]
    if content.get("development"):
        values["development"] = _collection(content["development"])
    if trains:
        values["reference"] = {"source": "training pairs", "seen": True}
        values["examples"] = pairs.get("train")
    values["session"] = {
        key: content[key]
        for key in ("recipe", "encoder", "pairs", "options", "preflight", "embedded", "raw_similarity", "git", "watch")
        if key in content
    }
    return RunConfig.from_json(values)


def founding_streams(recipe: Mapping[str, Any]) -> list[StreamInfo]:
    """Return the streams that the founding system declares."""
    streams = [StreamInfo(name="query", role="query"), StreamInfo(name="document", role="document")]
    if recipe.get("predictor") == "residual":
        streams += [StreamInfo(name="delta", role="correction"), StreamInfo(name="alpha", role="gate")]
    return streams


def _readings(line: dict[str, Any]) -> dict[str, Any]:
    name, on = _named(line)
    value = line.get("value")
    sample = {key: line[key] for key in ("epoch", "n", "dimension", "dtype") if key in line}
    suffix = next((one for one in _SUMMARIES if name.endswith(one)), None)
    if suffix is not None:
        values: dict[str, Any] = {name.removesuffix(suffix): {suffix[1:]: value}}
        return {"kind": "summary", "step": line.get("step"), "on": on, "values": values, **sample}
    if on == "batch":
        # Steps were counted by those done before.
        step = _after(line, "step")
        if name.startswith(("loss/", "gradient/")):
            return {"kind": "terms", "step": step, "values": {name: value}, "epoch": line.get("epoch")}
    else:
        step = line.get("step")
    return {"kind": "readings", "step": step, "on": on, "values": {name: value}, **sample}


def _named(line: Mapping[str, Any]) -> tuple[str, str]:
    name = line.get("name")
    if not isinstance(name, str):
        raise FieldError(f"name is {name!r}, where a text is needed")
    try:
        return modern_reading(name)
    except InputError as error:
        raise FieldError(str(error)) from None


def _after(line: Mapping[str, Any], key: str) -> Any:
    step = line.get(key)
    return step + 1 if type(step) is int else step


def _collection(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    known = {key: entry[key] for key in CollectionInfo.__dataclass_fields__ if entry.get(key) is not None}
    return known


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key) or {}
    if not isinstance(value, Mapping):
        raise FieldError(f"{key} is a {type(value).__name__}, where an object is needed")
    return value


def _list(content: Mapping[str, Any], key: str) -> list[Any]:
    value = content.get(key) or []
    if not isinstance(value, list):
        raise FieldError(f"{key} is a {type(value).__name__}, where a list is needed")
    return value


def _plain(stream: StreamInfo) -> dict[str, Any]:
    return {"name": stream.name, "role": stream.role}
