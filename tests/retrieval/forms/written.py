"""Writes rows in the forms that people keep them in; what the tests of this folder read, they write with it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collapse_probe.errors import InputError
from collapse_probe.retrieval import Pairs, read_pairs

Row = Mapping[str, Any]
Content = str | bytes | Mapping[str, "Content"]

PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def put(path: Path, content: Content) -> Path:
    """Write a file, packed as its suffix says, or a folder of files."""
    if isinstance(content, Mapping):
        path.mkdir(parents=True, exist_ok=True)
        for name, inner in content.items():
            put(path / name, inner)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(PACKERS.get(path.suffix, bytes)(raw))
    return path


def zipped(files: Mapping[str, str | bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def json_lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def columns_of(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in rows[0]}


def separated(
    rows: Sequence[Row], separator: str = ",", *, quoting: int = csv.QUOTE_MINIMAL, end: str = "\n", header: bool = True
) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    if header:
        writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return buffer.getvalue()


def plain_tsv(rows: Sequence[Row], *, end: str = "\n", header: bool = True) -> str:
    lines = [list(rows[0])] if header else []
    lines += [["" if cell is None else str(cell) for cell in row.values()] for row in rows]
    return "".join("\t".join(line) + end for line in lines)


def parquet(rows: Sequence[Row], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns_of(rows)), buffer, **options)
    return buffer.getvalue()


def arrow(rows: Sequence[Row], *, kind: str = "stream") -> bytes:
    table, buffer = pa.table(columns_of(rows)), io.BytesIO()
    new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with new(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def as_tuples(pairs: Pairs) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return ``(query, document, negatives)`` of every pair."""
    negatives = pairs.negatives or ((),) * len(pairs)
    return list(zip(pairs.queries, pairs.documents, negatives, strict=True))


def assert_refused(read: Callable[[], object], *parts: str) -> str:
    """Return the message of a refusal, which is one line that has these parts."""
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def assert_right_or_refused(path: Path, expected: Sequence[tuple[str, str, tuple[str, ...]]], **options: Any) -> None:
    """Whatever a file is taken for, nothing but the pairs that its writer meant may come of it."""
    found = pairs_or_refusal(path, **options)
    if isinstance(found, Pairs):
        assert as_tuples(found) == list(expected)


def pairs_or_refusal(path: Path, **options: Any) -> Pairs | str:
    """Return pairs, or the one line with which they are refused."""
    try:
        return read_pairs(path, **options)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    return message
