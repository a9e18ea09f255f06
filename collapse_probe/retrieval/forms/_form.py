"""What a form is: how it is recognised, what it holds, how it is read or why it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...errors import InputError
from ._peek import Peek, shortened

_SHOWN = 10
"""Columns that a message names."""

Holds = Literal["rows", "pairs", "collection", "nothing"]


class Row(NamedTuple):
    """One row of a table: where it stands, for messages, and its cells by column."""

    where: str
    values: dict[str, Any]


@dataclass(frozen=True)
class How:
    """What is known of the reader's purpose, of which a form takes what concerns it.

    Attributes:
        split: Which split of a data set that has several.
        names: What makes a first line a header: ``any`` names, or known ones of ``ids`` and texts alone.
        min_score: Rows with at least this score are positive.
        folder: Where the texts of ids are looked for.
    """

    split: str = "train"
    names: Literal["any", "ids"] = "any"
    min_score: float | None = None
    folder: Path = Path()


@dataclass(frozen=True)
class Table:
    """The rows of a file or of several, not read yet.

    Attributes:
        form: Name of the form.
        source: As the user named it.
        named: Whether columns have names; else they are numbered from ``"1"``.
        rows: Begins to read.
        first: The first line or row, as a message shows it.
        columns: The names in a first line; None where there is none, or the form has none.
    """

    form: str
    source: str
    named: bool
    rows: Callable[[], Iterator[Row]]
    first: str
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form that people keep texts in.

    Attributes:
        name: What messages call it.
        holds: ``rows`` of any meaning, training ``pairs``, a ``collection``, or ``nothing`` that can be read.
        looks: What it looks like, in one line of the documentation.
        recognise: Whether it is this form: of rows, collections and refused forms from a :class:`Peek`, of pairs
            from the :class:`Rows` of any table.
        read: Takes what was recognised and a :class:`How`; gives a :class:`Table` of rows, a ``Reading`` of pairs.
            None for a form that is refused, and for layouts that are read part by part.
        instead: What to do instead, for a form that is refused.
    """

    name: str
    holds: Holds
    looks: str
    recognise: Callable[[Any], bool]
    read: Callable[..., Any] | None = None
    instead: str = ""


class Rows(NamedTuple):
    """All rows of a table with the columns that any of them has."""

    table: Table
    columns: tuple[str, ...]
    rows: Sequence[Row]

    @property
    def found(self) -> str:
        """The form, its columns and its first line, as a message tells them."""
        kind = "columns" if self.table.named else f"{len(self.columns)} columns without names"
        more = f" and {len(self.columns) - _SHOWN} more" if len(self.columns) > _SHOWN else ""
        names = f" {', '.join(map(repr, self.columns[:_SHOWN]))}{more}" if self.table.named else ""
        return f"{self.table.source}: {self.table.form} with {kind}{names} (first: {self.table.first})"


def all_rows(table: Table) -> Rows:
    """Read every row of a table.

    Raises:
        InputError: no rows.
    """
    rows = list(table.rows())
    if not rows:
        raise InputError(f"{table.source}: {table.form} without rows; at least one pair is needed")
    return Rows(table, tuple(dict.fromkeys(name for row in rows for name in row.values)), rows)


def text_of(value: Any, name: str, where: str) -> str:
    """Return a cell that has to be a text.

    Raises:
        InputError: something else, or one that no encoder can read.
    """
    if not isinstance(value, str):
        kind = "nothing" if value is None else f"{type(value).__name__} {shortened(str(value))}"
        raise InputError(f"{where}: {name!r} must be text, got {kind}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{where}: {name!r} has half of a surrogate pair, which is no character; mend it") from None
    return value


def passage_text(value: Mapping[str, Any], name: str, where: str) -> str:
    """Return ``title + " " + text`` of a passage, stripped.

    Raises:
        InputError: it has no text.
    """
    body = next((key for key in ("text", "contents", "content", "passage", "body") if value.get(key) is not None), None)
    if body is None:
        raise InputError(
            f"{where}: a passage of {name!r} has {', '.join(map(repr, value)) or 'nothing'}, but no 'text'"
        )
    title = value.get("title")
    parts = [text_of(title, "title", where)] if title is not None else []
    return " ".join([*parts, text_of(value[body], body, where)]).strip()


def refused(peek: Peek, why: str) -> InputError:
    """Return the error for something that was recognised and cannot be used."""
    return InputError(f"{peek.shown}: {why}")
