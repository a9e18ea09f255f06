"""Training state without pickle: optimiser, schedule and random generators as safetensors and JSON."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

OPTIMISER_FILE = "optimizer.safetensors"
SCHEDULER_FILE = "scheduler.json"
SCALER_FILE = "scaler.json"


def save_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Write an optimiser's state: tensors as such, everything else as JSON in the file's metadata."""
    state = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value.detach().cpu().contiguous()
            else:
                plain.setdefault(str(index), {})[key] = value
    metadata = {"groups": json.dumps(state["param_groups"]), "plain": json.dumps(plain)}
    save_file(tensors, path, metadata=metadata)


def load_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Restore what :func:`save_optimiser` wrote."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in json.loads(metadata["plain"]).items()
    }
    for name, tensor in load_file(path).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": json.loads(metadata["groups"])})


def save_random_state(path: Path) -> None:
    """Write the states of Python's, NumPy's and torch's global generators."""
    numpy_state: Any = np.random.get_state()
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(numpy_state[1].astype(np.int64))}
    for index in range(torch.cuda.device_count()):
        tensors[f"cuda.{index}"] = torch.cuda.get_rng_state(index)
    rest = {"python": random.getstate(), "numpy": [numpy_state[0], *numpy_state[2:]]}
    save_file(tensors, path, metadata={"rest": json.dumps(rest)})


def load_random_state(path: Path) -> None:
    """Restore what :func:`save_random_state` wrote."""
    with safe_open(path, framework="pt") as file:
        rest = json.loads(file.metadata()["rest"])
    tensors = load_file(path)
    torch.set_rng_state(tensors["torch"])
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{index}"], index)
    kind, position, has_gauss, gauss = rest["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = rest["python"]
    random.setstate((version, tuple(internal), gauss_next))


def save_json_state(state: dict[str, Any], path: Path) -> None:
    """Write a state that holds numbers, strings and lists only, leaving out what JSON cannot carry."""
    plain = {key: value for key, value in state.items() if _is_plain(value)}
    path.write_text(json.dumps(plain), encoding="utf-8")


def load_json_state(path: Path) -> dict[str, Any]:
    """Return what :func:`save_json_state` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def complete_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a folder, the one of the most steps first.

    The trainer writes ``trainer_state.json`` last, so a checkpoint without a readable one is unfinished.
    """
    found = [path for path in folder.glob("checkpoint-*") if _steps(path).isdecimal() and _is_complete(path)]
    return sorted(found, key=lambda path: int(_steps(path)), reverse=True)


def check_training_state(checkpoint: Path) -> None:
    """Read the state of a checkpoint's optimiser, schedule and generators, and keep none of it.

    Raises:
        OSError, ValueError, LookupError, TypeError, SafetensorError: something is missing or damaged.
    """
    for path in [checkpoint / OPTIMISER_FILE, *checkpoint.glob("random_state_*.safetensors")]:
        with safe_open(path, framework="pt") as file:
            for value in file.metadata().values():
                json.loads(value)
        load_file(path)
    load_json_state(checkpoint / SCHEDULER_FILE)


def _steps(checkpoint: Path) -> str:
    return checkpoint.name.rpartition("-")[2]


def _is_complete(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        return isinstance(state, dict) and {"global_step", "epoch"} <= state.keys()
    except (OSError, ValueError):
        return False


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return value is None or isinstance(value, bool | int | float | str)
