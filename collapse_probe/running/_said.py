"""What is said of a program that is run: on standard error, which the program has beside its own output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable


class Said(logging.Handler):
    """Writes lines of ours to the standard error that there was when the program began; never raises.

    Args:
        quiet: Returns whether nothing is written any more: in all processes of a training but the first.
        spell: Spells settings in messages of the library.
    """

    def __init__(self, *, quiet: Callable[[], bool] = bool, spell: Callable[[str], str] = str) -> None:
        super().__init__()
        self._stream = sys.stderr
        self._asked = quiet
        self._quiet = False
        self._spell = spell
        self._known: set[str] = set()
        self._before: tuple[bool, list[logging.Handler]] | None = None

    def look(self) -> None:
        """Look whether this process is to be quiet: a program may say late which of several it is."""
        self._quiet = self._quiet or self._asked()

    def line(self, text: str) -> None:
        """Write one line."""
        self.block(f"collapse-probe: {self._spell(text)}")

    def spelt(self, text: str) -> str:
        """Return a text with settings as the program's user gives them."""
        return self._spell(text)

    def once(self, text: str) -> None:
        """Write one line, unless it was written before."""
        if text not in self._known:
            self._known.add(text)
            self.line(text)

    def block(self, text: str) -> None:
        """Write a text of several lines as it is, in the letters that the stream has."""
        self.look()
        if self._quiet or self._stream is None:
            return
        try:
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._quiet = True

    def emit(self, record: logging.LogRecord) -> None:
        """Write what the library logs."""
        self.block(self._spell(record.getMessage()))

    def listen(self) -> None:
        """Take what the library logs, past whatever the program does with its own log."""
        logger = logging.getLogger("collapse_probe")
        self._before = logger.propagate, list(logger.handlers)
        logger.propagate, logger.handlers = False, [self]

    def leave(self) -> None:
        """Give the library's log back."""
        if self._before is not None:
            logger = logging.getLogger("collapse_probe")
            logger.propagate, logger.handlers = self._before
            self._before = None
