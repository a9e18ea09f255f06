"""Writing a folder of report files: which one is free or the same run's, and what of a user's must be kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from ..journal import LiveRun, Start, atomic_write_text

RECORD = ".report.json"
"""What the last report wrote into a folder: the run, and each file's hash."""


def write_folder(folder: Path, owner: str, build: Callable[[Path], None]) -> Path:
    """Build files beside a folder and move them in; nothing of a user's is lost.

    What the same owner wrote before is replaced; a file of it that somebody has changed since is kept beside the new
    one as ``NAME.bak-N``. A folder that holds something else is left alone, and the next free name is used:
    ``folder-2`` and so on.

    Args:
        folder: Where the files go.
        owner: What tells the run or ablation that they are about from every other.
        build: Called with an empty folder to write into.

    Returns:
        The folder that was written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = _target(owner, folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".report-") as temporary:
        built = Path(temporary)
        build(built)
        files = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
        before = _recorded_files(place)
        hashes = {file.as_posix(): _sha256(built / file) for file in files}
        for file in files:
            _keep_edited(place / file, before.get(file.as_posix()))
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(built / file, place / file)
    for name in before.keys() - hashes.keys():
        _keep_edited(place / name, before[name])
        (place / name).unlink(missing_ok=True)
    atomic_write_text(place / RECORD, json.dumps({"run": owner, "files": hashes}, indent=1) + "\n")
    return place


def _target(owner: str, folder: Path) -> Path:
    """Return the folder to write to, made if need be: the first that is free or holds this owner's files."""
    number_ = 1
    while True:
        candidate = folder if number_ == 1 else folder.with_name(f"{folder.name}-{number_}")
        if not candidate.exists() or _is_free(candidate) or _is_of(owner, candidate):
            candidate.mkdir(exist_ok=True)
            return candidate
        number_ += 1


def _is_free(candidate: Path) -> bool:
    return candidate.is_dir() and not any(candidate.iterdir())


def identity(run: LiveRun) -> str:
    """Return what tells one run from another, wherever its folder lies: the time of its first record."""
    starts = run.of(Start)
    return f"{run.name} {starts[0].time if starts else run.folder and run.folder.resolve()}"


def _is_of(owner: str, folder: Path) -> bool:
    return _read_record(folder).get("run") == owner


def _recorded_files(folder: Path) -> dict[str, str]:
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


def _keep_edited(path: Path, written: str | None) -> None:
    """Rename a file that is not as the last report left it, so that the new one does not replace it."""
    if not path.is_file() or _sha256(path) == written:
        return
    number_ = 1
    while (backup := path.with_name(f"{path.name}.bak-{number_}")).exists():
        number_ += 1
    path.rename(backup)


def _sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
