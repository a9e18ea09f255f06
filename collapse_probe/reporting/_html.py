"""The Markdown of a report as HTML: the page says what the Markdown says, with captions, figures and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ._first import first_screen_html
from ._svg import inlined

_OFF = ("link", "autolink", "reference", "html_block", "html_inline", "entity", "lheading", "code")
_FIGURE = re.compile(r"figures/([\w.-]+\.svg)")
_ONE_LINE = 36
"""Characters of a row's name that is not broken; half of it in other cells."""

_NUMBERED = re.compile(r"Figure \d+\. ?")


@dataclass(frozen=True)
class Heading:
    """A heading that a page's table of contents lists.

    Attributes:
        name: Its identifier.
        text: Plain text.
    """

    name: str
    text: str


class Body:
    """Parts of one page, rendered in turn: their figures are numbered and their headings named over all of them.

    Attributes:
        headings: Those of the second level so far.
        room: Characters of figures that still fit; one that does not is a link to its file.
    """

    def __init__(self, figures: Mapping[str, str], *, screen: str = "", room: int = 700_000) -> None:
        """Start a page.

        Args:
            figures: File name to SVG.
            screen: The first screen; the code block that holds it is laid out for any width.
            room: Characters of figures that fit.
        """
        self.headings: list[Heading] = []
        self.room = room
        self._figures, self._screen, self._drawn = figures, screen.strip(), 0
        self._captions: list[str] = []
        self._titles = ["", ""]
        self._reader = MarkdownIt("commonmark", {"html": False, "typographer": False}).enable("table").disable(_OFF)
        for name in ("drawing", "fence", "table_open", "table_close"):
            self._reader.add_render_rule(name, getattr(type(self), f"_{name}"))

    def html(self, markdown: str) -> str:
        """Return Markdown as HTML; markup in it is text."""
        tokens = list(self._prepared(self._reader.parse(markdown)))
        return self._reader.renderer.render(tokens, self._reader.options, {"body": self})

    def _prepared(self, tokens: Sequence[Token]) -> Iterator[Token]:
        """Yield tokens with figures in place of images, named headings, and captions, scopes and classes of tables."""
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if (figure := _alone(tokens, at, "image")) is not None:
                caption = _alone(tokens, at + 3, "em_open")
                yield self._figure(figure, caption)
                at += 3 if caption is None else 6
                continue
            if token.type == "heading_open":
                self._head(token, _plain(tokens[at + 1]))
            elif token.type == "table_open":
                end = next(i for i in range(at, len(tokens)) if tokens[i].type == "table_close")
                yield from self._table(tokens[at : end + 1])
                at = end + 1
                continue
            yield token
            at += 1

    def _head(self, token: Token, text: str) -> None:
        level = int(token.tag[1:])
        if level == 2:
            words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "section"
            taken = {one.name for one in self.headings}
            name = words if words not in taken else f"{words}-{len(taken) + 1}"
            token.attrSet("id", name)
            self.headings.append(Heading(name, text))
        self._titles = [text, ""] if level <= 2 else [self._titles[0], text]

    def _figure(self, image: Token, caption: Token | None) -> Token:
        title, said = _plain(image), "" if caption is None else _plain(caption)
        number = _NUMBERED.match(said)
        # What has no claim of its own is called by what it shows.
        named = title if title and not re.fullmatch(r"Figure \d+", title) else said[number.end() :] if number else said
        description = said[number.end() :] if number else said
        found = _FIGURE.fullmatch(str(image.attrs.get("src", "")))
        svg = self._figures.get(found[1], "") if found else ""
        self._drawn += 1
        content = f"<p>{escape(named)}: not shown here.</p>"
        if svg and len(svg) <= self.room:
            self.room -= len(svg)
            description = "" if description == named else description
            drawn = inlined(svg, name=f"figure-{self._drawn}", title=named, description=description)
            content = f'<div class="drawn" role="group" tabindex="0" aria-label="Figure {self._drawn}">{drawn}</div>'
        elif svg and found:
            content = f'<p><a href="figures/{found[1]}">{escape(named)}</a>: too large for this page.</p>'
        below = f"<figcaption>{escape(said)}</figcaption>" if said else ""
        return Token("drawing", "", 0, content=f"<figure>{content}{below}</figure>\n")

    def _table(self, tokens: Sequence[Token]) -> Iterator[Token]:
        heads = [_plain(tokens[at + 1]) for at, one in enumerate(tokens) if one.type == "th_open"]
        title = ": ".join(one for one in self._titles if one)
        by = f", by {heads[0]}" if heads and heads[0] else ""
        caption = f"{title}{by}"
        self._captions.append(caption)
        more = f" ({self._captions.count(caption)})" if self._captions.count(caption) > 1 else ""
        tokens[0].meta = {"caption": caption + more, "number": len(self._captions)}
        in_body, first, name = False, False, "td"
        for at, token in enumerate(tokens):
            if token.type in ("thead_open", "tbody_open"):
                in_body = token.type == "tbody_open"
            if not any(heads) and not in_body and at and token.type != "tbody_open":
                continue
            if token.type == "tr_open":
                first = True
            elif token.type in ("th_open", "td_open"):
                if "right" in str(token.attrs.pop("style", "")):
                    token.attrSet("class", "n")
                empty = not _plain(tokens[at + 1])
                name = "th" if (first if in_body else not empty) else "td"
                if name == "th":
                    token.attrSet("scope", "row" if in_body else "col")
                if in_body and len(_plain(tokens[at + 1])) <= (_ONE_LINE if first else _ONE_LINE // 2):
                    token.attrSet("class", str(token.attrs.get("class", "w")))
                token.tag, first = name, False
            elif token.type in ("th_close", "td_close"):
                token.tag = name
            yield token

    @staticmethod
    def _drawing(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return tokens[at].content

    @staticmethod
    def _fence(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        content, body = tokens[at].content.strip("\n"), env["body"]
        if content.strip() and content.strip() == body._screen:
            return first_screen_html(content)
        return f"<pre>{escape(content)}</pre>\n"

    @staticmethod
    def _table_open(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        meta = tokens[at].meta
        name = f"table-{meta['number']}"
        return (
            f'<div class="table" role="group" tabindex="0" aria-labelledby="{name}">'
            f'<table>\n<caption id="{name}">{escape(meta["caption"])}</caption>\n'
        )

    @staticmethod
    def _table_close(_: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return "</table></div>\n"


def _alone(tokens: Sequence[Token], at: int, kind: str) -> Token | None:
    """Return what a paragraph holds that holds nothing but an image, or nothing but emphasised words; else None."""
    if at + 1 >= len(tokens) or tokens[at].type != "paragraph_open" or tokens[at].hidden:
        return None
    children = tokens[at + 1].children or []
    if not children or children[0].type != kind:
        return None
    if kind == "image":
        return children[0] if len(children) == 1 else None
    closes = [index for index, one in enumerate(children) if one.type == "em_close"]
    return tokens[at + 1] if closes == [len(children) - 1] else None


def _plain(token: Token) -> str:
    """Return what a heading, a cell, an image's words or a paragraph says, without its markup."""
    parts = []
    for one in token.children or ():
        parts.append(_plain(one) if one.type == "image" else " " if one.type == "softbreak" else one.content)
    return "".join(parts).strip()
