"""The doors for training pairs and collections: what a path holds is recognised, read, or refused by its name.

A form is one file and one entry in :data:`FORMS`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from ...errors import InputError, setting
from .._collections import Collection, IdenticalIds, judged_pairs
from .._pairs import Pairs, make_pairs
from ._form import Form, How, all_rows
from ._peek import Peek, look, unpacked
from .collections import COLLECTION_FORMS, folder, group, one_object
from .pairs import PAIR_FORMS, parse_columns, read_pair_rows
from .refused import REFUSED
from .rows import ROW_FORMS, read_table, refuse

FORMS: tuple[Form, ...] = (*ROW_FORMS, *PAIR_FORMS, *COLLECTION_FORMS, *REFUSED)
"""Every form that is known."""

__all__ = ["FORMS", "Form", "parse_columns", "read_beir", "read_collections", "read_pairs"]


def read_pairs(
    path: Path, *, columns: Mapping[str, str] | None = None, min_score: float | None = None, split: str = "train"
) -> Pairs:
    """Read training pairs in whatever form they are.

    Args:
        path: A file or a folder, packed or not; a collection gives the relevant pairs of a split.
        columns: Role (``query``, ``document``, ``negative``, ``score``) to column, where names do not tell it.
        min_score: Rows with at least this score are positive; needed where scores are graded.
        split: Which split of what has several.

    Raises:
        InputError: a missing, empty or unreadable file, no known form, or a malformed row.
    """
    peek = _look(path)
    with unpacked(peek) as inside:
        if inside.is_folder and folder.is_collection(inside.path):
            if columns:
                raise InputError(f"{peek.shown}: a collection, whose parts have no columns to name; leave them out")
            try:
                found = folder.read_folder(inside, split=split, name=_name(path, inside))
            except InputError as error:
                # Which split gives pairs is not for the caller's split of what is scored to say.
                needed = f"pairs, which are those of split {split} alone"
                told = error.told(lambda name, value: needed if name == "split" else setting(name, value))
                raise InputError(told) from None
            return judged_pairs(found, source=peek.shown, min_score=min_score)
        parts = group.parts(inside)
        if parts:
            raise InputError(f"{peek.shown}: a folder of collections ({_some(parts)}); give one of them")
        how = How(split=split, min_score=min_score, folder=inside.path.parent)
        form, reading = read_pair_rows(all_rows(read_table(inside, how)), how, columns=columns)
        packed = "zip" if inside is not peek else peek.packed
        said = f"{form}{f', {packed}' if packed else ''}: {reading.said}"
        return make_pairs(reading.examples, source=peek.shown, form=said, notes=reading.notes)


def read_collections(path: Path, *, split: str = "test", identical_ids: IdenticalIds = "auto") -> list[Collection]:
    """Read a collection in whatever layout it is; several where a folder holds several, as cqadupstack's.

    Args:
        path: A folder, a zip archive, or one JSON object.
        split: Split of the judgements.
        identical_ids: As in :func:`make_collection`.

    Raises:
        InputError: nothing there, no known layout, or a part that is missing or malformed.
    """
    peek = _look(path)
    with unpacked(peek) as inside:
        name = _name(path, inside)
        rule = {"split": split, "identical_ids": identical_ids}
        parts = group.parts(inside)
        while not parts and (only := group.only_folder(inside)) is not None:
            inside = _inside(inside, only)
            parts = [only] if folder.is_collection(only) else group.parts(inside)
            name = only.name
        if len(parts) == 1:
            return [folder.read_folder(look(parts[0], shown=f"{peek.shown}"), name=parts[0].name, **rule)]
        if parts:
            return [
                folder.read_folder(_inside(inside, part), name=f"{name}-{part.name}", group=name, **rule)
                for part in parts
            ]
        if inside.is_folder:
            _refuse_half(inside)
            return [folder.read_folder(inside, name=name, **rule)]
        refuse(inside)
        if one_object.FORM.recognise(inside):
            return [one_object.read_object(inside, name=name, **rule)]
    raise InputError(
        f"{peek.shown}: is a file, where a folder with corpus.jsonl, queries.jsonl and qrels/ is needed (or its zip); "
        f"a file of pairs is {setting('pairs')}"
    )


def read_beir(folder: Path, *, split: str = "test") -> Collection:
    """Read one collection.

    Raises:
        InputError: as :func:`read_collections`; or the folder holds several.
    """
    found = read_collections(folder, split=split)
    if len(found) > 1:
        raise InputError(
            f"{folder}: holds {len(found)} collections ({', '.join(c.name for c in found)}); give one of them"
        )
    return found[0]


def _look(path: Path) -> Peek:
    try:
        return look(path)
    except InputError as error:
        if os.path.exists(path) or not os.path.isdir(path.parent):
            raise
        parent = path.parent
        names = [p.name for p in parent.iterdir()]
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"; did you mean {parent / near[0]}?" if near else "; check the path"
        raise InputError(f"{str(error).removesuffix('; check the path')}{hint}") from None


def _refuse_half(peek: Peek) -> None:
    """Refuse the judgements alone of a collection that the hub keeps in two parts."""
    whole = peek.path.resolve()
    name = whole.name.removesuffix("-qrels")
    other = whole.parent / name
    if name and name != whole.name and folder.is_collection(other):
        raise InputError(f"{peek.shown}: judgements alone; give {other.name}, which they are found beside")


def _inside(peek: Peek, path: Path) -> Peek:
    return look(path, shown=f"{peek.shown.rstrip('/')}/{path.name}")


def _name(path: Path, inside: Peek) -> str:
    if inside.path == path:
        return path.resolve().name if inside.is_folder else _bare(path.name)
    return (
        inside.path.name
        if inside.is_folder and not inside.path.name.startswith("collapse-probe-")
        else _bare(path.name)
    )


def _bare(name: str) -> str:
    return name.partition(".")[0] or name


def _some(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:4]) + (" ..." if len(paths) > 4 else "")
