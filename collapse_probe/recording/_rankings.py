"""Keeping what an evaluation ranked, with the texts that a report of lost queries needs, and no more of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from typing import Any

from ..journal import (
    LOST,
    Evaluation,
    JournalWriter,
    Rankings,
    drop_rankings,
    read_file,
    read_rankings,
    write_rankings,
)
from ._language import language_of

QUERIES = 200
"""Lost queries whose texts are kept, those that lost most."""

TAKERS = 40
"""Documents whose texts are kept, those that took most places."""

TOLD = 1_000
"""Documents of which length, language and whether they are trained on are kept."""

LENGTH = 300
"""Characters of a text that are kept."""

_SAMPLED = 5_000
_TOLD = 200
"""Documents that say how long all are, and whether they are trained on; and those that say their language."""

Pairs = Callable[[], Iterable[tuple[str, str]]]
"""Gives ids with their texts."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of a collection, asked for when they are needed.

    Attributes:
        queries: Of the queries.
        documents: Of the documents.
        titles: Of documents that have one, where that is told apart.
        seen: Tells of a document's id and text whether it is trained on; None where that is unknown.
        shown: Whether texts may be written; lengths and languages are either way.
    """

    queries: Pairs
    documents: Pairs
    titles: Mapping[str, str]
    seen: Callable[[str, str], bool] | None = None
    shown: bool = True


Scores = Mapping[str, Mapping[str, float]]
"""Metric to query id to value, in [0, 1]."""


def keep_rankings(
    journal: JournalWriter,
    per_query: str,
    rankings: Rankings,
    *,
    scores: Scores,
    texts: Texts,
    against: Sequence[str] = (),
    replaces: Sequence[str] = (),
) -> None:
    """Write what an evaluation ranked beside its per-query scores.

    Args:
        journal: The run's.
        per_query: File of the evaluation's per-query scores.
        rankings: What was ranked.
        scores: Its scores.
        texts: The collection's texts, of which those are kept that concern queries that lost.
        against: Per-query files of earlier evaluations that it is going to be compared with.
        replaces: Per-query files of evaluations whose rankings nobody needs once this one's are there.
    """
    earlier = [
        (before, _losses(read_file(journal, file), scores))
        for file in against
        if (before := read_rankings(journal, file)) is not None
    ]
    write_rankings(journal, per_query, _described(rankings, earlier, texts))
    for file in replaces:
        with suppress(OSError):
            drop_rankings(journal, file)


def keep_evaluation(
    journal: JournalWriter,
    per_query: str,
    collection: str,
    variant: str,
    rankings: Rankings,
    texts: Texts,
    scores: Scores,
) -> None:
    """Write what an evaluation ranked before its record is: of earlier ones the first and the raw encoder's are kept.

    Args:
        journal: The run's; without records in memory nothing is kept.
        per_query: File of the evaluation's per-query scores.
        collection: What was searched.
        variant: What was scored.
        rankings: What was ranked.
        texts: The collection's texts.
        scores: The evaluation's scores.
    """
    if journal.store is None:
        return
    earlier = [one for one in journal.store.of(Evaluation) if one.collection == collection and one.per_query]
    mine = [str(one.per_query) for one in earlier if one.variant == variant]
    raw = [str(one.per_query) for one in earlier if one.variant == "raw"]
    against = dict.fromkeys([*mine[:1], *raw[-1:]])
    replaces = [one for one in mine[1:] if one != per_query and one not in against]
    keep_rankings(
        journal, per_query, rankings, scores=scores, texts=texts, against=list(against), replaces=replaces[-2:]
    )


Lost = list[tuple[str, float]]
"""Queries and how much they lost, those that lost most first."""


def _losses(before: Any, after: Scores) -> Lost:
    """Return the queries that lost in a metric, each by most that it lost in one."""
    lost: dict[str, float] = {}
    columns = before if isinstance(before, Mapping) else {}
    for metric, values in after.items():
        for query, value in zip(columns.get("query_ids", []), columns.get(metric, []), strict=False):
            if query in values and isinstance(value, int | float):
                lost[query] = max(lost.get(query, 0.0), value - values[query])
    return sorted(((one, by) for one, by in lost.items() if by > LOST), key=lambda pair: -pair[1])


def _described(after: Rankings, earlier: Sequence[tuple[Rankings, Lost]], texts: Texts) -> Rankings:
    """Return rankings with what is told of documents that took places, and the texts that concern lost queries."""
    rows = after.rows
    taken: Counter[str] = Counter()
    worst: set[str] = set()
    right: set[str] = set()
    for before, lost in earlier:
        known = before.rows
        both = [query for query, _ in lost if query in rows and query in known]
        for query in both:
            taken.update(set(after.above(rows[query])) - set(before.above(known[query])))
        worst.update(both[:QUERIES])
        right.update(
            one.documents[place]
            for one, places in ((before, known), (after, rows))
            for query in both[:QUERIES]
            if (place := one.right[places[query]]) is not None
        )
    if not worst:
        return after
    most = [one for one, _ in taken.most_common(TOLD)]
    shown = {*most[:TAKERS], *right}
    wanted = {*shown, *most}
    found = {one: text for one, text in texts.documents() if one in wanted}
    kept = {"queries": _cut(texts.queries(), worst), "documents": _cut(found.items(), shown)}
    return replace(
        after,
        about={one: _about(one, found[one], texts) for one in most if one in found},
        texts=kept if texts.shown else {},
        corpus=_corpus(texts, after.n_documents or 0),
    )


def _about(document: str, text: str, texts: Texts) -> dict[str, Any]:
    language = language_of(texts.titles.get(document, "")) or language_of(text[:LENGTH])
    return {
        "length": len(text),
        "language": language,
        "seen": None if texts.seen is None else texts.seen(document, text),
    }


def _corpus(texts: Texts, count: int) -> dict[str, Any]:
    """Return what the documents are like, by some of them, evenly from all: what the takers are held against."""
    every = max(1, -(-count // _SAMPLED))
    some = list(islice(texts.documents(), 0, None, every))
    if not some:
        return {}
    told = [_about(*one, texts)["language"] for one in some[:: -(-len(some) // _TOLD)]]
    (language, often), *_ = Counter(told).most_common()
    return {
        "length": round(median(len(text) for _, text in some)),
        "seen": None if texts.seen is None else sum(texts.seen(*one) for one in some) / len(some),
        "language": language,
        "language_share": often / len(told),
    }


def _cut(pairs: Iterable[tuple[str, str]], wanted: Collection[str]) -> dict[str, str]:
    return {one: text[:LENGTH] for one, text in pairs if one in wanted}
