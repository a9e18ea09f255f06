"""Training pairs from JSON Lines or TSV."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ._lines import json_object, numbered_lines

FIELDS = (("query", "document"), ("anchor", "positive"))
"""The names that a pair's two texts may have."""


@dataclass(frozen=True)
class Pairs:
    """Queries and their documents, row by row.

    Attributes:
        queries: P texts.
        documents: P texts.
        source: Where they were read.
        fingerprint: SHA-256 over the texts, in hexadecimal.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    source: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.queries)


def read_pairs(path: Path) -> Pairs:
    """Read pairs from JSON Lines or from TSV with a header row, plain or gzipped.

    Args:
        path: The file; its first line decides the form: JSON begins with a brace.

    Raises:
        InputError: missing, empty or unreadable file, a malformed line, or a missing or blank text.
    """
    lines = numbered_lines(path)
    first = next(lines, None)
    if first is None:
        raise InputError(f'{path}: empty; write one object a line, as in {{"query": ..., "document": ...}}')
    rows = _json_rows(path, first, lines) if first[1].lstrip().startswith("{") else _tsv_rows(path, first, lines)
    queries: list[str] = []
    documents: list[str] = []
    for number, row in rows:
        names = next((names for names in FIELDS if all(name in row for name in names)), None)
        if names is None:
            found = ", ".join(repr(name) for name in row) or "nothing"
            raise InputError(
                f"{path}:{number}: has {found}; 'query' and 'document' (or 'anchor', 'positive') are needed"
            )
        queries.append(_text(row, names[0], path, number))
        documents.append(_text(row, names[1], path, number))
    if not queries:
        raise InputError(f"{path}: a header and no pairs below it")
    return Pairs(tuple(queries), tuple(documents), str(path), fingerprint([*queries, *documents]))


def fingerprint(texts: list[str]) -> str:
    """Return the SHA-256 over a list of texts, each with its length, in hexadecimal."""
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


def _json_rows(
    path: Path, first: tuple[int, str], rest: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    yield first[0], json_object(first[1], path, first[0])
    for number, line in rest:
        yield number, json_object(line, path, number)


def _tsv_rows(
    path: Path, first: tuple[int, str], rest: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    header = [name.strip() for name in first[1].split("\t")]
    if not any(all(name in header for name in names) for names in FIELDS):
        raise InputError(
            f"{path}:{first[0]}: neither JSON nor a TSV header with query and document: "
            "write query<TAB>document as the first line"
        )
    for number, line in rest:
        cells = line.split("\t")
        if len(cells) != len(header):
            raise InputError(f"{path}:{number}: {len(cells)} columns, where the header has {len(header)}")
        yield number, dict(zip(header, cells, strict=True))


def _text(row: Mapping[str, Any], name: str, path: Path, number: int) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise InputError(f"{path}:{number}: {name!r} is a {type(value).__name__}, where a text is needed")
    if not value.strip():
        raise InputError(f"{path}:{number}: {name!r} is blank; write a text or leave the pair out")
    return value
