"""What a path holds, told from the names in it, its first bytes and its first characters; and its lines."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO

from ...errors import InputError

HEAD = 1 << 16
"""Bytes that are looked at to tell what a file is."""

SHOWN = 80
"""Characters of a first line that a message shows."""

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_ARCHIVES = {
    "[Content_Types].xml": "a workbook (xlsx); save the sheet as CSV",
    "data.pkl": "a pickle, which is never loaded; save it as JSON Lines or Parquet",
}
"""Names in a zip archive that make it something else."""

_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Peek:
    """A first look at a path.

    Attributes:
        path: Where it lies.
        shown: As the user named it.
        members: Names in a folder, sorted; None for a file.
        packed: ``gzip``, ``bzip2``, ``xz``, or nothing.
        head: The first unpacked bytes of a file.
    """

    path: Path
    shown: str
    members: tuple[str, ...] | None = None
    packed: str = ""
    head: bytes = field(default=b"", repr=False)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.members is not None

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip archive."""
        return self.head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    @cached_property
    def encoding(self) -> str | None:
        """The encoding of a text by its byte-order mark, UTF-8 without one; None for what is no text."""
        for mark, name in _BOMS:
            if self.head.startswith(mark):
                return name
        return None if b"\0" in self.head else "utf-8"

    @cached_property
    def text(self) -> str:
        """The first characters, without those that cannot be decoded; empty for what is no text."""
        return "" if self.encoding is None else self.head.decode(self.encoding, errors="ignore")

    @cached_property
    def first_line(self) -> str:
        """The first line that is not blank; cut where it is longer than what was looked at."""
        lines = self.text.split("\n" if "\n" in self.text else "\r")
        return next((line.rstrip("\r") for line in lines if line.strip()), "")

    @property
    def quoted(self) -> str:
        """The first line as a message shows it."""
        return shortened(self.first_line)


def shortened(text: str) -> str:
    """Return a text in quotation marks on one line, cut to 80 characters.

    >>> shortened("a" * 90)[-5:], shortened("two\\nlines")
    ("a...'", "'two\\\\nlines'")
    """
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")


def look(path: Path, *, shown: str | None = None) -> Peek:
    """Look at a path.

    Args:
        path: A file or a folder.
        shown: How messages name it; the path as it is where None.

    Raises:
        InputError: there is nothing, or it cannot be read.
    """
    name = str(path) if shown is None else shown
    try:
        if path.is_dir():
            # Hidden files are those of file managers, git and downloads.
            return Peek(path, name, members=tuple(sorted(p.name for p in path.iterdir() if p.name[:1] != ".")))
        if path.exists() and not path.is_file():
            raise InputError(f"{name}: neither a file nor a folder; give one of them")
        with path.open("rb") as file:
            start = file.read(8)
        packed = next((kind for magic, kind in _PACKED.items() if _begins(start, magic)), "")
        peek = Peek(path, name, packed=packed)
        with _opened(peek) as file:
            return replace(peek, head=file.read(HEAD))
    except FileNotFoundError:
        raise InputError(f"{name}: no such file or folder; check the path") from None
    except _BROKEN as error:
        raise _not_readable(name, "gzip" if path.suffix == ".gz" else "packed", 0, error) from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise InputError(f"{name!r}: no path ({error})") from None


def lines(peek: Peek) -> Iterator[tuple[int, str]]:
    """Yield ``(number, line)`` of a text with its line end, numbers from 1, the byte-order mark dropped.

    Raises:
        InputError: not a text in its encoding, or a broken packed file.
    """
    number = 0
    try:
        with _opened(peek) as file:
            encoding = peek.encoding or "utf-8"
            if encoding != "utf-8" or (b"\r" in peek.head and b"\n" not in peek.head):
                newline = "" if b"\n" in peek.head else None
                with io.TextIOWrapper(file, encoding=encoding, newline=newline) as text:
                    for line in text:
                        number += 1
                        yield number, line
            else:
                for raw in file:
                    line = raw.decode("utf-8")
                    number += 1
                    yield number, line
    except UnicodeDecodeError as error:
        known = peek.encoding or "UTF-8"
        needed = "UTF-8" if known == "utf-8" else known.upper()
        fix = f"convert the file, as in: iconv -f CP1252 -t UTF-8 {peek.path.name} > NEW"
        raise InputError(f"{peek.shown}:{number + 1}: not {needed} at byte {error.start}; {fix}") from None
    except _BROKEN as error:
        raise _not_readable(peek.shown, peek.packed, number, error) from None
    except OSError as error:
        raise InputError(f"{peek.shown}: cannot be read ({error.strerror or error})") from None


def whole(peek: Peek) -> str:
    """Return the whole text.

    Raises:
        InputError: as :func:`lines`.
    """
    return "".join(line for _, line in lines(peek))


@contextmanager
def stream(peek: Peek) -> Iterator[IO[bytes]]:
    """Open the unpacked bytes of a file, seekable."""
    with _opened(peek) as file:
        yield file


@contextmanager
def unpacked(peek: Peek) -> Iterator[Peek]:
    """Give what a zip archive holds, and anything else as it is.

    An archive of one file is that file, one of one folder is that folder, as BEIR serves them.

    Raises:
        InputError: a broken archive, an encrypted one, or a member that would leave the folder.
    """
    if not peek.is_zip:
        yield peek
        return
    folder = Path(tempfile.mkdtemp(prefix="collapse-probe-"))
    try:
        _extract(peek, folder)
        inside = look(folder, shown=peek.shown)
        while inside.members is not None and len(members := _real(inside.members)) == 1:
            inside = look(inside.path / members[0], shown=peek.shown)
        yield inside
    except InputError as error:
        # What is wrong in an archive is said of the archive, not of where it was unpacked.
        raise InputError(error.args[0].replace(str(folder), peek.shown)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _begins(start: bytes, magic: bytes) -> bool:
    """Return whether a file begins with a mark, or ends within it, as a download that was cut short."""
    return start.startswith(magic) or (2 < len(start) < len(magic) and magic.startswith(start))


def _real(members: tuple[str, ...]) -> list[str]:
    return [name for name in members if name != "__MACOSX"]


def _extract(peek: Peek, folder: Path) -> None:
    try:
        with zipfile.ZipFile(peek.path) as archive:
            names = archive.namelist()
            for end, what in _NOT_ARCHIVES.items():
                if any(name.endswith(end) for name in names):
                    raise InputError(f"{peek.shown}: {what}")
            for name in names:
                if not (folder / name).resolve().is_relative_to(folder.resolve()):
                    raise InputError(f"{peek.shown}: member {name!r} would leave the folder; not unpacked")
            archive.extractall(folder)
    except (zipfile.BadZipFile, RuntimeError, ValueError, *_BROKEN) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{peek.shown}: a zip archive that cannot be unpacked ({error}); make it again") from None
    except OSError as error:
        raise InputError(f"{peek.shown}: cannot be unpacked ({error.strerror or error})") from None


@contextmanager
def _opened(peek: Peek) -> Iterator[IO[bytes]]:
    openers = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    file = openers[peek.packed](peek.path, "rb") if peek.packed else peek.path.open("rb")
    try:
        yield file  # type: ignore[misc]
    finally:
        with suppress(OSError):
            file.close()


def _not_readable(name: str, packed: str, number: int, error: BaseException) -> InputError:
    return InputError(f"{name}: not a readable {packed} file after line {number} ({error}); make it again")
