"""Which finished models were examined, by what settings they make vectors, and how they loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._facts import MOST_ROWS, Facts, Section, rest_of
from .._moments import spread
from .._text import Table, bullets, md, number

FILE = "models.csv"
_PROMPTS = ("query prompt", "document prompt")


def _models(facts: Facts) -> list[Mapping[str, Any]]:
    found = facts.run.config.session.get("models")
    listed = found if facts.run.config.examined and isinstance(found, list) else []
    return [one for one in listed if isinstance(one, Mapping) and isinstance(one.get("settings"), Mapping)]


def _table(facts: Facts) -> Table:
    models = _models(facts)
    names = [name for name in (models[0]["settings"] if models else ()) if name not in _PROMPTS]
    # Empty prompts are most models' and say nothing.
    names += [name for name in _PROMPTS if any(one["settings"].get(name) not in ('""', None) for one in models)]
    rows = []
    for one in models:
        step = f"{one.get('step'):,}" if one.get("counted") else "-"
        settings = [md(str(one["settings"].get(name, "-"))[:80]) for name in names]
        twice = float(one.get("twice") or 0.0)
        same = "the same bits" if twice == 0 else f"differ by {number(twice)}"
        weights = "those of the first" if one.get("equal") else md(str(one.get("weights_sha256", ""))[:12])
        rows.append([md(str(one.get("name"))), step, *settings, same, weights])
    headers = ["model", "step", *map(md, names), "two loads", "weights"]
    return Table(headers, rows, words=tuple(name for name in headers if name != "step"))


def _write(facts: Facts) -> list[str]:
    models = _models(facts)
    first = md(str(models[0].get("name"))) if models else ""
    lines = [
        f"**{md(str(one.get('name')))}** is other than {first}: {', '.join(md(str(said)) for said in one['differs'])}."
        for one in models[1:]
        if one.get("differs")
    ]
    lines += [f"{md(str(one.get('name')))}: {md(str(said))}." for one in models for said in one.get("assumed") or ()]
    lines += [_keys(one) for one in models if one.get("missing") or one.get("unexpected")]
    lines += [f"{md(said)}." for said in facts.run.config.remarks]
    note = (
        f"The others are held against {first}. Every model is scored with its own settings, as it would be served. "
        "`tokens` is a digest of the tokens of some of the texts."
    )
    return [*_shown(_table(facts)), note, bullets(lines[:20])]


def _shown(table: Table) -> list[str]:
    """Return the first model, the last one, which is judged, and some between, with how many are left out."""
    left = len(table.rows) - MOST_ROWS
    if left <= 0:
        return [table.markdown]
    some = Table(table.headers, [table.rows[at] for at in spread(len(table.rows), MOST_ROWS)], table.words)
    return [some.markdown, f"{left:,} more {'is' if left == 1 else 'are'} in `{FILE}`."]


def _keys(one: Mapping[str, Any]) -> str:
    counted = [f"{len(one.get(name) or ())} {name}" for name in ("missing", "unexpected") if one.get(name)]
    return f"{md(str(one.get('name')))}: {' and '.join(counted)} weights in its files, which no vector is made of."


MODELS = Section(
    title="The models",
    applies=lambda facts: bool(_models(facts)),
    write=_write,
    files={FILE: lambda facts: rest_of(_table(facts))},
)
