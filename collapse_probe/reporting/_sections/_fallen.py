"""Who fell: the queries that lost most, and what the documents that took their places have in common."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from ...diagnosis import Fallen, LostQuery, Taker
from ...diagnosis.screen import metric as metric_label
from ...journal import TOP
from .._facts import MOST_ROWS, Facts, Section
from .._moments import beginning, called
from .._spreadsheet import as_csv
from .._text import Table, bullets, md, signed

QUERIES_FILE, TAKERS_FILE = "failing_queries.csv", "place_takers.csv"

_BYTES = 2_400
"""Bytes of the section: rows that do not fit are in the file alone."""

_COLLECTIONS = 3
_QUERY, _DOCUMENT = 120, 60
"""Characters of a text that are shown."""


def _write(facts: Facts) -> list[str]:
    found = facts.diagnosis.who_fell
    said = bullets(_said(one, against=_against(facts, one)) for one in found[:_COLLECTIONS])
    files = f"Every lost query is in `{QUERIES_FILE}`"
    files += f", every document that took a place in `{TAKERS_FILE}`." if any(one.places for one in found) else "."
    first = found[0]
    if not first.fell or not first.kept:
        return [said, files]
    count = min(MOST_ROWS, len(first.lost))
    while count:
        title = f"Those that lost most on {md(first.collection)}, {count:,} of {len(first.lost):,}:"
        blocks = [said, title, _table(first, count).markdown, files]
        if sum(len(block.encode()) for block in blocks) <= _BYTES:
            return blocks
        count -= 1
    return [said, files]


def _against(facts: Facts, one: Fallen) -> str:
    return "the raw encoder" if one.against == "raw" else beginning(facts, one.since)


def _said(one: Fallen, *, against: str) -> str:
    sentences = [
        f"On {md(one.collection)}, {len(one.lost):,} of {one.n:,} queries lost more than .2 "
        f"{md(metric_label(one.metric))} against {against}, and {one.gained:,} gained as much."
    ]
    if one.worst_tenth is not None:
        how = {"broad": "The fall is broad: the", "few": "The fall is in a few queries: the"}.get(one.spread, "The")
        how = how if one.fell else "The"
        sentences.append(f"{how} worst tenth of the queries holds {_share(one.worst_tenth)} of the loss.")
    if not one.kept:
        sentences.append("Which documents took their places was not kept.")
    elif one.places:
        some = one.half
        sentences.append(
            f"{len(some):,} of {len(one.takers):,} documents took {_share(one.share)} of the {one.places:,} "
            "places that were taken above right ones."
        )
        common = _common(one)
        sentences += [f"Of these: {'; '.join(common)}."] if common else []
        sentences.append(_most(one, some[0]))
    return " ".join(sentences)


def _common(one: Fallen) -> list[str]:
    """Return what the documents that took half of the places have in common, and in brackets all documents."""
    some, corpus = one.half, one.corpus
    hubs = sum(taker.hub for taker in some)
    ranked = one.depth is None or one.depth >= TOP
    parts = ranked * [
        f"hubs {hubs:,} ({_share(one.hubs)} of all documents), in the first ten of "
        f"{median(taker.after for taker in some):g} queries on median ({median(taker.before for taker in some):g} "
        "before)"
    ]
    seen = [taker.seen for taker in some if taker.seen is not None]
    if seen:
        parts.append(f"trained on {sum(seen):,} of {len(seen):,}{_of_all(corpus.get('seen'))}")
    lengths = [taker.length for taker in some if taker.length is not None]
    if lengths and corpus.get("length") is not None:
        parts.append(f"median length {median(lengths):,.0f} characters ({corpus['length']:,} of all)")
    for language, count in list(one.languages.items())[:2]:
        of_all = corpus.get("language_share") if corpus.get("language") == language else None
        parts.append(f"{md(language)} {count:,}{_of_all(of_all)}")
    return parts


def _most(one: Fallen, taker: Taker) -> str:
    text = _cut(one.texts.get("documents", {}).get(taker.document, ""), _DOCUMENT)
    quoted = f' ("{md(text)}")' if text else ""
    return f"Document {md(_cut(taker.document, _DOCUMENT))}{quoted} took most, {taker.places:,} places."


def _table(one: Fallen, count: int) -> Table:
    rows = [
        [
            _named(query.query, one, "queries", _QUERY),
            signed(query.change),
            "-" if query.right is None else _named(query.right, one, "documents", _DOCUMENT),
            f"{_rank(query.rank_before, one)} to {_rank(query.rank_after, one)}",
            md(_cut(query.takers[0], 24)) if query.takers else "-",
        ]
        for query in one.lost[:count]
    ]
    headers = [f"n = {one.n:,} queries", "change", "right document", "rank", "now first above"]
    return Table(headers, rows, ["right document"])


def _named(key: str, one: Fallen, kind: str, length: int) -> str:
    text = one.texts.get(kind, {}).get(key, "")
    return md(_cut(key, 24) + (f": {_cut(text, length)}" if text else ""))


def _rank(rank: int | None, one: Fallen) -> str:
    return str(rank) if rank is not None else "-" if one.depth is None else f"beyond {one.depth:,}"


def _cut(text: str, length: int) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= length else f"{flat[: length - 1].rstrip()}…"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _of_all(share: float | None) -> str:
    return "" if share is None else f" ({_share(share)} of all)"


def _queries(facts: Facts) -> str | None:
    headers = [
        *("collection", "query", "text", "metric", "against", "before", "after", "change"),
        *("right_document", "right_text", "rank_before", "rank_after", "taken_by"),
    ]
    return as_csv(headers, (row for one in facts.diagnosis.who_fell for row in map(_cells(facts, one), one.lost)))


def _cells(facts: Facts, one: Fallen):
    queries, documents = (one.texts.get(kind, {}) for kind in ("queries", "documents"))
    against = "the raw encoder" if one.against == "raw" else called(facts, one.since)

    def cells(query: LostQuery) -> list[object]:
        ranks = [_rank(query.rank_before, one), _rank(query.rank_after, one)] if one.kept else [None, None]
        return [
            *(one.collection, query.query, queries.get(query.query), one.metric, against),
            *(query.before, query.after, query.change),
            *(query.right, documents.get(query.right or ""), *ranks, " ".join(query.takers)),
        ]

    return cells


def _takers(facts: Facts) -> str | None:
    rows: Iterable[list[object]] = [
        [
            *(one.collection, taker.document, one.texts.get("documents", {}).get(taker.document)),
            *(taker.places, taker.before, taker.after, _told(taker.hub)),
            *(taker.length, taker.language, _told(taker.seen)),
        ]
        for one in facts.diagnosis.who_fell
        for taker in one.takers
    ]
    headers = ["collection", "document", "text", "places", "first_tens_before", "first_tens_after", "hub"]
    return as_csv([*headers, "characters", "language", "trained_on"], rows) if rows else None


def _told(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


FALLEN = Section(
    title="Who fell",
    applies=lambda facts: bool(facts.diagnosis.who_fell),
    write=_write,
    files={QUERIES_FILE: _queries, TAKERS_FILE: _takers},
)
