"""The page of a report: one file that needs no network and no script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from ._first import STATUS, entries
from ._html import Body
from ._text import one_line

PAGE = "index.html"

MOST = 1_000_000
"""Bytes of a page; figures that do not fit are linked."""


@dataclass(frozen=True)
class Part:
    """A part of a page.

    Attributes:
        markdown: What it says.
        summary: What a reader opens it by; empty where it is open.
        heading: Markdown above what is folded.
    """

    markdown: str
    summary: str = ""
    heading: str = ""


def parts_of(markdown: str, *, folded: str = "") -> list[Part]:
    """Return a document as parts of a page: what stands before its second section is the first of them.

    Args:
        markdown: The document; foreign text in it begins no line.
        folded: Heading of a section that a reader opens.
    """
    sections = re.split(r"(?m)^(?=## )", markdown)
    parts = []
    for text in ["".join(sections[:2]), *sections[2:]]:
        heading, _, content = text.partition("\n")
        fold = bool(folded) and heading == f"## {folded}"
        parts.append(Part(content, "Show", heading) if fold else Part(text))
    return parts


def write_page(folder: Path, parts: Sequence[Part], *, title: str, screen: str = "") -> Path:
    """Write ``index.html`` beside a report's other files, with the figures that lie there.

    Args:
        folder: Where; figures are taken from its ``figures``.
        parts: What it says, in order.
        title: Of the window; foreign text is welcome.
        screen: The first screen, as it stands in the first part.

    Returns:
        The path of the page.
    """
    path = folder / PAGE
    drawn = {one.name: one.read_text(encoding="utf-8") for one in sorted((folder / "figures").glob("*.svg"))}
    path.write_text(page(parts, title=title, screen=screen, figures=drawn), encoding="utf-8")
    return path


def page(parts: Iterable[Part], *, title: str, screen: str = "", figures: dict[str, str] | None = None) -> str:
    """Return a page; see :func:`write_page`."""
    parts = list(parts)
    words = sum(len(one.markdown.encode()) for one in parts)
    # Markup makes a table up to about four times as long.
    body = Body(figures or {}, screen=screen, room=max(0, MOST - 50_000 - 4 * words))
    shown = []
    for one in parts:
        heading = Markup(body.html(one.heading)) if one.heading else ""
        shown.append({"heading": heading, "summary": one.summary, "html": Markup(body.html(one.markdown))})
    status = next((one.label for one in entries(screen) if one.label in STATUS), "")
    folder = resources.files("collapse_probe.reporting") / "templates"
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=True)
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=": ".join(one for one in (status, one_line(title)) if one),
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        parts=shown,
        headings=body.headings,
    )
