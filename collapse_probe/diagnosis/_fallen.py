"""Which queries lost most, and which documents took the places of their right ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from ..journal import LOST, Evaluation, Rankings, read_rankings
from ._curves import Curve
from ._evaluations import REFERENCE
from ._evidence import Evidence

WORST = 0.1
"""Share of the queries, those that lost most, whose share of the whole loss is told."""

BROAD = 0.5
"""Share of the loss in the worst tenth of the queries below which a fall is broad (own choice)."""

FEW = 0.8
"""The same from which on it is in a few queries (own choice)."""

MOST_SHOWN = 20
"""Queries that JSON has."""

_DEVIATIONS = 2.0


@dataclass(frozen=True, kw_only=True)
class LostQuery:
    """A query that lost.

    Attributes:
        query: Its id.
        before: Its score before.
        after: Its score after.
        right: Id of its best right document; None where that is not known.
        rank_before: Rank of its best right document before; None beyond the depth, or where it was not kept.
        rank_after: The same after.
        takers: Ids of documents that newly stand above the right one, among the first ten.
    """

    query: str
    before: float
    after: float
    right: str | None = None
    rank_before: int | None = None
    rank_after: int | None = None
    takers: tuple[str, ...] = ()

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class Taker:
    """A document that took places.

    Attributes:
        document: Its id.
        places: Of how many lost queries it took one.
        before: In how many queries' first ten it was before, lost or not.
        after: The same after.
        hub: Whether that is more than two standard deviations above the mean of all documents (Radovanovic 2010).
        length: Characters; None where unknown.
        language: None where unknown, or where too few words tell.
        seen: Whether it is trained on; None where unknown.
    """

    document: str
    places: int
    before: int
    after: int
    hub: bool
    length: int | None = None
    language: str | None = None
    seen: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Fallen:
    """Who lost on a collection.

    Attributes:
        collection: Its label.
        metric: Of which metric.
        against: ``start`` or ``raw``: what was before.
        fell: Whether the collection's fall counts.
        n: Queries with a score before and after.
        lost: Queries that lost more than .2, those that lost most first.
        gained: How many gained more than .2.
        worst_tenth: Share of the whole loss that the worst tenth of the queries holds; None where nothing was lost.
        kept: Whether the rankings of both moments were kept.
        depth: Hits of each query that were looked at; None where they were not kept.
        places: Places above right documents that were taken newly.
        takers: The documents that took them, those that took most first.
        hubs: Share of all documents that are hubs; None where rankings were not kept.
        corpus: What all documents are like, as :class:`Rankings` has it.
        texts: Beginnings of texts by id: ``queries``, ``documents``.
        since: The step of what was before.
    """

    collection: str
    metric: str
    against: str
    fell: bool
    n: int
    lost: tuple[LostQuery, ...]
    gained: int
    worst_tenth: float | None
    kept: bool
    depth: int | None
    places: int
    takers: tuple[Taker, ...]
    hubs: float | None
    corpus: Mapping[str, Any]
    texts: Mapping[str, Mapping[str, str]]
    since: int = 0

    @property
    def half(self) -> tuple[Taker, ...]:
        """The fewest documents that took at least half of the places."""
        total = 0
        for at, one in enumerate(self.takers):
            total += one.places
            if 2 * total >= self.places:
                return self.takers[: at + 1]
        return ()

    @property
    def share(self) -> float | None:
        """The share of the places that these took; None where none was taken."""
        return sum(one.places for one in self.half) / self.places if self.places else None

    @property
    def spread(self) -> str:
        """``broad`` or ``few``; empty between them, or where nothing was lost."""
        if self.worst_tenth is None:
            return ""
        return "broad" if self.worst_tenth < BROAD else "few" if self.worst_tenth >= FEW else ""

    @property
    def languages(self) -> dict[str, int]:
        """Languages of the documents that took half of the places, the most frequent first."""
        return dict(Counter(one.language for one in self.half if one.language).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: ids alone, no text."""
        some = self.half
        lengths = [one.length for one in some if one.length is not None]
        seen = [one.seen for one in some if one.seen is not None]
        return {
            "collection": self.collection,
            "metric": self.metric,
            "against": self.against,
            "n": self.n,
            "lost": len(self.lost),
            "gained": self.gained,
            "worst_tenth": self.worst_tenth,
            "kept": self.kept,
            "places": self.places if self.kept else None,
            "takers": len(some) if self.kept else None,
            "takers_share": self.share,
            "hubs": sum(one.hub for one in some) if self.kept else None,
            "seen": sum(seen) if seen else None,
            "length": median(lengths) if lengths else None,
            "languages": self.languages,
            "all": {
                "hubs": self.hubs,
                **{name: self.corpus.get(name) for name in ("seen", "length", "language", "language_share")},
            },
            "documents": [one.document for one in some[:MOST_SHOWN]],
            "queries": [
                {
                    "query": one.query,
                    "before": one.before,
                    "after": one.after,
                    "right": one.right,
                    "rank_before": one.rank_before,
                    "rank_after": one.rank_after,
                    "takers": list(one.takers),
                }
                for one in self.lost[:MOST_SHOWN]
            ],
        }


def who_fell(evidence: Evidence) -> tuple[Fallen, ...]:
    """Return who lost on every collection, those whose fall counts and those with most lost queries first.

    Nothing while a run goes on, and nothing of collections where no query lost.
    """
    if not evidence.ended:
        return ()
    found = [_of_curve(evidence, curve) for curve in evidence.curves if curve.variant and curve.collection != REFERENCE]
    return tuple(sorted((one for one in found if one), key=lambda one: (not one.fell, -len(one.lost) / one.n)))


def _of_curve(evidence: Evidence, curve: Curve) -> Fallen | None:
    evaluations = evidence.evaluations
    scored = evaluations.of(curve.collection, curve.variant)
    changes = {one.against: one for one in curve.changes if one.against != "best"}
    fell = [one for one in changes.values() if one.fell]
    worst = min(fell, key=lambda one: one.value, default=None)
    against = worst.against if worst else next((one for one in ("start", "raw") if one in changes), None)
    first = evaluations.raw(curve.collection) if against == "raw" else scored[0]
    if against is None or first is None or first is scored[-1]:
        return None
    before, after = (evaluations.values(one, curve.metric) for one in (first, scored[-1]))
    if before is None or after is None:
        return None
    rankings = [_rankings(evidence, one) for one in (first, scored[-1])]
    name = {"collection": curve.name, "metric": curve.metric, "against": against, "fell": bool(curve.fell)}
    found = fallen(before, after, *rankings, **name)
    return replace(found, since=first.step) if found.lost else None


def _rankings(evidence: Evidence, one: Evaluation) -> Rankings | None:
    return read_rankings(evidence.run, one.per_query)


def fallen(
    before: Mapping[str, float],
    after: Mapping[str, float],
    ranked_before: Rankings | None,
    ranked_after: Rankings | None,
    *,
    collection: str = "",
    metric: str = "",
    against: str = "start",
    fell: bool = True,
) -> Fallen:
    """Return which queries lost, and what took the places of their right documents.

    Args:
        before: Query id to its score in [0, 1].
        after: The same later.
        ranked_before: What was ranked first before; None where it was not kept.
        ranked_after: The same later.
        collection: Its label.
        metric: Of which metric.
        against: What was before.
        fell: Whether the collection's fall counts.
    """
    shared = [query for query in before if query in after]
    loss = {query: before[query] - after[query] for query in shared}
    kept = ranked_before is not None and ranked_after is not None
    rows = [{} if one is None else one.rows for one in (ranked_before, ranked_after)]
    lost = []
    for query in (query for query in shared if loss[query] > LOST):
        one = LostQuery(query=query, before=before[query], after=after[query])
        if ranked_before is not None and ranked_after is not None and query in rows[0] and query in rows[1]:
            one = _with_ranks(one, ranked_before, rows[0][query], ranked_after, rows[1][query])
        lost.append(one)
    lost.sort(key=lambda one: (one.change, -(one.rank_after or math.inf)))
    taken = Counter(document for one in lost for document in one.takers)
    takers, hubs = _takers(taken, ranked_before, ranked_after)
    return Fallen(
        collection=collection,
        metric=metric,
        against=against,
        fell=fell,
        n=len(shared),
        lost=tuple(lost),
        gained=sum(value < -LOST for value in loss.values()),
        worst_tenth=worst_tenth(list(loss.values())),
        kept=kept,
        depth=ranked_after.depth if kept and ranked_after else None,
        places=taken.total(),
        takers=takers,
        hubs=hubs,
        corpus=ranked_after.corpus if ranked_after else {},
        texts=ranked_after.texts if ranked_after else {},
    )


def worst_tenth(losses: Sequence[float]) -> float | None:
    """Return the share of all losses that the tenth of the queries holds that lost most; gains count 0.

    >>> worst_tenth([1.0] + [0.0] * 9), worst_tenth([0.1] * 10), worst_tenth([-0.5])
    (1.0, 0.1, None)
    """
    held = sorted((max(0.0, one) for one in losses), reverse=True)
    total = math.fsum(held)
    return round(math.fsum(held[: math.ceil(WORST * len(held))]) / total, 12) if total > 0 else None


def _with_ranks(one: LostQuery, before: Rankings, at: int, after: Rankings, now: int) -> LostQuery:
    already = set(before.above(at))
    known = ((before, before.right[at]), (after, after.right[now]))
    right = next((rankings.documents[place] for rankings, place in known if place is not None), None)
    return LostQuery(
        query=one.query,
        before=one.before,
        after=one.after,
        right=right,
        rank_before=before.best[at],
        rank_after=after.best[now],
        takers=tuple(document for document in after.above(now) if document not in already),
    )


def _takers(
    taken: Counter[str], before: Rankings | None, after: Rankings | None
) -> tuple[tuple[Taker, ...], float | None]:
    """Return the documents that took places, and the share of all documents that are hubs."""
    if before is None or after is None:
        return (), None
    earlier, later = (Counter(one.documents[place] for row in one.top for place in row) for one in (before, after))
    count = max(after.n_documents or 0, len(later), 1)
    cut = _hub_cut(later, count)
    found = [
        Taker(
            document=document,
            places=places,
            before=earlier[document],
            after=later[document],
            hub=later[document] > cut,
            **{name: after.about.get(document, {}).get(name) for name in ("length", "language", "seen")},
        )
        for document, places in taken.items()
    ]
    found.sort(key=lambda one: (-one.places, -one.after, one.document))
    return tuple(found), sum(places > cut for places in later.values()) / count


def _hub_cut(counts: Counter[str], n: int) -> float:
    """Return how many first tens a document is in at the mean of all n and two standard deviations more."""
    mean = counts.total() / n
    variance = sum(count * count for count in counts.values()) / n - mean * mean
    return mean + _DEVIATIONS * math.sqrt(max(0.0, variance))
