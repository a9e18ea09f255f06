"""Settings as the command line spells them."""

from __future__ import annotations

import shlex

_OTHER = {"columns": "map", "collections": "beir"}


def as_flag(name: str, value: str | None) -> str:
    """Return a setting as a flag.

    >>> as_flag("min_score", "0.5"), as_flag("columns", None)
    ('--min-score 0.5', '--map')
    """
    if name == "identical_ids":
        return f"--{value}-identical-ids"
    flag = "--" + _OTHER.get(name, name.replace("_", "-"))
    return flag if value is None else f"{flag} {shlex.quote(value)}"
