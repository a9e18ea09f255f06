"""What was heard of each stream: where from, by which rule, how often."""

from __future__ import annotations

from ...journal import Coverage
from .._facts import Facts, Section, rest_of, shown
from .._text import Table, md, number


def _write(facts: Facts) -> list[str]:
    founding = facts.founding
    table = _by_tap(facts) if founding else _by_stream(facts)
    note = (
        'A tap is silent in evaluation mode. "n rows looked at" counts the rows of scheduled steps that were checked '
        "for finite values."
    )
    others = [
        f"{md(one.stream)} might also have been: {', '.join(md(name) for name in one.candidates[:8])}."
        for one in facts.run.coverage.values()
        if one.candidates
    ]
    note += " By epoch: `coverage.csv`." if _rest(facts) else ""
    return [shown(table, "coverage.csv", what="rows"), note if founding else "", " ".join(others[:5])]


def _rest(facts: Facts) -> str | None:
    """Return what was heard as CSV, if the report does not show all of it."""
    if not facts.founding:
        return rest_of(_by_stream(facts))
    whole = _by_epoch(facts)
    return whole.csv if len(whole.rows) > len(_by_tap(facts).rows) else None


def _by_tap(facts: Facts) -> Table:
    """Return what every tap heard in all."""
    heard: dict[str, list[Coverage]] = {}
    for one in facts.run.of(Coverage):
        heard.setdefault(one.stream, []).append(one)
    rows = []
    for stream, records in heard.items():
        epochs = {one.epoch for one in records if one.calls}
        finite = [one.finite_share for one in records if one.finite_share is not None]
        types = dict.fromkeys(one.dtype for one in records if one.dtype)
        rows.append(
            [
                md(stream),
                f"{len(epochs):,} of {len({one.epoch for one in records}):,}",
                f"{sum(one.calls for one in records):,}",
                md(", ".join(types) or "-"),
                number(min(finite, default=None)),
                f"{sum(one.n or 0 for one in records):,}",
            ]
        )
    headers = ["tap", "epochs heard", "hooks fired", "dtype", "smallest share finite", "n rows looked at"]
    return Table(headers, rows, words=["dtype"])


def _by_epoch(facts: Facts) -> Table:
    """Return what every tap heard, by epoch."""
    rows = [
        [
            md(one.stream),
            "-" if one.epoch is None else str(one.epoch),
            str(one.calls),
            md(one.dtype or "-"),
            number(one.finite_share),
            f"{one.n:,}",
        ]
        for one in facts.run.of(Coverage)
    ]
    headers = ["tap", "epoch", "hooks fired", "dtype", "share finite", "n rows looked at"]
    return Table(headers, rows, words=["dtype"])


def _by_stream(facts: Facts) -> Table:
    """Return every stream that was heard."""
    finite = {one.stream: one.finite_share for one in facts.run.of(Coverage) if one.finite_share is not None}
    rows = [
        [
            md(one.stream),
            md(one.role or "-"),
            md(one.where or "-"),
            md(one.rule or "-"),
            f"{one.steps:,}" if one.steps else "-",
            md(one.dtype or "-"),
            number(finite[one.stream]) if one.stream in finite else "-",
            "-" if one.n is None else f"{one.n:,}" + (f", {one.dimension:,}" if one.dimension else ""),
        ]
        for one in facts.diagnosis.heard
    ]
    headers = ["stream", "role", "where", "rule", "steps", "dtype", "share finite", "n, D"]
    return Table(headers, rows, words=["role", "where", "rule", "dtype"]).without_empty_columns()


STREAMS = Section(
    title="What was heard",
    applies=lambda facts: bool(facts.run.of(Coverage)) if facts.founding else bool(facts.diagnosis.heard),
    write=_write,
    files={"coverage.csv": _rest},
)
