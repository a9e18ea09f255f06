"""Judgements: where they lie by split, and their rows in every form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ....errors import InputError, setting
from ..._collections import Qrels
from .._cells import grade, id_text, is_number, relevant_documents
from .._form import How
from .._names import QRELS, by_plain_name, plain
from .._peek import Peek, look, whole
from ..rows import arrow, read_table, refuse
from ..rows._separated import cell_lines
from ..rows.data_files import check_whole
from .parts import split_names

NEEDED = "query-id<TAB>corpus-id<TAB>score"
_KNOWN = frozenset(name for names in QRELS for name in names)
_BESIDE = re.compile(r"(?i)(?:qrels?(?:[._-](?P<after>.+))?|(?P<before>.+)[._-]qrels?)")


class Judgement(NamedTuple):
    """One row of judgements."""

    query: str
    document: str
    score: int


def find_judgements(folder: Path, split: str) -> tuple[list[Path], list[str]]:
    """Return the files that hold a split's judgements, and what is to be said of the choice.

    Raises:
        InputError: none, or none of this split; the splits that are there are named.
    """
    found: dict[str, list[Path]] = {}
    if (folder / "qrels").is_dir() and arrow.SAVED.recognise(look(folder / "qrels")):
        return [folder / "qrels"], []
    beside = folder.resolve().parent / f"{folder.resolve().name}-qrels"
    for place in (folder / "qrels", beside, beside / "qrels", folder / "default", folder / "data"):
        for name, files in split_names(place).items():
            found.setdefault(name, files)
    for name, files in split_names(folder).items():
        match = _BESIDE.fullmatch(name)
        if match is not None:
            found.setdefault(match["after"] or match["before"] or "", files)
    if split in found:
        check_whole(found[split], f"{folder} ({split})")
        return found[split], []
    if set(found) == {""}:
        check_whole(found[""], str(folder))
        return found[""], [f"the judgements ({found[''][0].name}) have no splits; all of them are used"]
    there = sorted(name for name in found if name)
    if not there:
        raise InputError(
            f"{folder}: no qrels in it, so nothing is judged; a collection has qrels/{split}.tsv, or qrels.txt"
        )
    raise InputError(
        f"{folder}: no qrels/{split}.tsv; splits here are {', '.join(there)}: give {setting('split', there[0])}"
    )


def read_judgements(files: Sequence[Path], *, split: str = "test") -> tuple[Qrels, list[str]]:
    """Return query id to document id to judgement, and what is to be said of it.

    Of a document that is judged twice the last judgement counts, as in BEIR.

    Raises:
        InputError: no judgements, or a row that is none.
    """
    qrels: Qrels = {}
    changed = 0
    for file in files:
        for query, document, score in _rows(look(file), split):
            before = qrels.setdefault(query, {}).get(document)
            changed += before is not None and before != score
            qrels[query][document] = score
    if not qrels:
        raise InputError(f"{files[0]}: no judgement in it; write {NEEDED}, one a line")
    if changed:
        return qrels, [f"{changed:,} documents are judged twice, differently; the last judgement counts, as in BEIR"]
    return qrels, []


def _rows(peek: Peek, split: str) -> Iterator[Judgement]:
    refuse(peek)
    if not peek.is_folder and peek.text.lstrip().startswith("{"):
        judged = _one_object(peek)
        if judged is not None:
            yield from (Judgement(query, d, score) for query, ds in judged.items() for d, score in ds.items())
            return
    if peek.is_folder or peek.encoding is None or peek.text.lstrip()[:1] in ("{", "["):
        yield from _named_rows(peek, split)
        return
    columns: Sequence[int] | None = None
    for row, (number, cells) in enumerate(cell_lines(peek)):
        where = f"{peek.shown}:{number}"
        if len(cells) < 3:
            raise InputError(f"{where}: {len(cells)} columns, where {NEEDED} is needed")
        if row == 0 and not is_number(cells[-1]) and any(plain(cell) in _KNOWN for cell in cells):
            columns = _columns(cells, where)
            continue
        if row == 0 and not is_number(cells[-1]):
            raise InputError(
                f"{where}: score {cells[-1]!r} is no whole number that a judgement can be, and this is no first line "
                "with query-id, corpus-id and score"
            )
        if columns is None:
            if len(cells) not in (3, 4):
                raise InputError(f"{where}: {len(cells)} columns, where {NEEDED} is needed")
            columns = (0, 1, 2) if len(cells) == 3 else (0, 2, 3)
        if max(columns) >= len(cells):
            raise InputError(f"{where}: {len(cells)} columns, where {NEEDED} is needed")
        yield _judgement([cells[column] for column in columns], where)


def _named_rows(peek: Peek, split: str) -> Iterator[Judgement]:
    table = read_table(peek, How(names="ids", split=split))
    for row in table.rows():
        values = by_plain_name(row.values, row.where)
        names = [next((name for name in known if name in values), None) for known in QRELS]
        if None in names:
            found = ", ".join(map(repr, row.values))
            raise InputError(f"{row.where}: has {found}, where 'query-id', 'corpus-id' and 'score' are needed")
        yield _judgement([values[str(name)] for name in names], row.where)


def _one_object(peek: Peek) -> Qrels | None:
    """Return judgements of one object of query id to document id to grade, as pytrec_eval has them; None for others."""
    try:
        value = json.loads(whole(peek))
    except (ValueError, RecursionError):
        # Of JSON Lines the second line is too much.
        return None
    if not value or not all(isinstance(documents, dict) for documents in value.values()):
        return None
    return relevant_documents(value, peek.shown)


def _columns(header: Sequence[str], where: str) -> Sequence[int]:
    """Return which columns are query, document and score, by the header."""
    names = [plain(cell) for cell in header]
    found = [next((names.index(name) for name in known if name in names), None) for known in QRELS]
    known = [column for column in found if column is not None]
    if len(known) == 3 and len(set(known)) == 3:
        return known
    raise InputError(f"{where}: the header is {', '.join(map(repr, header))}, where {NEEDED} is needed")


def _judgement(cells: Sequence[Any], where: str) -> Judgement:
    query, document = id_text(cells[0], "query-id", where), id_text(cells[1], "corpus-id", where)
    return Judgement(query, document, grade(cells[2], where))
