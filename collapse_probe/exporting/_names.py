"""Foreign names and texts as they stand in other programs: harmless wherever they are shown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from ..reporting import no_formula, one_line

NAME = 200
"""Characters of a name; MLflow takes 250."""

TEXT = 2000
"""Characters of a text."""

_SHOWN = str.maketrans({"<": "\u2039", ">": "\u203a", "[": "(", "]": ")", "`": "'", "|": "/", "\\": "/"})


def harmless(text: object, *, length: int = TEXT) -> str:
    r"""Return foreign text as one line that is no HTML, no Markdown link or image, no table cell and no address.

    It stays readable: brackets are replaced by others, what moves a cursor or a reading direction by ``?``.

    >>> harmless("<b>![x](http://a)\x1b[2J")
    '‹b›!(x)(http: //a)?(2J'
    """
    flat = one_line(str(text)[: 4 * length])
    shown = flat.translate(_SHOWN).replace("://", ": //")
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def cell(text: object, *, length: int = TEXT) -> str:
    """Return foreign text as a cell that no spreadsheet takes for a formula.

    >>> cell("=1+1"), cell("query")
    ("'=1+1", 'query')
    """
    return no_formula(harmless(text, length=length))


def safe_name(name: str) -> str:
    r"""Return a name of letters, digits, ``_ - . : /`` and single spaces, which every library takes as it is.

    >>> safe_name("batch/query/norm_mean"), safe_name("a//<b>\n/../c")
    ('batch/query/norm_mean', 'a/_/_b_/_/c')
    """
    short = name if len(name) <= NAME else f"{name[: NAME - 9]}-{_hash(name, 8)}"
    parts = [re.sub(r"[^\w\-.: ]|[\r\n]", "_", re.sub(r"\s+", " ", part).strip()) for part in short.split("/")]
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)


def distinct(names: Iterable[str]) -> list[str]:
    """Return a safe name for each name; where two would be the same, the later has the hash of what it was.

    >>> distinct(["a<b", "a>b"])
    ['a_b', 'a_b-998a5b']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        safe = safe_name(name)
        # Names that differ in case alone are the same to some databases and file systems.
        if safe.casefold() in taken:
            safe = f"{safe[: NAME - 7]}-{_hash(name, 6)}"
        taken.add(safe.casefold())
        found.append(safe)
    return found


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:digits]
