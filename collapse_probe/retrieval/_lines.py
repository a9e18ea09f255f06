"""Reading text files of users line by line, with errors that name the file, the line and the fix."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield ``(number, line)`` of a UTF-8 text file, plain or gzipped, blank lines left out.

    Numbers count from 1 and a byte-order mark is dropped.

    Raises:
        InputError: no such file, a folder, not UTF-8, or a broken gzip file.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, where a file is needed")
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = _decoded(raw, path, number)
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable gzip file after line {number} ({error}); make it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(number, object)`` of a JSON Lines file.

    Raises:
        InputError: a line that is no JSON object; and as :func:`numbered_lines`.
    """
    for number, line in numbered_lines(path):
        yield number, json_object(line, path, number)


def json_object(line: str, path: Path, number: int) -> dict[str, Any]:
    """Return the JSON object of one line.

    Raises:
        InputError: the line is not JSON, or no object.
    """
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}:{number}: not JSON ({error}); write one object a line") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}:{number}: a JSON {type(value).__name__}, where an object is needed")
    return value


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        line = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        fix = f"convert the file, as in: iconv -t UTF-8 {path.name}"
        raise InputError(f"{path}:{number}: not UTF-8 at byte {error.start}; {fix}") from None
    return line.removeprefix("\ufeff") if number == 1 else line
