"""What was said of a run before its first step."""

from __future__ import annotations

from .._facts import Facts, Section
from .._text import Table, md, number

_COLOURS = {"critical": "**red**", "collapsed": "**red**", "warning": "**amber**", "healthy": "green"}


def _write(facts: Facts) -> list[str]:
    entries = facts.run.config.session["preflight"]
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
    return [table.markdown, "What the data and the configuration say alone; nothing was trained for it."]


PREFLIGHT = Section(
    title="Before the first step",
    applies=lambda facts: bool(facts.run.config.session.get("preflight")),
    write=_write,
)
