"""The parts of a collection in a folder: where they lie under the names that people use, and their rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ....errors import InputError, setting
from .._cells import id_text
from .._form import How, Row, text_of
from .._names import BODY, ROW_ID, by_plain_name, plain
from .._peek import look
from ..rows import arrow, read_table
from ..rows.data_files import check_whole

Kind = Literal["corpus", "queries"]

NAMES: dict[str, tuple[str, ...]] = {
    "corpus": ("corpus", "collection", "documents", "docs", "passages", "msmarco-docs"),
    "queries": ("queries", "topics", "query"),
}
"""What the files and folders of a part are called, the first that is there is taken."""

_SUFFIX = r"\.(?:jsonl|json|tsv|csv|parquet|arrow|txt|trec|xml|sgml|qrels?)(?:\.(?:gz|bz2|xz))?"
_DATA = re.compile(rf"(?P<stem>.+?)(?:-\d{{5}}-of-(?P<parts>\d{{5}})(?:-[0-9a-f]+)?)?{_SUFFIX}", re.IGNORECASE)


def find_part(folder: Path, kind: Kind, *, split: str) -> list[Path] | None:
    """Return the files of a part, or None where there is none.

    Args:
        folder: The collection's folder.
        kind: Which part.
        split: The split, for parts that have one, as MS MARCO's queries.

    Raises:
        InputError: files of several splits, and none of this one; or parts missing.
    """
    names = _members(folder)
    for name in NAMES[kind]:
        for stem in (f"{name}.{split}", name, f"{kind}-{name}"):
            files = [folder / member for member in names if _stem(member) == stem and (folder / member).is_file()]
            if files and _parts(files[0].name):
                check_whole(files, f"{folder}/{stem}")
                return files
            if files:
                return [_first(files)]
        if (folder / name).is_dir():
            files = _inside(folder / name, kind, split)
            if files:
                return files
        split_up = [m for m in names if re.fullmatch(rf"{re.escape(name)}\..+{_SUFFIX}", m) and (folder / m).is_file()]
        if split_up and kind == "queries":
            there = sorted(_stem(member).partition(".")[2] for member in split_up)
            raise InputError(
                f"{folder}: queries of split {', '.join(there)}, none of {split}: give {setting('split', there[0])}"
            )
    return None


def read_texts(files: Sequence[Path], kind: Kind, *, split: str = "train") -> Iterator[tuple[str, str, str, str]]:
    """Yield ``(id, title, text, where)`` of a part's rows.

    Raises:
        InputError: a row without id, an id that is there twice, or a row without text.
    """
    seen: set[str] = set()
    for file in files:
        table = read_table(look(file), How(names="ids", split=split))
        for row in table.rows():
            identifier, title, body = _fields(row, kind, named=table.named)
            if identifier in seen:
                raise InputError(f"{row.where}: id {identifier!r} is there twice; ids have to be unique")
            seen.add(identifier)
            yield identifier, title, body, row.where
    if not seen:
        raise InputError(f'{files[0]}: empty; write one object a line, as in {{"_id": "1", "text": ...}}')


def left_out(file: Path, kind: Kind, *, split: str) -> list[str]:
    """Return the columns of a part's first row that are not read, of those that hold a text or a number."""
    row = next(read_table(look(file), How(names="ids", split=split)).rows(), None)
    if row is None:
        return []
    names = {plain(name): name for name in row.values if not name.isdigit()}
    read = [next((name for name in known[kind] if name in names), "") for known in (ROW_ID, BODY)]
    read += ["title"] if kind == "corpus" else []
    held = (str, int, float)
    return [name for key, name in names.items() if key not in read and isinstance(row.values[name], held) and name]


def split_names(folder: Path) -> dict[str, list[Path]]:
    """Return name of the split to files, of a folder in which each file is one split or part of it."""
    found: dict[str, list[Path]] = {}
    for member in _members(folder):
        match = _DATA.fullmatch(member)
        if match is not None and (folder / member).is_file():
            found.setdefault(match["stem"], []).append(folder / member)
    return found


def _inside(folder: Path, kind: Kind, split: str) -> list[Path]:
    if arrow.SAVED.recognise(look(folder)):
        return [folder]
    splits = split_names(folder)
    sharded = any(_parts(file.name) for files in splits.values() for file in files)
    if not sharded and split not in splits:
        return [file for files in splits.values() for file in files]
    chosen = next((name for name in (split, kind, *NAMES[kind]) if name in splits), None)
    if chosen is None and len(splits) == 1:
        chosen = next(iter(splits))
    if chosen is None:
        raise InputError(
            f"{folder}: parts of splits {', '.join(splits)}, none of {split}: "
            f"give {setting('split', next(iter(splits)))}"
        )
    check_whole(splits[chosen], str(folder))
    return splits[chosen]


def _fields(row: Row, kind: Kind, *, named: bool) -> tuple[str, str, str]:
    values = by_plain_name(row.values, row.where) if named else _positions(row)
    name = next((name for name in ROW_ID[kind] if name in values), "_id")
    identifier = id_text(values.get(name), name, row.where)
    names = [name for name in BODY[kind] if name in values]
    title = values.get("title") if kind == "corpus" else None
    if not names and (kind == "queries" or "title" not in values):
        needed = "has neither 'title' nor 'text'" if kind == "corpus" else "has no 'text'; write one or leave it out"
        raise InputError(f"{row.where}: {'document' if kind == 'corpus' else 'query'} {identifier!r} {needed}")
    body = _text(values.get(names[0]), names[0], row.where) if names else ""
    return identifier, _text(title, "title", row.where), body


def _positions(row: Row) -> dict[str, Any]:
    cells = list(row.values.values())
    if len(cells) == 4 and str(cells[1]).startswith("http"):
        return {"_id": cells[0], "title": cells[2], "text": cells[3]}
    if len(cells) != 2:
        raise InputError(f"{row.where}: {len(cells)} columns without names; write a first line with id, title and text")
    return {"_id": cells[0], "text": cells[1]}


def _text(value: Any, name: str, where: str) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return text_of(value, name, where)


def _first(files: Sequence[Path]) -> Path:
    """Return one of several files of the same name: BEIR's own form first, unpacked before packed."""
    order = (".jsonl", ".jsonl.gz", ".tsv", ".parquet")
    return min(files, key=lambda file: next((i for i, end in enumerate(order) if file.name.endswith(end)), len(order)))


def _members(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[:1] != ".") if folder.is_dir() else []


def _stem(name: str) -> str:
    match = _DATA.fullmatch(name)
    return "" if match is None else match["stem"].lower()


def _parts(name: str) -> bool:
    match = _DATA.fullmatch(name)
    return match is not None and match["parts"] is not None
