"""A drawn SVG made small, and put into a page with a text that stands for it."""

from __future__ import annotations

import re
from html import escape

from ._text import one_line

_PROLOGUE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>\s*|<!--.*?-->", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_DECIMALS = re.compile(r"(\d\.\d\d)\d+(?!e)")
_FAMILY = re.compile(r"font-family: [^;\"]*; ?")
_FONT = re.compile(r"font: ([^;\"']*?px)[^;\"]*")
_STILL = re.compile(r' transform="rotate\(-?0(?:\.0*)? [^"]*\)"')
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(?:url\(|href=")#([^")]+)')
_BARE = re.compile(r"<g>\s*((?:(?!</?g\b).)*?)\s*</g>", re.DOTALL)
_BETWEEN = re.compile(r">\s+<")
_BOX = re.compile(r'viewBox="([^"]*)"')

_INHERITED = "stroke-linejoin=\"round\" font-family=\"Arial, 'DejaVu Sans', 'Liberation Sans', sans-serif\""


def compact(svg: str) -> str:
    """Return what matplotlib drew without what nobody reads: names, decimals, and fonts said for each word.

    What stands between tags is a label, and stays as it is.
    """
    text = _STYLE.sub("", _PROLOGUE.sub("", svg, count=1))
    used = {name for tag in _TAG.findall(text) for name in _REFERENCE.findall(tag)}
    text = _TAG.sub(lambda tag: _small(tag[0], used), text)
    while (bare := _BARE.sub(r"\1", text)) != text:
        text = bare
    return _BETWEEN.sub("><", text).replace("<svg ", f"<svg {_INHERITED} ", 1).rstrip() + "\n"


def _small(tag: str, used: set[str]) -> str:
    tag = _ID.sub(lambda found: found[0] if found[1] in used else "", tag)
    tag = _STILL.sub("", _FAMILY.sub("", _FONT.sub(r"font-size: \1", tag)))
    if tag.startswith(("<path", "<use", "<text")):
        tag = re.sub(r" ?\n(?=[LCQMz\"])", "", _DECIMALS.sub(r"\1", tag))
    return tag


def inlined(svg: str, *, name: str, title: str, description: str) -> str:
    """Return an SVG as a part of a page: its identifiers are its own, and a title and a description stand for it.

    Args:
        svg: What :func:`compact` returned.
        name: Unique in the page; letters, digits and hyphens.
        title: What the figure says, plain text.
        description: What is drawn, plain text; empty where the title says it.
    """
    text = _TAG.sub(lambda tag: re.sub(r'( id="|url\(#|href="#)([^")]+)', rf"\1{name}-\2", tag[0]), svg)
    box = _BOX.search(text)
    labels = f"{name}-title" + (f" {name}-text" if description else "")
    root = f'<svg viewBox="{box[1] if box else ""}" {_INHERITED} role="img" aria-labelledby="{labels}">'
    root += f'<title id="{name}-title">{escape(one_line(title))}</title>'
    root += f'<desc id="{name}-text">{escape(one_line(description))}</desc>' if description else ""
    return _TAG.sub(lambda _: root, text, count=1).rstrip()
