"""Where a report may stand: which folder is free or the same run's, and what of a user's must be kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from ..journal import Run

RECORD = ".report.json"
"""What the last report wrote into a folder: the run, and each file's hash."""


def target(run: Run, folder: Path) -> Path:
    """Return the folder to write to, made if need be: the first that is free or holds this run's report."""
    number_ = 1
    while True:
        candidate = folder if number_ == 1 else folder.with_name(f"{folder.name}-{number_}")
        if not candidate.exists() or _is_free(candidate) or _is_of(run, candidate):
            candidate.mkdir(exist_ok=True)
            return candidate
        number_ += 1


def _is_free(candidate: Path) -> bool:
    return candidate.is_dir() and not any(candidate.iterdir())


def identity(run: Run) -> str:
    """Return what tells one run from another, wherever its folder lies: the time of its first record."""
    starts = run.records("start")
    return f"{run.name} {starts[0]['time'] if starts else run.folder.resolve()}"


def _is_of(run: Run, folder: Path) -> bool:
    return _read_record(folder).get("run") == identity(run)


def recorded_files(folder: Path) -> dict[str, str]:
    """Return name to hash of what the last report wrote; names that lead out of the folder are not ours."""
    files = _read_record(folder).get("files", {})
    inside = {name: PurePosixPath(name) for name in files}
    return {n: files[n] for n, p in inside.items() if not p.is_absolute() and ".." not in p.parts}


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def keep_edited(path: Path, written: str | None) -> None:
    """Rename a file that is not as the last report left it, so that the new one does not replace it."""
    if not path.is_file() or sha256(path) == written:
        return
    number_ = 1
    while (backup := path.with_name(f"{path.name}.bak-{number_}")).exists():
        number_ += 1
    path.rename(backup)


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
