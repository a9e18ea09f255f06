"""What an evaluation ranked first: a small file beside its per-query scores. A run may lack it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ._files import atomic_write_text
from ._store import Store

TOP = 10
"""Documents of each query that are kept."""

LOST = 0.2
"""Loss of a metric in [0, 1] from which on a query counts as lost."""


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """The first documents of every query, and where its best right document stands.

    Attributes:
        query_ids: Q ids.
        documents: Ids of all documents that the other fields name by their place in this list.
        top: For each query its first documents, at most 10, the best first.
        best: For each query the rank of its best right document, from 1; None beyond ``depth``.
        right: For each query that document; None where none was found.
        depth: How many hits of each query were looked at.
        n_documents: Documents that were searched.
        corpus: What all documents are like, by a sample: ``length``, the median in characters, ``seen``, the share that
            is trained on, ``language``, the most frequent one, and ``language_share``; each may be missing.
        about: Document id to ``length`` (characters), ``language`` and ``seen`` (whether it is trained on), of
            documents that took places; each may be None.
        texts: Beginnings of texts by id: ``queries`` that lost, and ``documents`` that concern them.
    """

    query_ids: list[str]
    documents: list[str]
    top: list[list[int]]
    best: list[int | None]
    right: list[int | None]
    depth: int
    n_documents: int | None = None
    corpus: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, int]:
        """Query id to its place."""
        return {query: row for row, query in enumerate(self.query_ids)}

    def above(self, query: int) -> list[str]:
        """Return the ids of the kept documents that stand above the right ones of the query in this place."""
        best = self.best[query]
        return [self.documents[place] for place in self.top[query][: None if best is None else best - 1]]


RANKS = ".ranks.json"
"""How the names of their files end."""


def rankings_file(per_query: str) -> str:
    """Return where the rankings of an evaluation lie, by the file of its per-query scores.

    >>> rankings_file("evaluations/scifact-epoch-0.json")
    'evaluations/scifact-epoch-0.ranks.json'
    """
    return f"{per_query.removesuffix('.json')}{RANKS}"


def write_rankings(journal: Place, per_query: str, rankings: Rankings) -> None:
    """Write the rankings of an evaluation, atomically; a run in memory keeps them with its scores."""
    file, content = rankings_file(per_query), dict(vars(rankings))
    if journal.folder is not None:
        atomic_write_text(journal.folder / file, json.dumps(content, separators=(",", ":")))
    elif journal.store is not None:
        journal.store.files[file] = content


def drop_rankings(journal: Place, per_query: str) -> None:
    """Delete the rankings of an evaluation, if there are any: a later one's take their place."""
    file = rankings_file(per_query)
    if journal.folder is not None:
        (journal.folder / file).unlink(missing_ok=True)
    elif journal.store is not None:
        journal.store.files.pop(file, None)


class Place(Protocol):
    """Where a run's files are: what reads it, or what writes it."""

    @property
    def folder(self) -> Path | None:
        """Its folder; None for one that is kept in memory only."""

    @property
    def store(self) -> Store | None:
        """Its records, with the files of a run in memory."""


def read_rankings(run: Place, per_query: str | None) -> Rankings | None:
    """Return the rankings of an evaluation; None where they were not kept, or cannot be read.

    Args:
        run: The run, or its writer.
        per_query: File of the evaluation's per-query scores.
    """
    return None if per_query is None else _checked(read_file(run, rankings_file(per_query)))


def read_file(run: Place, file: str) -> Any:
    """Return the JSON of a file inside a run; None where there is none that can be read."""
    if run.folder is None:
        return None if run.store is None else run.store.files.get(file)
    if Path(file).is_absolute() or ".." in Path(file).parts:
        return None
    try:
        return json.loads((run.folder / file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _checked(content: Any) -> Rankings | None:
    """Return rankings of what a file holds; None where it is nothing of the kind."""
    try:
        found = Rankings(**{name: content[name] for name in Rankings.__dataclass_fields__ if name in content})
        n, known = len(found.query_ids), range(len(found.documents))
        places = [one for row in found.top for one in row] + [one for one in found.right if one is not None]
        whole = all(type(one) is int and one in known for one in places)
        ranks = all(one is None or (type(one) is int and one > 0) for one in found.best)
        named = all(type(one) is str for one in (*found.query_ids, *found.documents))
        about = all(isinstance(one, Mapping) for one in (found.corpus, *found.about.values(), *found.texts.values()))
        sizes = {len(found.top), len(found.best), len(found.right)} == {n}
        sound = whole and ranks and named and about and sizes and type(found.depth) is int
    except (TypeError, AttributeError, KeyError):
        return None
    return found if sound else None
