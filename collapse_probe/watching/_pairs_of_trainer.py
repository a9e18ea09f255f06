"""Reference pairs that a trainer has anyway: of its evaluation data, its evaluator, or its training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from torch import Tensor

from ..journal import ReferenceInfo
from ..recording import FEWEST_APART
from ._text_pairs import TextPairs

MOST = 512
"""Reference pairs that are taken."""

_APART = 256
"""Pairs of a low label that are taken."""

_LEAST = 8
_CLASSED = 10_000
"""Rows among which two of each class are looked for."""

LABELS = ("label", "labels", "score", "scores")
_ALIKE = 0.8
"""Share of the highest label from which a labelled pair counts as one that belongs together."""


def pairs_of_data(
    model: Any, data: Any, *, source: str, seen: bool, kinds: bool = False
) -> tuple[TextPairs, ReferenceInfo] | str:
    """Return the first pairs of a data set, or of each of several; why there are none where it has none.

    Two columns of texts are pairs, where a label is a score those whose score is high. Of a query that comes several
    times the first pair is taken: its other documents would be no wrong answers to it. Of one column with classes the
    first two texts of each class are a pair: what is of another class is a wrong answer.

    Args:
        model: Encodes texts.
        data: A data set with rows and columns, or a dictionary of some; a stream is never drawn from.
        source: What they are called.
        seen: Whether they are trained on.
        kinds: Whether a pair's label is one of several kinds, none of which need say that it belongs together.
    """
    parts = list(data.values()) if isinstance(data, Mapping) else [data]
    found: list[tuple[str, str]] = []
    whys: list[str] = []
    for part in parts:
        some, why = _pairs(part, MOST // max(1, len(parts)), kinds=kinds)
        found += some
        whys += [why] if why else []
    first: dict[str, str] = {}
    for query, document in found:
        first.setdefault(query, document)
    found = list(first.items())
    if len(found) < _LEAST:
        return "; ".join(dict.fromkeys(whys)) or f"{len(found)} of at least {_LEAST} pairs"
    pairs = TextPairs(model, [query for query, _ in found], [document for _, document in found])
    apart = [] if kinds else list(dict(pair for part in parts for pair in _labelled_apart(part)).items())[:_APART]
    if len(apart) >= FEWEST_APART:
        pairs.apart = TextPairs(model, [query for query, _ in apart], [document for _, document in apart])
    return pairs, ReferenceInfo(source=source, n=len(found), seen=seen)


class EvaluatorPairs(TextPairs):
    """Queries of an information-retrieval evaluator with one relevant document each, or anchors with their positives.

    Where the evaluator encodes its texts anyway, its vectors are taken: no further forward pass.

    Args:
        model: Encodes texts.
        evaluator: The evaluator.
    """

    def __init__(self, model: Any, evaluator: Any) -> None:
        self.evaluator = evaluator
        searches = hasattr(evaluator, "corpus_ids")
        rows = list(islice(_relevant(evaluator) if searches else _first_of_each(evaluator.anchors), MOST))
        self.query_rows = [query for query, _ in rows]
        self.document_rows = [document for _, document in rows]
        queries, documents = ("queries", "corpus") if searches else ("anchors", "positives")
        super().__init__(
            model,
            [getattr(evaluator, queries)[row] for row in self.query_rows],
            [getattr(evaluator, documents)[row] for row in self.document_rows],
            query_options=_options(evaluator, "query"),
            document_options=_options(evaluator, "corpus"),
        )

    def of_all(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, ...]:
        """Return the pairs' embeddings from those of all that the evaluator encodes, as a call gives them."""
        return self.of_rows(queries[self.query_rows], documents[self.document_rows])


def _relevant(evaluator: Any) -> Iterator[tuple[int, int]]:
    place = {one: row for row, one in enumerate(evaluator.corpus_ids)}
    for row, query in enumerate(evaluator.queries_ids):
        relevant = [place[one] for one in evaluator.relevant_docs[query] if one in place]
        if relevant:
            yield row, min(relevant)


def _first_of_each(anchors: Sequence[Any]) -> Iterator[tuple[int, int]]:
    first: dict[Any, int] = {}
    for row, anchor in enumerate(anchors):
        if first.setdefault(anchor, row) == row:
            yield row, row


def _options(evaluator: Any, side: str) -> dict[str, Any]:
    """Return how an evaluator encodes a side."""
    known = {"prompt_name": f"{side}_prompt_name", "prompt": f"{side}_prompt"}
    found = {name: getattr(evaluator, attribute) for name, attribute in known.items() if hasattr(evaluator, attribute)}
    return {**found, "batch_size": evaluator.batch_size, "truncate_dim": evaluator.truncate_dim}


def pairs_of_evaluators(model: Any, evaluators: Sequence[Any]) -> tuple[TextPairs, ReferenceInfo] | None:
    """Return the pairs of the first evaluator that has enough of them.

    Of those that search a corpus before those of triplets; what is cut to fewer dimensions comes last of each.
    """
    order = sorted(evaluators, key=lambda one: (not hasattr(one, "corpus_ids"), one.truncate_dim is not None))
    for evaluator in order:
        if hasattr(evaluator, "corpus_ids") or all(isinstance(one, str) for one in evaluator.anchors):
            pairs = EvaluatorPairs(model, evaluator)
            if len(pairs) >= _LEAST:
                return pairs, ReferenceInfo(source="evaluator", n=len(pairs))
    return None


def texts_of_data(data: Any, *, most: int = 100_000) -> set[str]:
    """Return texts of a data set's columns, of the first rows."""
    found: set[str] = set()
    for part in list(data.values()) if isinstance(data, Mapping) else [data]:
        for column in _columns(part, most):
            found.update(column)
    return found


def _pairs(data: Any, most: int, *, kinds: bool) -> tuple[list[tuple[str, str]], str]:
    """Return pairs of a data set, and why there are none."""
    if data is not None and not (hasattr(data, "__len__") and hasattr(data, "column_names")):
        return [], "a stream, from which nothing is drawn"
    columns = _columns(data, most)
    if len(columns) < 2:
        return _of_classes(data) if columns else ([], "no column of texts")
    labels = _labels(data, most)
    numbers = [value for value in labels if isinstance(value, int | float)]
    pairs = list(zip(columns[0], columns[1], strict=True))
    if len(numbers) < len(pairs) or len(columns) > 2:  # of a query with several texts a label compares these
        return pairs, ""
    if kinds:
        return [], "the labels are kinds of pairs, and none says which texts belong together"
    cut = _ALIKE * max(numbers)
    found = [pair for pair, number in zip(pairs, numbers, strict=True) if cut > 0 and number >= cut]
    return found, "" if found else "no label says that two texts belong together"


def _labelled_apart(data: Any) -> list[tuple[str, str]]:
    """Return pairs of a data set with two columns of texts whose label is low beside the highest."""
    columns = _columns(data, MOST)
    labels = _labels(data, MOST) if len(columns) == 2 else []
    numbers = [value for value in labels if isinstance(value, int | float)]
    if not numbers or len(numbers) < len(columns[0]) or max(numbers) <= 0:
        return []
    pairs = zip(columns[0], columns[1], strict=True)
    return [pair for pair, number in zip(pairs, numbers, strict=True) if number <= (1 - _ALIKE) * max(numbers)]


def _of_classes(data: Any) -> tuple[list[tuple[str, str]], str]:
    """Return two texts of each class."""
    texts = _columns(data, _CLASSED)[0]
    classes: dict[Any, list[str]] = {}
    for text, label in zip(texts, _labels(data, _CLASSED), strict=False):
        if isinstance(label, int | str) and text not in (known := classes.setdefault(label, [])) and len(known) < 2:
            known.append(text)
    found = [(first[0], first[1]) for first in classes.values() if len(first) == 2][:MOST]
    why = f"one column of texts, with two texts in {len(found)} classes" if classes else "one column of texts"
    return found, "" if len(found) >= _LEAST else why


def _columns(data: Any, most: int) -> list[list[str]]:
    """Return the columns of texts in their order; none of a stream, whose rows are made by the user's code."""
    if not hasattr(data, "__len__") or not hasattr(data, "column_names"):
        return []
    read = min(len(data), max(most, 1))
    return [values for _, values in _read(data, read) if values and all(isinstance(one, str) for one in values)]


def _labels(data: Any, most: int) -> list[Any]:
    return next((values for name, values in _read(data, min(len(data), most)) if name in LABELS), [])


def _read(data: Any, most: int) -> Iterator[tuple[str, list[Any]]]:
    # Without the user's transforms: they may draw random numbers.
    plain = data.with_format(None) if hasattr(data, "with_format") else data
    rows = plain[:most]
    yield from ((name, list(rows[name])) for name in plain.column_names if name in rows)
