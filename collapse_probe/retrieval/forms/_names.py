"""The names that people give to columns, by what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import InputError

COUPLES = (
    ("query", "document"),
    ("anchor", "positive"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("question1", "question2"),
    ("sentence_a", "sentence_b"),
)
"""Names that belong together: where both are there, they are the pair."""

QUERY = frozenset({"query", "anchor", "question", "query_text", "question_text", "claim", "search_query", "queries"})
DOCUMENT = frozenset(
    {
        "document",
        "positive",
        "answer",
        "answers",
        "passage",
        "context",
        "response",
        "doc",
        "document_text",
        "passage_text",
        "doc_text",
        "positive_text",
        "positive_passage",
        "positive_document",
        "positives",
        "pos",
        "abstract",
        "text",
        "contents",
        "content",
    }
)
NEGATIVE = re.compile(
    r"(?:hard_?|in_?batch_?)?neg(?:ative)?s?(?:_?(?:passage|doc|document|text|ctx|context|answer)s?)?(?:_?\d+)?"
)
SCORE = re.compile(
    r"(?!(?:.*_)?(?:not|non|no|neg|negative|un|ir|in|hard|wrong|false|dis)_)(?:.*_)?(?:labels?|scores?|similarity|relevance|relevancy|relevant|rating|grade|gold|judge?ments?|target|class"
    r"|duplicate|entailment|rel)(?:_(?:score|label))?"
)
IDENTIFIER = frozenset(
    {
        "_id",
        "id",
        "ids",
        "idx",
        "index",
        "qid",
        "query_id",
        "queryid",
        "docid",
        "doc_id",
        "docno",
        "document_id",
        "corpus_id",
        "pid",
        "passage_id",
        "did",
        "pos_id",
        "neg_id",
        "positive_id",
        "negative_id",
        "topic",
        "topic_id",
        "uuid",
        "guid",
        "(unnamed)",
    }
)
ROW_ID = {
    "corpus": ("_id", "id", "docid", "doc_id", "docno", "document_id", "corpus_id", "pid", "passage_id"),
    "queries": ("_id", "id", "qid", "query_id", "queryid", "num", "topic", "topic_id", "question_id"),
}
"""What the rows of a corpus and of queries are named by, the first that is there."""

BODY = {
    "corpus": ("text", "contents", "content", "body", "passage", "document", "abstract"),
    "queries": ("text", "query", "question", "contents", "content"),
}
"""What holds the text of a corpus's and a query's row, the first that is there."""

QRELS = (
    ("query_id", "qid", "query", "queryid", "topic", "topic_id", "q_id", "question_id"),
    ("corpus_id", "docid", "doc_id", "docno", "pid", "document_id", "passage_id", "document", "doc", "did", "corpusid"),
    ("score", "relevance", "rel", "label", "grade", "relevancy", "judgment", "judgement", "relevance_score"),
)
"""What the three columns of judgements are called."""

_BINARY = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "y", "t", "positive", "pos", "relevant"), True),
    **dict.fromkeys(("0", "0.0", "-1", "-1.0", "false", "no", "n", "f", "negative", "neg"), False),
    **dict.fromkeys(("irrelevant", "not relevant", "not_relevant", "non-relevant"), False),
}


def plain(name: str) -> str:
    """Return a column's name as names are compared.

    >>> plain(" Query-ID ")
    'query_id'
    """
    return re.sub(r"[\s.-]+", "_", name.strip().casefold())


def by_plain_name(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the cells of a row by the plain names of their columns.

    Raises:
        InputError: two columns are called the same but for their case or signs.
    """
    found = {plain(name): cell for name, cell in values.items()}
    if len(found) != len(values):
        names = [plain(name) for name in values]
        twice = next(name for name in names if names.count(name) > 1)
        same = " and ".join(repr(name) for name in values if plain(name) == twice)
        raise InputError(f"{where}: columns {same} are called the same; keep one of them")
    return found


def is_index(name: str) -> bool:
    """Return whether a column's name is that of an id or of a frame's index, which is no label."""
    return plain(name) in IDENTIFIER or plain(name).startswith(("__index_level", "unnamed"))


def as_binary(value: object) -> bool | None:
    """Return what a cell says where it says yes or no in one of the usual ways; else None.

    >>> as_binary(1), as_binary("0"), as_binary(0.5)
    (True, False, None)
    """
    return _BINARY.get(str(value).strip().casefold()) if isinstance(value, bool | int | float | str) else None


KNOWN = frozenset(
    {name for couple in COUPLES for name in couple}
    | QUERY
    | DOCUMENT
    | IDENTIFIER
    | {name for names in (*BODY.values(), *ROW_ID.values()) for name in names}
    | {name for names in QRELS for name in names}
    | {"negative", "negatives", "negative_1", "neg", "label", "labels", "title", "similarity", "url", "split", "iter"}
)
"""Names that tell a header from a row of data."""
