"""TREC's marked-up documents and topics."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from ....errors import InputError
from .._form import Form, How, Row, Table
from .._peek import Peek, whole

_DOCUMENT = re.compile(r"<DOC>(.*?)</DOC>", re.DOTALL | re.IGNORECASE)
_TOPIC = re.compile(r"<top>(.*?)(?:</top>|(?=<top>)|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


def _documents(peek: Peek, how: How) -> Table:
    return Table(DOCUMENTS.name, peek.shown, True, lambda: _document_rows(peek), peek.quoted)


def _topics(peek: Peek, how: How) -> Table:
    return Table(TOPICS.name, peek.shown, True, lambda: _topic_rows(peek), peek.quoted)


def _document_rows(peek: Peek) -> Iterator[Row]:
    for number, found in enumerate(_DOCUMENT.finditer(whole(peek)), start=1):
        where = f"{peek.shown} document {number}"
        identifier = _field(found[1], "DOCNO")
        if identifier is None:
            raise InputError(f"{where}: no <DOCNO> in it")
        title = _field(found[1], "TITLE") or _field(found[1], "HEADLINE") or ""
        body = " ".join(_plain(text) for text in re.findall(r"(?is)<TEXT>(.*?)</TEXT>", found[1]))
        yield Row(where, {"id": identifier, "title": title, "text": body})


def _topic_rows(peek: Peek) -> Iterator[Row]:
    for number, found in enumerate(_TOPIC.finditer(whole(peek)), start=1):
        where = f"{peek.shown} topic {number}"
        identifier, title = _field(found[1], "num"), _field(found[1], "title")
        if identifier is None or title is None:
            raise InputError(f"{where}: <num> and <title> are needed")
        yield Row(
            where, {"id": re.sub(r"(?i)^number:?\s*", "", identifier), "text": re.sub(r"(?i)^topic:?\s*", "", title)}
        )


def _field(text: str, name: str) -> str | None:
    """Return what stands after a tag, up to its end or the next tag; TREC closes some and leaves others open."""
    found = re.search(rf"(?is)<{name}>(.*?)(?=</?[A-Za-z]|\Z)", text)
    return None if found is None else _plain(found[1])


def _plain(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


DOCUMENTS = Form(
    name="TREC documents",
    holds="rows",
    looks="`<DOC>` with `<DOCNO>`, title or headline, and `<TEXT>`",
    recognise=lambda peek: peek.text.lstrip()[:5].upper() == "<DOC>",
    read=_documents,
)
TOPICS = Form(
    name="TREC topics",
    holds="rows",
    looks="`<top>` with `<num>` and `<title>`; the title is the query",
    recognise=lambda peek: peek.text.lstrip()[:5].lower() == "<top>" or "\n<top>" in peek.text[:400].lower(),
    read=_topics,
)
