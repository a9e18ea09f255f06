"""Which model to keep: the raw encoder, step 0, the epochs and the interpolations, on every collection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...diagnosis import (
    HEADLINE,
    Candidate,
    candidates,
    change,
    choose_checkpoint,
    collections,
    evaluation_records,
    keeping,
    last_epoch,
    value_of,
)
from ...journal import Counterfactual
from ...statistics import Interval
from .._facts import Facts, Section
from .._text import Table, bullets, interval, md, score

_NOTE = "t: share of the way from {first} to {last}, without training. Intervals are not adjusted."


def _applies(facts: Facts) -> bool:
    return any(one.family == "interpolation" for one in facts.run.of(Counterfactual))


def _development(facts: Facts) -> str | None:
    return next((label for label, _, _ in evaluation_records(facts.run, role="development")), None)


def _write(facts: Facts) -> list[str]:
    blocks = [bullets(lines)] if (lines := _sentences(facts)) else []
    scored, inside = collections(facts.run), _inside(facts)
    for collection in [one for one in scored if one != inside] or scored:
        table = _table(facts, collection, None if inside == collection else inside)
        if table.rows:
            blocks += [f"### {md(collection)}", table.markdown]
    models = facts.run.config.examined
    ends = (md(models[0].name), md(models[-1].name)) if models else ("step 0", "the last epoch")
    return [*blocks, _NOTE.format(first=ends[0], last=ends[1])]


def _sentences(facts: Facts) -> list[str]:
    """Return what the development split chose, and how that does on the queries that did not choose it."""
    run, development = facts.run, _development(facts)
    choice = choose_checkpoint(run)
    if development is None:
        return _unchosen(facts)
    if choice.rule != HEADLINE:
        return []
    lines = [f"Chosen: {md(choice.why)}."]
    for collection in collections(run):
        found = candidates(run, collection)
        last = last_epoch(found)
        if choice.candidate not in found or last in (None, choice.candidate):
            continue
        gain = change(run, found, last, choice.candidate)
        n = int(found[choice.candidate].get("n_queries") or 0)
        lines.append(
            f"On {md(collection)}, whose n = {n:,} queries chose nothing, it scores "
            f"{score(value_of(found[choice.candidate]))} nDCG@10, {interval(gain)} against the last epoch."
        )
    return lines


def _unchosen(facts: Facts) -> list[str]:
    """Return what gains, where no development split chose."""
    found = keeping(facts.run)
    if found is None:
        return []
    gain = Interval(found.gain or 0.0, found.low or 0.0, found.high or 0.0, math.nan)
    over = "the last model" if facts.run.config.examined else "the last epoch"
    return [
        f"**{md(str(found.change['keep']))}** gains {interval(gain)} {md(found.reading)} over {over} and is "
        "worse nowhere that it was scored. It was picked on these queries, so the interval is adjusted for all "
        "that were compared; a development split would choose on others."
    ]


def _inside(facts: Facts) -> str | None:
    """Return the collection of the trained domain that stands beside the others: held-out pairs, where scored."""
    records = evaluation_records(facts.run)
    return next((label for (label, _, _), one in records.items() if one.get("domain") == "in"), None)


def _table(facts: Facts, collection: str, inside: str | None) -> Table:
    run, development = facts.run, _development(facts)
    found, pairs = candidates(run, collection), candidates(run, inside) if inside else {}
    chose = {} if development is None else candidates(run, development, role="development")
    last, first = last_epoch(found), next((one for one in found if one.path == "raw"), None)
    first = first or next((one for one in found if not one.epoch), None)
    kept = keeping(run)
    keep = str(kept.change["keep"]) if kept else ""
    rows = []
    for one in _shown(found, chose, keep):
        cells = [
            None if one == last else interval(change(run, found, last, one)),
            None if first is None or one == first else interval(change(run, found, first, one)),
        ]
        beside = [_value(chose, one)] if chose else []
        label = one.label.removeprefix("the ") if one.t is None else f"t = {one.t:g}"
        of_pairs = None if one == last else change(run, pairs, last_epoch(pairs), one)
        held_out = [_value(pairs, one), interval(of_pairs)] if pairs else []
        n = f"{_n(found):,}"
        rows.append([md(label), *beside, score(value_of(found[one])), *(cell or "-" for cell in cells), *held_out, n])
    headers = [
        "model",
        *([f"{md(development)} (chooses, n = {_n(chose):,})"] if chose else []),
        "nDCG@10",
        "vs last [95 %]",
        f"vs {_short(first)} [95 %]",
        *([f"{md(inside)} (n = {_n(pairs):,})", "vs last [95 %]"] if pairs and inside else []),
        "n",
    ]
    return Table(headers, rows)


def _short(one: Candidate | None) -> str:
    return "raw" if one is None or one.path == "raw" else md(one.label)


def _shown(found: Mapping[Candidate, Any], chose: Mapping[Candidate, Any], keep: str) -> list[Candidate]:
    """Return the raw encoder, step 0, interpolations and the last epoch, with the one to keep.

    All epochs stand in the tables of retrieval.
    """
    of_chosen = [one for one in chose if one.t is None and one.epoch > 0]
    best = max(of_chosen, key=lambda one: value_of(chose[one]), default=None)
    kept = {best, last_epoch(found)}
    shown = [one for one in found if one.t is not None or one.epoch == 0 or one in kept or one.label == keep]
    return sorted(shown, key=lambda one: (one.epoch > 0, one.t is None))


def _value(found: Mapping[Candidate, Any], one: Candidate) -> str:
    return score(value_of(found[one])) if one in found else "-"


def _n(found: Mapping[Candidate, Any]) -> int:
    return int(next(iter(found.values()), {}).get("n_queries") or 0)


CANDIDATES = Section(title="Which model to keep", applies=_applies, write=_write)
