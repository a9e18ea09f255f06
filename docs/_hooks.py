"""What mkdocs makes beside the written pages: a page for each detector, cause and measure, from the registries."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import collapse_probe.measures
from collapse_probe.cli._explain import explained
from collapse_probe.diagnosis import AUDITED_MECHANISMS, AUDITS, DETECTORS, MECHANISMS
from collapse_probe.journal.vocabulary import FORCES, MEASURES

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that the registries make."""
    for path, text in _pages():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name what lies outside these pages by its place in the repository."""
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


def _pages() -> Iterator[tuple[str, str]]:
    detectors = {one.code: one for one in (*AUDITS, *DETECTORS)}
    yield from _family("detectors", "Detectors", {code: f"{one.kind}: {one.title}" for code, one in detectors.items()})
    causes = {one.cause: one.title for one in (*MECHANISMS, *AUDITED_MECHANISMS)}
    yield from _family("causes", "Causes", causes)
    about = {name: one.about for name, one in MEASURES.items()} | dict(FORCES)
    yield from _family("measures", "Measures", about, explain=_measure)


def _family(folder: str, title: str, entries: dict[str, str], *, explain: Any = None) -> Iterator[tuple[str, str]]:
    lines = [f"# {title}", ""]
    for name, about in entries.items():
        file = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
        lines.append(f"- [`{name}`]({file}.md): {about}")
        text = explain(name) if explain else explained(name)
        yield f"{folder}/{file}.md", f"# {name}\n\n{about}\n\n```text\n{text}\n```\n"
    yield f"{folder}/index.md", "\n".join([*lines, ""])


def _measure(name: str) -> str:
    """Return a measure's facts, and its function's own words."""
    if name not in MEASURES:
        return FORCES[name]
    one = MEASURES[name]
    blind = "yes: read norms beside it" if one.scale_blind else "no"
    facts = [f"of {one.subject}, from {', '.join(one.needs)}", f"read on: {', '.join(sorted(one.on))}"]
    function = getattr(collapse_probe.measures, name, None)
    words = inspect.getdoc(function) if callable(function) else None
    return "\n".join([*facts, f"blind to scale: {blind}", *(["", words] if words else [])])
