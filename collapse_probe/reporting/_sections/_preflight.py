"""What was said of a run before its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._facts import Facts, Section
from .._text import Aside, Table, md, number

_COLOURS = {"critical": "**red**", "collapsed": "**red**", "warning": "**amber**", "healthy": "green"}


def _write(facts: Facts) -> list[str]:
    entries = facts.run.config.session["preflight"]
    red = [one for one in entries if one["status"] in ("critical", "collapsed")]
    others = [one for one in entries if one not in red]
    tables = [_table(red), Aside(_table(others)) if red else _table(others)]
    return [*tables, "What the data and the configuration say alone; nothing was trained for it."]


def _table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return audits as a table; nothing where there are none."""
    rows = [
        [
            f"{entry['code']} {md(entry['title'])}",
            number(entry["value"]) if entry["value"] is not None else "-",
            "as above" if before and before["expected"] == entry["expected"] else md(entry["expected"]),
            _COLOURS.get(entry["status"], md(entry["status"])),
            f"{entry['n']:,}" if entry["n"] else "-",
        ]
        for before, entry in zip([None, *entries], entries, strict=False)
    ]
    table = Table(["audit", "value", "expected", "result", "n pairs"], rows, words=["expected", "result"])
    return table.markdown if rows else ""


PREFLIGHT = Section(
    title="Before the first step",
    applies=lambda facts: bool(facts.run.config.session.get("preflight")),
    write=_write,
)
