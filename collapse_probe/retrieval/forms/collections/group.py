"""A folder of collections, as cqadupstack's twelve."""

from __future__ import annotations

from pathlib import Path

from .._form import Form
from .._peek import Peek
from .folder import is_collection


def parts(peek: Peek) -> list[Path]:
    """Return the collections in a folder that is none itself."""
    if not peek.is_folder or is_collection(peek.path):
        return []
    return [peek.path / name for name in peek.members or () if is_collection(peek.path / name)]


def only_folder(peek: Peek) -> Path | None:
    """Return the one folder in a folder that holds nothing else and is no collection."""
    if not peek.is_folder or is_collection(peek.path):
        return None
    found = [peek.path / name for name in peek.members or ()]
    return found[0] if len(found) == 1 and found[0].is_dir() else None


FORM = Form(
    name="folder of collections",
    holds="collection",
    looks="cqadupstack: each part is scored, and their scores are averaged, as BEIR does; one part alone is that part",
    recognise=lambda peek: bool(parts(peek)),
)
