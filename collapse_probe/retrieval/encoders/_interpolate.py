"""A model on the straight line between two others: of their weights, file by file."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, naming_extras
from ...journal import atomic_write_text
from ._files import UNREAD_FOLDERS, files_below, read_json, sha256
from ._find import default_cache, find_encoder
from ._recognise import check_weights

if TYPE_CHECKING:
    from torch import Tensor

SHARES = (0.25, 0.5, 0.75)
"""Shares of the way from the first model to the last that are scored; 0 is the first, and 1 the last."""

NOTE = "interpolation.json"
"""In the folder of an interpolated model: what it was made of."""

_STATE_NAMES = {"trainer_state.json", "training_args.bin", "selection.json", ".lock"}
_STATE_STARTS = ("optimizer.", "scheduler.", "scaler.", "rng_state", "random_state_", "events.out.")
_OTHER_WEIGHTS = {".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".gguf"}
_SHOWN = 2
_NEEDED = "give two models of one architecture, such as a checkpoint and the model that its training began with"


def interpolate(start: str | Path, end: str | Path, t: float, folder: str | Path) -> Path:
    """Write the model with the weights ``start + t * (end - start)`` into a new folder. Nothing is trained for it.

    A part of the way from the model that a training began with to the trained one often keeps most of what was learnt
    and loses less of the rest. Both are folders with the same tensors of the same shapes: sentence-transformers models,
    plain transformers models (in one file or several), or checkpoints of a run of ours. The new folder is loaded as
    ``end`` is. It holds the files of ``end``, without what belongs to its training (optimiser, schedule, random states)
    and without copies of its weights in other formats; ``interpolation.json`` says what it was made of. It is there
    whole or not at all.

    Weights are interpolated in float32 and keep the type that they have in ``end``. Tensors of whole numbers or truth
    values (positions, counters) are those of ``end``, whether ``start`` has them or not: nothing lies between them.

    Args:
        start: A model's folder, or the name of one that is on this machine; what ``t=0`` gives.
        end: The same; what ``t=1`` gives.
        t: From 0 to 1.
        folder: Where the model goes; it must not exist.

    Returns:
        The folder.

    Raises:
        InputError: the two cannot be interpolated, ``t`` is out of range, or the folder exists.

    >>> import torch
    >>> from safetensors.torch import load_file, save_file
    >>> with tempfile.TemporaryDirectory() as place:
    ...     for name, value in {"a": 0.0, "b": 4.0}.items():
    ...         Path(place, name).mkdir()
    ...         save_file({"weight": torch.full((2,), value)}, f"{place}/{name}/model.safetensors")
    ...     folder = interpolate(f"{place}/a", f"{place}/b", 0.25, f"{place}/c")
    ...     load_file(folder / "model.safetensors")["weight"].tolist()
    [1.0, 1.0]
    """
    share, target = _checked(t), Path(folder).expanduser()
    if target.exists() or target.is_symlink():
        raise InputError(f"{target}: already exists; choose another name")
    ends = {name: _found(name, given) for name, given in (("start", start), ("end", end))}
    for name, place in ends.items():
        _check(place, ends["end" if name == "start" else "start"])
    with naming_extras():
        import safetensors  # noqa: F401  (said in one line where it is missing)
    kept, left_out = _other_files(ends["end"])
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        for name in kept:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ends["end"] / name, made / name)
        counted = _write_weights(ends["start"], ends["end"], share, made)
        given = {"start": start, "end": end}
        made_of = {name: {"model": str(given[name]), "sha256": _digests(place)} for name, place in ends.items()}
        note = {"t": share, "weights": "start + t * (end - start)", **made_of, **counted, "left_out": left_out}
        atomic_write_text(made / NOTE, json.dumps(note, indent=2) + "\n")
        _tell(made / "README.md", share, given)
        made.chmod(0o755)
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return target


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], t: float) -> dict[str, Tensor]:
    """Return ``start + t * (end - start)`` of two state dictionaries with the same names, exact at 0 and 1.

    Computed in float32 at least; dtypes, and tensors that are not of floating point, are those of ``end``.

    Args:
        start: Name to tensor.
        end: The same names and shapes.
        t: Usually in [0, 1].

    >>> import torch
    >>> between({"a": torch.zeros(2)}, {"a": torch.ones(2)}, 0.25)["a"].tolist()
    [0.25, 0.25]
    """
    return {name: _between(start[name], tensor, t) for name, tensor in end.items()}


def _between(start: Tensor, end: Tensor, t: float) -> Tensor:
    import torch

    if not end.is_floating_point():
        return end.clone()
    exact = torch.promote_types(torch.float32, torch.promote_types(start.dtype, end.dtype))
    return torch.lerp(start.to(exact), end.to(exact), t).to(end.dtype)


def _checked(t: Any) -> float:
    number = isinstance(t, int | float) and not isinstance(t, bool)
    if not number or not math.isfinite(t) or not 0 <= t <= 1:
        raise InputError(f"t is {t!r}: a number from 0 (the start) to 1 (the end) is needed, such as 0.25")
    return float(t)


def _found(name: str, given: str | Path) -> Path:
    """Return the folder of a model: a path, or the name of one that is on this machine."""
    try:
        path = Path(given).expanduser()
        folder = path if path.exists() else find_encoder(str(given), cache=default_cache())[0]
    except InputError as error:
        # `find_encoder` speaks of an encoder, which is what it is used for elsewhere.
        raise InputError(error.told(lambda _, value: name if value is None else f"{name}={value}")) from None
    if folder is None:
        raise InputError(f"{name}={given}: no such folder, and no model of that name on this machine; give its folder")
    if not folder.is_dir():
        raise InputError(f"{name}={folder}: a file, where a model's folder is needed; give {folder.parent}")
    return folder


def _check(folder: Path, other: Path) -> None:
    """Refuse a folder whose weights are no plain tensors of a whole model."""
    if (folder / "run.json").is_file():
        inside = [one.relative_to(folder).as_posix() for one in sorted(folder.glob("checkpoints/checkpoint-*"))]
        inside += ["model"] * (folder / "model").is_dir()
        raise InputError(f"{folder}: a run's folder; give a model in it: {', '.join(inside) or 'it holds none'}")
    if (folder / "adapter_config.json").is_file():
        both = (other / "adapter_config.json").is_file()
        why = "a line between two products is none between models" if both else f"{other} is a whole model"
        raise InputError(f"{folder}: an adapter, and {why}; merge it first: load it, call merge_and_unload(), and save")
    if _json(folder / "config.json").get("quantization_config"):
        raise InputError(f"{folder}: quantised weights, between which nothing lies; give the model before quantisation")
    check_weights(folder)


def _json(path: Path) -> dict[str, Any]:
    found = read_json(path, missing={})
    return found if isinstance(found, dict) else {}


def _parts(folder: Path) -> list[Path]:
    """Return the files of a folder that belong to the model in it, by their paths in it."""
    found = [path.relative_to(folder) for path in files_below(folder)]
    return [
        path
        for path in found
        if not UNREAD_FOLDERS.intersection(path.parts[:-1])
        and not any(part.startswith("checkpoint-") for part in path.parts[:-1])
    ]


def _is_state(path: Path) -> bool:
    return path.name in _STATE_NAMES or path.name.startswith(_STATE_STARTS)


def _weight_files(folder: Path) -> list[Path]:
    return [path for path in _parts(folder) if path.suffix == ".safetensors" and not _is_state(path)]


def _other_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return what is copied beside the weights, and what is left out."""
    weights = set(_weight_files(folder))
    others = [path for path in _parts(folder) if path not in weights]
    out = [path for path in others if _is_state(path) or path.suffix.lower() in _OTHER_WEIGHTS or path.name == NOTE]
    return [path for path in others if path not in out], [path.as_posix() for path in out]


def _digests(folder: Path) -> dict[str, str]:
    return {path.as_posix(): sha256(folder / path) for path in _weight_files(folder)}


def _write_weights(start: Path, end: Path, t: float, folder: Path) -> dict[str, Any]:
    """Write the interpolated weights in the files that the end has them in, and return what was done."""
    from safetensors.torch import save_file

    with ExitStack() as stack:
        before, after = (_opened(place, stack) for place in (start, end))
        _check_same(start, before, end, after)
        from_end: list[str] = []
        files: dict[Path, list[str]] = {}
        for name, (path, _, _) in after.items():
            files.setdefault(path, []).append(name)
        for path, names in files.items():
            tensors = {}
            for name in names:
                new = after[name][1].get_tensor(after[name][2])
                old = before[name][1].get_tensor(before[name][2]) if name in before else new
                if not new.is_floating_point():
                    from_end.append(name)
                tensors[after[name][2]] = _checked_between(start, end, name, old, new, t)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, folder / path, metadata=after[names[0]][1].metadata())
    return {"interpolated": len(after) - len(from_end), "from_end": from_end}


def _opened(folder: Path, stack: ExitStack) -> dict[str, tuple[Path, Any, str]]:
    """Return every tensor of a folder by its module's folder and name: its file, that file opened, its name there."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[Path, Any, str]] = {}
    for path in _weight_files(folder):
        try:
            file = stack.enter_context(safe_open(folder / path, framework="pt"))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{folder / path}: cannot be read ({error}); save or download the model again") from None
        for key in sorted(file.keys()):
            name = (path.parent / key).as_posix()
            if name in found:
                raise InputError(f"{folder}: {name} is in {found[name][0]} and in {path}; delete one of these files")
            found[name] = (path, file, key)
    return found


def _check_same(start: Path, before: dict[str, Any], end: Path, after: dict[str, Any]) -> None:
    """Refuse models of which one has weights that the other has not, or tensors in another shape.

    Tensors of whole numbers, such as the positions that older versions of the library saved, may be there or not.

    Raises:
        InputError: what differs.
    """
    kinds = [_json(place / "config.json").get("model_type") for place in (start, end)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise InputError(f"{end}: model_type is {kinds[1]}, and {kinds[0]} in {start}; {_NEEDED}")
    missing = [
        f"{len(names)} only in {place} ({_some(names)})"
        for place, own, other in ((start, before, after), (end, after, before))
        if (names := {name for name in own.keys() - other.keys() if _is_weight(own[name])})
    ]
    if missing:
        raise InputError(f"{end}: other tensors than {start}: {', '.join(missing)}; {_NEEDED}")
    for name, (_, file, key) in after.items():
        if name not in before:
            continue
        shapes = [opened.get_slice(of).get_shape() for opened, of in (before[name][1:], (file, key))]
        if shapes[0] != shapes[1]:
            raise InputError(f"{end}: {name} is {shapes[1]}, and {shapes[0]} in {start}; {_NEEDED}")


def _is_weight(found: tuple[Path, Any, str]) -> bool:
    """Return whether a tensor in a file is of floating point."""
    _, file, key = found
    return str(file.get_slice(key).get_dtype()).startswith(("F", "BF"))


def _checked_between(start: Path, end: Path, name: str, old: Tensor, new: Tensor, t: float) -> Tensor:
    import torch

    if old.is_floating_point() != new.is_floating_point():
        raise InputError(f"{end}: {name} is {new.dtype}, and {old.dtype} in {start}; {_NEEDED}")
    if torch.equal(old, new):
        return new
    for place, tensor in ((start, old), (end, new)):
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise InputError(f"{place}: {name} is not finite, so nothing lies between; give an earlier checkpoint")
    return _between(old, new, t)


def _some(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > _SHOWN else "")


def _tell(card: Path, t: float, given: Mapping[str, object]) -> None:
    """Add to a model card that the weights are no longer those that it is about."""
    if card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace").rstrip()
        line = f"These weights are interpolated: {t:g} of the way from {given['start']} to {given['end']} ({NOTE})."
        atomic_write_text(card, f"{text}\n\n{line}\n")
