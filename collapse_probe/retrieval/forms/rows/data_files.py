"""A folder of data files by split, as the Hugging Face hub keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, look

_FILE = re.compile(
    r"(?P<split>.+?)(?:-(?P<part>\d{5})-of-(?P<parts>\d{5})(?:-[0-9a-f]+)?)?"
    r"\.(?P<kind>parquet|arrow|jsonl|json|csv|tsv)(?:\.(?:gz|bz2|xz))?"
)
_SPARK = re.compile(r"part-\d{5}")
_SPARK_PARTS = "part files"
_HELD_OUT = ("test", "validation", "valid", "val", "dev", "eval", "evaluation")
_PART = re.compile(r"-(?P<part>\d{5})-of-(?P<parts>\d{5})")
_BESIDE = ("README.md", "dataset_infos.json", "LICENSE", "data")


def split_files(folder: Path, members: Sequence[str]) -> dict[str, list[Path]]:
    """Return split to its files, in order, of the files of a folder that are named as data of a split."""
    found: dict[str, list[Path]] = {}
    for name in members:
        match = _FILE.fullmatch(name)
        if match is not None and (folder / name).is_file() and name not in _BESIDE:
            split = _SPARK_PARTS if _SPARK.match(name) else match["split"]
            found.setdefault(split, []).append(folder / name)
    return found


def only_split(names: Sequence[str]) -> str | None:
    """Return the only split that there is, where it is not one that is held out; None for others."""
    return names[0] if len(names) == 1 and names[0].lower() not in _HELD_OUT else None


def check_whole(files: Sequence[Path], shown: str) -> None:
    """Refuse a split of which parts are missing, or that is there twice.

    Raises:
        InputError: ``-of-00004`` in a name and other parts than these four; or several files without such numbers.
    """
    found = [_PART.search(file.name) for file in files]
    numbers = [(int(match["part"]), int(match["parts"])) for match in found if match is not None]
    if not numbers and len(files) > 1:
        names = " and ".join(file.name for file in files[:3])
        raise InputError(f"{shown}: {names} hold the same split; keep one of them")
    total = max((parts for _, parts in numbers), default=0)
    missing = sorted(set(range(total)) - {part for part, _ in numbers})
    if missing:
        there = f"{total - len(missing)} of {total} files of a split are there"
        raise InputError(f"{shown}: {there}, part {missing[0]} is not; download the others too")
    if numbers and (len(numbers) != len(files) or len(numbers) != total):
        raise InputError(f"{shown}: {len(files)} files of a split of {total}; keep each part once")


def _recognise(peek: Peek) -> bool:
    return peek.is_folder and bool(_splits(peek))


def _splits(peek: Peek) -> dict[str, list[Path]]:
    members = peek.members or ()
    for folder, names in ((peek.path, members), (peek.path / "data", _names(peek.path / "data"))):
        found = split_files(folder, names)
        if found:
            return found
    return {}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _read(peek: Peek, how: How) -> Table:
    """Return the table of one split of a folder of data files: the one asked for, or the only one."""
    from . import read_table

    splits, split = _splits(peek), how.split
    chosen = split if split in splits else only_split(list(splits))
    if chosen is None and any(peek.path.glob("*.safetensors")):
        raise InputError(f"{peek.shown}: the folder of a model, where texts are needed")
    if chosen is None:
        first = splits[next(iter(splits))][0]
        named = f"{peek.shown.rstrip('/')}/{first.relative_to(peek.path)}"
        raise InputError(
            f"{peek.shown}: a folder of data files without split {split!r}; it has {', '.join(splits)}: give {named}"
        )
    files = splits[chosen]
    shown = f"{peek.shown.rstrip('/')} ({chosen})"
    if chosen != _SPARK_PARTS:
        check_whole(files, shown)
    tables = [
        read_table(look(file, shown=f"{peek.shown.rstrip('/')}/{file.relative_to(peek.path)}"), how) for file in files
    ]

    other = next((table for table in tables if table.columns != tables[0].columns), None)
    if other is not None:
        raise InputError(
            f"{other.source}: its first line is not that of {tables[0].source}; give both the same columns"
        )

    def rows() -> Iterator[Row]:
        for table in tables:
            yield from table.rows()

    form = f"{tables[0].form} of split {chosen}, {len(files)} file{'s' if len(files) > 1 else ''}"
    return Table(form, peek.shown, all(table.named for table in tables), rows, tables[0].first)


FORM = Form(
    name="folder of data files",
    holds="rows",
    looks="`train-00000-of-00002.parquet` and its like, in the folder or in `data/`; `train` is read as pairs",
    recognise=_recognise,
    read=_read,
)
