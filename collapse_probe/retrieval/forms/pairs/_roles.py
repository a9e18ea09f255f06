"""From the columns of rows to queries, their documents, and negatives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ....errors import InputError, setting, unknown_name
from .._form import Row, Rows, passage_text, text_of
from .._names import NEGATIVE, SCORE, as_binary, is_index, plain
from .._peek import shortened

ROLES = ("query", "document", "negative", "score")
_LABELS = ("label", "labels", "score", "relevance")
NO_SCORE = "-"
"""What the score's column is called where all rows are positive, whatever a column of labels says."""


@dataclass(frozen=True)
class Roles:
    """Which columns hold what.

    Attributes:
        query: The query's column.
        document: The document's columns, joined by a space.
        negatives: Columns of negatives.
        score: The column that says which rows are positive; None where all are.
        chosen: Whether the user named them, so that what is left out was seen.
    """

    query: str
    document: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    score: str | None = None
    chosen: bool = False

    def left_out(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Return the columns that play no role."""
        used = {self.query, *self.document, *self.negatives, self.score}
        return tuple(column for column in columns if column not in used)


class Example(NamedTuple):
    """A query with the documents that belong to it and those that do not."""

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


@dataclass
class Reading:
    """What a form of pairs was read as.

    Attributes:
        examples: Every query with its documents.
        said: Which columns were read as what.
        notes: What was left out, counted.
    """

    examples: list[Example]
    said: str
    notes: list[str] = field(default_factory=list)


def parse_columns(text: str) -> dict[str, str]:
    """Return role to column from ``query=question,document=title+text``.

    Raises:
        InputError: not of that form, or an unknown role.

    >>> parse_columns("query=question, document=title+text")
    {'query': 'question', 'document': 'title+text'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = part.partition("=")
        if not equals or not role.strip() or not column.strip():
            raise InputError(f"{setting('columns', text)}: write query=COLUMN,document=COLUMN")
        if role.strip() not in ROLES:
            raise unknown_name("role of a column", role.strip(), ROLES)
        if role.strip() in found:
            raise InputError(
                f"{setting('columns', text)}: names {role.strip()} twice; join columns by +, as in title+text"
            )
        found[role.strip()] = column.strip()
    return found


def chosen_roles(rows: Rows, columns: Mapping[str, str]) -> Roles:
    """Return the roles that the user named.

    Raises:
        InputError: a column that is not there, or no query and document among them.
    """
    for role in ("query", "document"):
        if role not in columns:
            raise InputError(f"{rows.found}: {role}=COLUMN is missing; write query=COLUMN,document=COLUMN")
    by_plain: dict[str, list[str]] = {}
    for name in rows.columns:
        by_plain.setdefault(plain(name), []).append(name)

    def find(name: str) -> str:
        if name in rows.columns:
            return name
        near = by_plain.get(plain(name), [])
        if len(near) != 1:
            named = "; its first line was read as names: write a line with names above it" if name.isdigit() else ""
            raise InputError(f"{rows.found}: no column {name!r}{named if rows.table.named else ''}")
        return near[0]

    if columns["query"] == columns["document"]:
        raise InputError(f"{rows.found}: {columns['query']!r} cannot be both query and document")
    score = columns.get("score")
    roles = Roles(
        find(columns["query"]),
        tuple(find(name.strip()) for name in columns["document"].split("+")),
        tuple(find(name.strip()) for name in columns["negative"].split("+")) if "negative" in columns else (),
        None if score in (None, NO_SCORE) else find(score),
        chosen=True,
    )
    # Who names a query and a document may not have thought of the labels beside them.
    return with_score(roles, rows) if score is None else roles


def negative_columns(rows: Rows) -> tuple[str, ...]:
    """Return the columns whose names say that they hold negatives."""
    return tuple(c for c in rows.columns if NEGATIVE.fullmatch(plain(c)) and not _says_yes_or_no(rows, c))


def _says_yes_or_no(rows: Rows, column: str) -> bool:
    cells = [row.values.get(column) for row in rows.rows]
    said = [as_binary(cell) for cell in cells if cell is not None and str(cell).strip()]
    return bool(said) and None not in said


def with_score(roles: Roles, rows: Rows) -> Roles:
    """Return roles with the column that says which rows are positive, where one looks like it.

    Raises:
        InputError: several look like it.
    """
    found = [
        name for name in roles.left_out(rows.columns) if SCORE.fullmatch(plain(name)) and _is_scalar(rows.rows, name)
    ]
    inside = next((name for name in roles.left_out(rows.columns) if plain(name) in _LABELS and name not in found), None)
    if inside is not None and any(row.values.get(inside) is not None for row in rows.rows):
        raise InputError(
            f"{rows.found}: {inside!r} does not hold one value a row, so it does not say which rows are positive; "
            f"give {_spelt(roles, score=NO_SCORE)} to take all of them"
        )
    if len(found) > 1:
        raise InputError(
            f"{rows.found}: {', '.join(map(repr, found))} may all say which rows are positive; "
            f"give {_spelt(roles, score=found[0])}"
        )
    return replace(roles, score=found[0] if found else None)


def read_roles(rows: Rows, roles: Roles, *, min_score: float | None) -> Reading:
    """Return the examples of rows.

    Args:
        rows: The rows.
        roles: Which column holds what.
        min_score: Rows with at least this score are positive.

    Raises:
        InputError: a cell that is no text, graded scores without ``min_score``, or what may be labels unnamed.
    """
    if not roles.chosen:
        _check_left_out(rows, roles)
    positive = _positive_rows(rows, roles, min_score)
    examples: list[Example] = []
    refused: dict[str, list[str]] = {}
    without = 0
    for row, keep in zip(rows.rows, positive, strict=True):
        query = _text(_cell(row, roles.query, rows), roles.query, row.where)
        documents = _documents(row, roles, rows)
        if not keep:
            refused.setdefault(query, []).extend(documents)
            continue
        negatives = [text for name in roles.negatives for text in texts_of(row.values.get(name), name, row.where)]
        without += not documents
        if documents:
            examples.append(Example(query, tuple(documents), tuple(text for text in negatives if text.strip())))
    if not examples:
        raise InputError(f"{rows.found}: no row is positive; at least one is needed")
    examples = [Example(q, p, (*n, *refused.get(q, ()))) for q, p, n in examples]
    return Reading(examples, _said(rows, roles), _notes(rows, roles, positive, without, min_score))


def texts_of(value: Any, name: str, where: str) -> list[str]:
    """Return the texts of a cell: a text, a passage with title and text, or a list of either; none of nothing."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        deep = next((part for part in value if isinstance(part, list | tuple)), None)
        if deep is not None:
            raise InputError(f"{where}: {name!r} has lists in a list, where texts or passages are needed")
        return [text for part in value for text in texts_of(part, name, where)]
    if isinstance(value, Mapping):
        return [passage_text(value, name, where)]
    return [text_of(value, name, where)]


def _documents(row: Row, roles: Roles, rows: Rows) -> list[str]:
    name = "+".join(roles.document)
    if len(roles.document) > 1:
        parts = [text_of(_cell(row, column, rows), column, row.where) for column in roles.document]
        return [_text(" ".join(parts).strip(), name, row.where)]
    value = _cell(row, name, rows)
    if isinstance(value, list | tuple | Mapping):
        return [_text(text, name, row.where) for text in texts_of(value, name, row.where)]
    return [_text(value, name, row.where)]


def _cell(row: Row, name: str, rows: Rows) -> Any:
    if name not in row.values:
        found = ", ".join(map(repr, row.values)) or "nothing"
        raise InputError(f"{row.where}: has {found}; {name!r} is needed, as in the rows above")
    return row.values[name]


def _text(value: Any, name: str, where: str) -> str:
    text = text_of(value, name, where)
    if not text.strip():
        raise InputError(f"{where}: {name!r} is blank; write a text or leave the pair out")
    return text


def _is_scalar(rows: Sequence[Row], name: str) -> bool:
    return any(isinstance(row.values.get(name), bool | int | float | str) for row in rows)


def _check_left_out(rows: Rows, roles: Roles) -> None:
    """Refuse a column that may be a label by its cells, though its name does not say so."""
    for name in roles.left_out(rows.columns):
        if is_index(name):
            continue
        cells = [row.values.get(name) for row in rows.rows]
        said = {as_binary(cell) for cell in cells if cell is not None and str(cell).strip()}
        if said == {True, False} or (said - {None} and None not in said and NEGATIVE.fullmatch(plain(name))):
            raise InputError(
                f"{rows.found}: {name!r} says yes or no on every row and may be a label; "
                f"give {_spelt(roles, score=name)}, or {_spelt(roles)} to leave it out"
            )


def _positive_rows(rows: Rows, roles: Roles, min_score: float | None) -> list[bool]:
    if roles.score is None:
        if min_score is not None:
            raise InputError(f"{rows.found}: {setting('min_score', f'{min_score:g}')} needs a column of scores")
        return [True] * len(rows.rows)
    name = roles.score
    for row in rows.rows:
        if row.values.get(name) is None or not str(row.values[name]).strip():
            raise InputError(f"{row.where}: {name!r} is blank; every row needs one, or leave the column out")
    values = [row.values[name] for row in rows.rows]
    binary = [as_binary(value) for value in values]
    if None not in binary and min_score is None:
        return [bool(value) for value in binary]
    numbers = [_number(value) for value in values]
    unlike = next((value for value, number in zip(values, numbers, strict=True) if number is None), None)
    if unlike is not None and as_binary(unlike) is not None:
        least = setting("min_score", f"{min_score:g}")
        raise InputError(f"{rows.found}: {name!r} says yes or no, not how much; leave {least} out")
    if unlike is not None:
        raise InputError(
            f"{rows.found}: {name!r} holds {shortened(str(unlike))}, neither a number nor yes or no; "
            "keep the rows that are positive and leave the column out"
        )
    scores = [number for number in numbers if number is not None]
    if min_score is None:
        raise InputError(
            f"{rows.found}: {name!r} is graded ({min(scores):g} to {max(scores):g}) and does not say which rows are "
            f"positive; give {setting('min_score', f'{_upper(scores):g}')}: rows below it are left out"
        )
    return [score >= min_score for score in scores]


def _upper(scores: Sequence[float]) -> float:
    return sorted(scores)[len(scores) // 2]


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _spelt(roles: Roles, *, score: str | None = None) -> str:
    parts = [f"query={roles.query}", f"document={'+'.join(roles.document)}"]
    if roles.negatives:
        parts.append(f"negative={'+'.join(roles.negatives)}")
    if score is not None:
        parts.append(f"score={score}")
    return setting("columns", ",".join(parts))


def _said(rows: Rows, roles: Roles) -> str:
    def column(name: str) -> str:
        return name if rows.table.named else f"column {name}"

    parts = [f"query = {column(roles.query)}", f"document = {' + '.join(map(column, roles.document))}"]
    if roles.negatives:
        parts.append(f"negatives = {', '.join(map(column, roles.negatives))}")
    if roles.score is not None:
        parts.append(f"positive by {column(roles.score)}")
    left_out = roles.left_out(rows.columns)
    if left_out:
        parts.append(f"left out: {', '.join(map(column, left_out))}")
    return ", ".join(parts)


def _notes(rows: Rows, roles: Roles, positive: Sequence[bool], without: int, min_score: float | None) -> list[str]:
    notes = []
    refused = len(positive) - sum(positive)
    if roles.score is not None and refused:
        rule = "0" if min_score is None else f"below {min_score:g}"
        notes.append(f"{refused:,} of {len(positive):,} rows left out: {roles.score} is {rule}, so they are negatives")
    if without:
        notes.append(f"{without:,} of {len(positive):,} rows left out: no positive document")
    return notes
