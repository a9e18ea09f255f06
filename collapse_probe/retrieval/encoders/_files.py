"""Which files decide an encoder's vectors, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

from ...errors import InputError

UNREAD_FOLDERS = {"onnx", "openvino", "eval", ".git", ".cache", "coreml", "runs", "__pycache__"}
_UNREAD_SUFFIXES = {
    ".md",
    ".png",
    ".jpg",
    ".jpeg",
    ".svg",
    ".csv",
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".gguf",
    ".pyc",
    ".lock",
    ".log",
}
_UNREAD_NAMES = {
    ".gitattributes",
    ".gitignore",
    "LICENSE",
    "data_config.json",
    "train_script.py",
    "trainer_state.json",
    "training_args.bin",
    "optimizer.pt",
    "optimizer.safetensors",
    "scheduler.pt",
    "scheduler.json",
    "scaler.pt",
    "scaler.json",
    "selection.json",
}
"""What a model's folder may hold that its library does not read, so that none of it decides a vector."""

_WITHOUT_WEIGHTS = ("Transformer", "Pooling", "Normalize")
"""Modules that hold no weights beside the transformer's own."""


def model_files(folder: Path) -> list[Path]:
    """Return every file of a model that may decide its vectors, sorted by its path.

    These are the files beside ``modules.json``, and all in the folders that it names, however deep.
    """
    paths = {path for path in folder.iterdir() if path.is_file()}
    for name in [*_module_folders(folder), "additional_chat_templates"]:
        paths.update(files_below(folder / name))
    found = []
    for path in sorted(paths, key=lambda path: path.relative_to(folder).as_posix()):
        parts = path.relative_to(folder).parts
        unread = (
            UNREAD_FOLDERS.intersection(parts[:-1])
            or is_state(path.name)
            or path.suffix.lower() in _UNREAD_SUFFIXES
            or any(part.startswith("checkpoint-") for part in parts[:-1])
        )
        if path.is_file() and not unread:
            found.append(path)
    return found


def is_state(name: str) -> bool:
    """Return whether a file beside a model is of its training: its optimiser, its random state, its scores."""
    starts = ("rng_state", "random_state_", "events.out.")
    return name in _UNREAD_NAMES or name.startswith(starts) or name.endswith("_results.json")


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder, in folders that are links too, as a library reads them."""
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            # A link to a folder above.
            folders.clear()
            continue
        seen.add(real)
        found += [Path(place, name) for name in names]
    return sorted(found)


def _module_folders(folder: Path) -> list[str]:
    modules = read_json(folder / "modules.json", missing=[])
    return [entry["path"] for entry in modules if isinstance(entry, dict) and entry.get("path") not in (None, "", ".")]


def fingerprint(folder: Path) -> str:
    """Return the SHA-256, in hexadecimal, over every file of a model and the library that reads them."""
    libraries = [[name, _major(name)] for name in ("sentence-transformers", "transformers")]
    digest = hashlib.sha256(json.dumps(libraries).encode())
    for path in model_files(folder):
        digest.update(path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of a model's weights: of ``model.safetensors`` where it has no others.

    It names the weights in run folders and in feature stores; what decides vectors is :func:`fingerprint`.
    """
    main = folder / "model.safetensors"
    modules = read_json(folder / "modules.json")
    more = [folder / entry["path"] for entry in modules if entry["type"].rpartition(".")[2] not in _WITHOUT_WEIGHTS]
    files = [path for part in more if part != folder for path in files_below(part)]
    if not main.is_file():
        files = [path for path in model_files(folder) if path.suffix == ".safetensors"]
        return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    found = sha256(main)
    return hashlib.sha256("".join([found, *map(sha256, files)]).encode()).hexdigest() if files else found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_json(path: Path, *, missing: Any = None) -> Any:
    """Return what a JSON file holds.

    Args:
        path: The file.
        missing: What is returned where there is none; None to refuse that.

    Raises:
        InputError: missing, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if missing is not None and isinstance(error, FileNotFoundError):
            return missing
        raise InputError(f"{path}: cannot be read as JSON ({error}); download or save it again") from None


def _major(package: str) -> str:
    return metadata.version(package).partition(".")[0]
