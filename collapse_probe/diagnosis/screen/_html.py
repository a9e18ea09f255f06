"""A diagnosis in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .._contract import Finding
from ..detectors import BY_CODE
from ._words import claim, evidence_line, folded

MOST = 6
"""Claims that are shown."""


def screen_html(summary: str, kinds: Sequence[Finding]) -> str:
    """Return the first screen and below it the claims of the report's page, each with what it rests on, as HTML.

    It holds no script, no style sheet and no request, and every name is escaped.

    Args:
        summary: The first screen.
        kinds: What was found, the gravest first.
    """
    groups = folded([one for one in kinds if one.kind != "range"])
    items = [
        f"<li><b>{html.escape(claim(*some))}</b><br>{some[0].code}, {some[0].status.value}. "
        f"{html.escape(evidence_line(*some))}<br><i>{html.escape(BY_CODE[some[0].code].why)}</i></li>"
        for some in groups[:MOST]
    ]
    more = f"<p>{len(groups) - MOST} more are in the report.</p>" if len(groups) > MOST else ""
    return f"<pre>{html.escape(summary)}</pre>" + (f"<ol>{''.join(items)}</ol>{more}" if items else "")
