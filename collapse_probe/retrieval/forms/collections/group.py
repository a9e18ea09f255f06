"""A folder of collections, as cqadupstack's twelve."""

from __future__ import annotations

from pathlib import Path

from ....errors import InputError
from .._form import Form
from .._peek import Peek
from .folder import is_collection, parts_in
from .parts import NAMES


def parts(peek: Peek) -> list[Path]:
    """Return the collections in a folder that is none itself.

    Raises:
        InputError: one of them lacks a part.
    """
    if not peek.is_folder or is_collection(peek.path):
        return []
    found = {peek.path / name: parts_in(peek.path / name) for name in peek.members or ()}
    whole = [path for path, kinds in found.items() if kinds == set(NAMES)]
    half = next((path for path, kinds in found.items() if kinds and path not in whole), None)
    if whole and half is not None:
        missing = ", ".join(sorted(set(NAMES) - found[half]))
        raise InputError(
            f"{peek.shown.rstrip('/')}/{half.name}: no {missing} in it; add them, or give the others by name"
        )
    return whole


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
