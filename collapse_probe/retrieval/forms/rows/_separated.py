"""Cells between separators: which separator, whether quoted, whether the first line names the columns."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ....errors import InputError
from .._cells import is_number
from .._form import Row, Table
from .._names import KNOWN, ROW_ID, plain
from .._peek import Peek, lines, shortened, whole

Quoting = Literal["quoted", "plain"]

UNNAMED = "(unnamed)"
_WRAPPED = re.compile(r'"(?:[^"]|"")*"')
_LONGEST_NAME = 64
_NAME = re.compile(r"[^\W\d][\w .:/()#-]{0,47}")
_ESCAPED = re.compile(r'(?:^|[\t,;|])"(?:[^"\\\n]|\\.)*\\"(?:[^"\\\n]|\\.)*"(?=$|[\t,;|\r\n])', re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """The cells of one row and the number of the line that it begins on."""

    number: int
    cells: list[str]


def read_separated(peek: Peek, separator: str, *, form: str, quoting: Quoting, names: Literal["any", "ids"]) -> Table:
    """Return the table of a separated file, its first line taken for names where it looks like names."""
    found = _lines(peek, separator, quoting)
    first = next(found, None)
    is_named = is_header if names == "any" else _names_ids
    # A blank first cell, as in an index that pandas writes, still leaves the others as names.
    header = first is not None and is_named(first.cells[0 if first.cells[0].strip() else 1 :])

    def rows() -> Iterator[Row]:
        lines_again = _lines(peek, separator, quoting)
        named = _names(next(lines_again).cells, peek) if header else None
        width = len(named) if named else None
        for line in lines_again:
            width = width or len(line.cells)
            where = f"{peek.shown}:{line.number}"
            if len(line.cells) != width:
                needed = f"the header has {width}" if named else f"the first line has {width}"
                raise InputError(f"{where}: {len(line.cells)} columns, where {needed} ({form})")
            keys = named or [str(number) for number in range(1, width + 1)]
            yield Row(where, dict(zip(keys, line.cells, strict=True)))

    columns = tuple(_names(first.cells, peek)) if first is not None and header else None
    return Table(form, peek.shown, header, rows if first is not None else lambda: iter(()), peek.quoted, columns)


def is_header(cells: Sequence[str]) -> bool:
    """Return whether a first line names its columns rather than holding data.

    >>> is_header(["query", "document"]), is_header(["how do I", "Brush off the dirt and wipe the chain."])
    (True, False)
    """
    stripped = [cell.strip() for cell in cells]
    known = {plain(cell) for cell in stripped} & KNOWN
    if len(known) >= 2:
        return all(len(cell) <= _LONGEST_NAME for cell in stripped)
    named = all(_NAME.fullmatch(cell) and len(cell.split()) <= 2 and len(cell) <= 32 for cell in stripped)
    return bool(stripped) and named


def cell_lines(peek: Peek) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(number, cells)`` of lines whose cells stand between tabs, commas or spaces, as judgements do."""
    bare = peek.first_line.split()
    spaced = "," not in peek.first_line or (len(bare) in (3, 4) and is_number(bare[-1]))
    separator = "\t" if "\t" in peek.first_line else None if spaced else ","
    quoting: Quoting = "plain" if separator is None else "quoted" if separator == "," else tab_quoting(peek)
    for line in _lines(peek, separator, quoting):
        yield line.number, [cell.strip() for cell in line.cells]


def _names_ids(cells: Sequence[str]) -> bool:
    known = [plain(cell) for cell in cells]
    ids = {name for names in ROW_ID.values() for name in names}
    return any(name in ids for name in known) and is_header(cells)


def choose_separator(line: str) -> str | None:
    """Return what separates the cells of a first line: a tab, else the sign that gives most known names, then cells."""
    if "\t" in line:
        return "\t"
    counts = {sign: (sum(plain(c.strip(' "')) in KNOWN for c in line.split(sign)), line.count(sign)) for sign in ",;|"}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best][1] else None


def tab_quoting(peek: Peek) -> Quoting:
    """Tell whether quotation marks of a TSV file are its writer's or part of the texts.

    They are the writer's where the whole file is what a writer gives: every cell of a column in quotation marks, or
    just those that need them; with inner ones doubled.
    """
    if not any(_begins_quoted(line) for _, line in lines(peek)):
        return "plain"
    text = whole(peek)
    rows = _tokens(text, "\t")
    if rows is not None and len({len(row) for row in rows}) == 1:
        bare_marks = any('"' in cell and not quoted for row in rows for cell, quoted in row)
        one_a_line = len({line.count("\t") for line in text.split("\n") if line.strip()}) == 1
        if not bare_marks and (not one_a_line or _as_a_writer_would(rows)):
            return "quoted"
    _refuse_half_quoted(text, peek)
    return "plain"


def _refuse_half_quoted(text: str, peek: Peek) -> None:
    """Refuse a file that a writer of quotation marks seems to have begun, and that is not what one writes.

    Raises:
        InputError: cells with doubled marks inside, or most cells of a column in marks.
    """
    rows = [line.rstrip("\r").split("\t") for line in text.split("\n") if line.strip()][1:]
    columns = list(zip(*rows, strict=False))
    wrapped = [[cell for cell in column if _WRAPPED.fullmatch(cell)] for column in columns]
    doubled = any('""' in cell[1:-1] for column in wrapped for cell in column)
    most = any(len(marked) > 0.5 * len(rows) for marked in wrapped)
    if doubled or (most and len(rows) > 3):
        raise InputError(
            f"{peek.shown}: TSV with some cells in quotation marks as a writer sets them, and others that are not; "
            "write the file again with csv.writer or pandas, or without marks around cells"
        )


def refuse_escaped(peek: Peek, form: str) -> None:
    r"""Refuse inner quotation marks written as ``\"``, which no reading here would take off.

    Raises:
        InputError: there are some.
    """
    escaped = (_ESCAPED.search(line) for _, line in lines(peek) if '\\"' in line)
    found = next((one for one in escaped if one is not None), None)
    if found is not None:
        raise InputError(
            f'{peek.shown}: {form} with quotation marks written as \\" ({shortened(found[0])}); '
            'write them doubled (""), as csv.writer and pandas do'
        )


def _begins_quoted(line: str) -> bool:
    return line.startswith('"') or '\t"' in line


def _as_a_writer_would(rows: Sequence[Sequence[tuple[str, bool]]]) -> bool:
    body = rows[1:] or rows
    commas_quoted = not any("," in cell and not quoted for row in body for cell, quoted in row)
    special = '"\t\r\n' + ("," if commas_quoted else "")
    for column in zip(*body, strict=True):
        inside = [cell for cell, quoted in column if quoted]
        outside = [cell for cell, quoted in column if not quoted]
        # All texts in marks: what is nothing, or a number, is left bare by some writers.
        all_texts = all(not cell or is_number(cell) for cell in outside)
        # Those alone that need them; some writers give marks to what is empty.
        where_needed = all(not cell or any(sign in cell for sign in special) for cell in inside)
        if not (all_texts or where_needed):
            return False
    return True


def _tokens(text: str, separator: str) -> list[list[tuple[str, bool]]] | None:
    """Return every cell with whether it was quoted; None where quotation marks are not balanced as a writer's are."""
    sign = re.escape(separator)
    # Writers leave a lone carriage return as it is, unless it is what ends their lines.
    end = r"\r?\n" if "\n" in text else r"\r"
    pattern = re.compile(rf'(?:"((?:[^"]|"")*)"|((?!{end})[^"{sign}\n](?:(?!{end})[^{sign}\n])*)?)({sign}|{end}|\Z)')
    rows: list[list[tuple[str, bool]]] = []
    row: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        found = pattern.match(text, position)
        if found is None:
            return None
        quoted = found[1] is not None
        row.append((found[1].replace('""', '"') if quoted else found[2] or "", quoted))
        position = found.end()
        if found[3] != separator:
            if len(row) > 1 or row[0][0].strip():
                rows.append(row)
            row = []
        elif position == len(text):
            rows.append([*row, ("", False)])
    return rows


def _lines(peek: Peek, separator: str | None, quoting: Quoting) -> Iterator[Line]:
    if quoting == "quoted" and separator is not None:
        return _quoted_lines(peek, separator)
    return _plain_lines(peek, separator)


def _plain_lines(peek: Peek, separator: str | None) -> Iterator[Line]:
    for number, line in lines(peek):
        bare = line.rstrip("\r\n")
        if bare.strip():
            yield Line(number, bare.split(separator))


def _quoted_lines(peek: Peek, separator: str) -> Iterator[Line]:
    before = csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line for _, line in lines(peek)), delimiter=separator, strict=True)
    end = 0
    try:
        for cells in reader:
            number, end = end + 1, reader.line_num
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield Line(number, cells)
    except csv.Error as error:
        raise InputError(
            f"{peek.shown}:{end + 1}: quotation marks that do not close as they should ({error}); "
            "write the file again with csv.writer or pandas"
        ) from None
    finally:
        csv.field_size_limit(before)


def _names(cells: Sequence[str], peek: Peek) -> list[str]:
    names = [cell.strip() or UNNAMED for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{peek.shown}:1: two columns are named {twice!r}; keep one of them")
    return names
