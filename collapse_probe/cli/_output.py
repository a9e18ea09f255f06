"""What is printed may be lost without ending what prints it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ASCII = str.maketrans({**dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)), "…": "..."})


def columns() -> int:
    """Return the columns of the terminal, or of ``COLUMNS``: 100 at most, and where there is neither."""
    return min(100, shutil.get_terminal_size((100, 24)).columns)


def writable(text: str) -> str:
    """Return a text in what the standard output's encoding has, blocks as ASCII where they are not in it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


class _Lasting:
    """A stream that drops what it cannot write, and everything after it.

    Attributes:
        lost: What kept it from writing, the first before.
    """

    def __init__(self, stream: Any, lost: list[OSError]) -> None:
        self._stream = stream
        self.lost = lost

    @property
    def buffer(self) -> _Lasting:
        """The bytes below, which click writes to where the encoding is ASCII."""
        return _Lasting(self._stream.buffer, self.lost)

    def write(self, text: str | bytes) -> int:
        """Write a text, or drop it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Write what is held back, or drop it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Send everything nowhere: Python tries once more when it ends, and would exit with a code of its own."""
        self.lost.append(error)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_output() -> Iterator[list[OSError]]:
    """Let standard output and error fail without an exception.

    Yields a list that has, after the end, what kept standard output from being written. A reader that leaves early, as
    ``head`` does, is no failure and is not in it.
    """
    failures: list[OSError] = []
    before = sys.stdout, sys.stderr
    out, err = kept = [None if stream is None else _Lasting(stream, []) for stream in before]
    sys.stdout, sys.stderr = out, err  # type: ignore[assignment]
    try:
        yield failures
    finally:
        for one in kept:
            if one is not None:
                one.flush()
        if out is not None and out.lost and not isinstance(out.lost[0], BrokenPipeError):
            failures.append(out.lost[0])
        sys.stdout, sys.stderr = before
