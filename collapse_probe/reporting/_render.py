"""Filling a template of this package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2

from ._text import md


def render_template(name: str, context: Mapping[str, Any]) -> str:
    """Return a filled template, with at most one blank line in a row.

    Args:
        name: File in ``templates``.
        context: Its variables; a missing one is an error.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)
    environment.filters["md"] = md
    environment.filters["fenced"] = lambda text: " ".join(str(text).split()).replace("```", "'''")
    source = resources.files("collapse_probe.reporting") / "templates" / name
    return _squeezed(environment.from_string(source.read_text(encoding="utf-8")).render(**context))


def _squeezed(text: str) -> str:
    """Return the text with at most one blank line in a row."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"
