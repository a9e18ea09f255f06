"""The exception that the command line turns into a one-line message and exit code 2.

A leaf of the standard library alone, so every layer may import it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what arrived, what is needed, what to write.

    The message is a single line. Where a file is at fault it begins with the file's name, and its line
    where there is one: ``pairs.jsonl:17: ...``.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not among the known ones, with the nearest known one.

    Args:
        kind: What the name should be, such as ``"recipe"``.
        name: What arrived.
        known: The names that exist.

    >>> str(unknown_name("recipe", "resprd", ["baseline", "respred"]))
    "unknown recipe 'resprd': did you mean 'respred'? Known: baseline, respred"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}")
