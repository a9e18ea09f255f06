"""Numbers and foreign text as they stand in a report."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..statistics import Interval, PairedDifference, SeededDifference

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$&])")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]<>|#~$&])")


def number(value: float | None, *, digits: int = 4) -> str:
    """Return a number with some significant digits; never zeros for what is not zero.

    >>> number(0.00017551), number(0.0), number(None), number(123456.0), number(0.03)
    ('1.755e-04', '0', 'not measured', '123456', '0.03')
    """
    if value is None:
        return "not measured"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e9:
        return f"{value:.{digits - 1}e}"
    if abs(value) >= 10**digits:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def score(value: float | None) -> str:
    """Return a metric in [0, 1] with four decimals, as the field prints it; a smaller one with its digits.

    >>> score(0.64508), score(0.0), score(0.00001)
    ('0.6451', '0', '1.000e-05')
    """
    if value is None or not math.isfinite(value) or abs(value) < 5e-5:
        return number(value)
    return f"{value:.4f}"


def signed(value: float) -> str:
    """Return a difference of metrics with its sign, as :func:`score` would print it.

    >>> signed(-0.08502), signed(0.0)
    ('-0.0850', '0')
    """
    return f"{value:+.4f}" if math.isfinite(value) and abs(value) >= 5e-5 else number(value)


def percent(value: float | None) -> str:
    """Return a share as a signed percentage; a dash where it cannot be said."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:+.2f} %"


def interval(difference: PairedDifference | SeededDifference | Interval | None) -> str:
    """Return a difference with its 95 % interval, where the sample gives one."""
    if difference is None:
        return "-"
    text = signed(difference.value if isinstance(difference, Interval) else difference.mean)
    if math.isnan(difference.low):
        return text
    return f"{text} [{signed(difference.low)}, {signed(difference.high)}]"


def change(found: tuple[float, Any] | None) -> str:
    """Return a change and what its interval is, as :func:`interval` would."""
    if found is None:
        return "-"
    value, ends = found
    return signed(value) if math.isnan(ends.low) else f"{signed(value)} [{signed(ends.low)}, {signed(ends.high)}]"


def one_line(text: object, *, most: int = 600) -> str:
    r"""Return foreign text as one line without anything that moves a cursor or is not seen.

    Args:
        text: Anything; of a long one both ends are kept.
        most: Characters.

    >>> one_line("a\x1b[31m\nb"), one_line("x" * 1_000_000, most=5)
    ('a?[31m b', 'xx…xx')
    """
    flat = str(text)
    # Before anything else is done to it: a megabyte takes a while.
    flat = " ".join((flat if len(flat) <= 4 * most else f"{flat[: 2 * most]}{flat[-2 * most :]}").split())
    if len(flat) > most:
        flat = f"{flat[: most // 2]}…{flat[len(flat) - (most - most // 2 - 1) :]}"
    return "".join("?" if unicodedata.category(one)[0] == "C" else one for one in flat)


def md(text: object) -> str:
    """Return foreign text as one line of literal Markdown: nothing in it becomes markup or a table cell.

    >>> md("a|b <i>c</i>")
    'a\\\\|b \\\\<i\\\\>c\\\\</i\\\\>'
    """
    flat = one_line(text)
    return _SPECIAL.sub(r"\\\1", flat)


def code(text: object) -> str:
    """Return foreign text as an inline code span in a table's cell, where a bar ends the cell even in code.

    >>> code("x `y`")
    '`` x `y` ``'
    """
    flat = one_line(text).replace("|", r"\|")
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def fenced(text: str) -> str:
    """Return text as a code block that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def bullets(lines: Iterable[str]) -> str:
    """Return Markdown sentences as a list."""
    return "\n".join(f"- {line}" for line in lines)


class Aside(str):
    """A block of Markdown that only the page shows: the Markdown has little room, and says that there is more."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """A Markdown table: cells are Markdown already.

    Attributes:
        headers: One for each column.
        rows: Cells.
        words: Headers of the columns of words, which stand left; the first one does, all others stand right.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str] = ()

    @property
    def markdown(self) -> str:
        """The table's lines."""
        left = {self.headers[0], *self.words}
        alignment = ["---" if header in left else "---:" for header in self.headers]
        lines = [self.headers, alignment, *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    @property
    def csv(self) -> str:
        """The table as CSV."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([[_ESCAPED.sub(r"\1", cell) for cell in row] for row in [self.headers, *self.rows]])
        return out.getvalue()

    def without_empty_columns(self) -> Table:
        """Return the table without the columns in which no row has a value."""
        kept = [at for at in range(len(self.headers)) if at == 0 or any(row[at] not in ("", "-") for row in self.rows)]
        return Table([self.headers[at] for at in kept], [[row[at] for at in kept] for row in self.rows], self.words)

    def first(self, count: int) -> Table:
        """Return the table's first rows."""
        return Table(self.headers, self.rows[:count], self.words)

    def __bool__(self) -> bool:
        return bool(self.rows)
