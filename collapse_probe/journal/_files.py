"""Writing whole files so that a reader sees the old one or the new one, never a half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def atomic_write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` through a temporary file beside it and a rename.

    Args:
        path: The file to write; its folder exists.
        text: The whole content, written as UTF-8.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def fresh_folder(parent: Path, name: str) -> Path:
    """Create and return ``parent/name``, or the first of ``name-2``, ``name-3``, ... that does not exist.

    Creation is the check, so two processes that ask at once get two folders.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def write_beside(path: Path, text: str) -> Path:
    """Write ``text`` to ``path``, or to the first of ``NAME-2.EXT``, ``NAME-3.EXT``, ... that holds nothing else.

    What an older record names is never overwritten. Folders on the way are made.

    Returns:
        The file that holds the text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, found = 1, path
    while found.exists() and found.read_text(encoding="utf-8", errors="replace") != text:
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    if not found.exists():
        atomic_write_text(found, text)
    return found
