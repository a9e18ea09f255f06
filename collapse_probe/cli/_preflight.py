"""``collapse-probe preflight``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..respred import Recipe
from ._options import audience, encoding_options, pair_options, recipe_from, recipe_options, request_from

if TYPE_CHECKING:
    from ..diagnosis import FindingRow as Finding
    from ..respred.session import Audience

EPILOG = """\b
Examples:
  collapse-probe preflight
  collapse-probe preflight --recipe respred --pairs pairs.jsonl
  collapse-probe preflight --recipe option_a --alpha 0.3 --pairs pairs.jsonl --encoder path/to/encoder

Without --pairs or --encoder the embedded ones are used. Exit codes: 0 no red line, 1 a red line, 2 wrong use.
"""

COLOURS = {
    "critical": "red",
    "warning": "amber",
    "healthy": "green",
    "not applicable": "n/a",
    "not measured": "not measured",
}


@click.command("preflight", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@pair_options
@encoding_options
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the weights.")
@recipe_options
def command(**options: Any) -> int:
    """Judge a recipe on its data before any training step: seconds, once the pairs are encoded."""
    from ..respred.session import prepare
    from ._display import say

    fields = {f for f in Recipe.__dataclass_fields__ if f != "name"}
    recipe = recipe_from(options["recipe_name"], {f: options[f] for f in fields})
    prepared = prepare(recipe, request_from(options), audience(), scores=False, bundled=True)
    if prepared.data is None:
        say(f"recipe {recipe.name} trains nothing: there is nothing to judge")
        return 0
    from ..diagnosis import Status

    found = prepared.preflight
    for finding in found:
        say(line(finding))
        if finding.status in (Status.CRITICAL, Status.WARNING):
            say(f"             {finding.why}. {finding.remedy}.")
    counts = [sum(f.status is status for f in found) for status in (Status.CRITICAL, Status.WARNING)]
    say(f"preflight of {recipe.name}: {counts[0]} red, {counts[1]} amber, of {len(found)} audits")
    return 1 if counts[0] else 0


def red(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings that ``train --strict`` refuses to start on."""
    from ..diagnosis import Status

    return [finding for finding in found if finding.status is Status.CRITICAL]


def say_red(found: Sequence[Finding], told: Audience) -> None:
    """Say the red lines, each in at most 100 columns."""
    lines: dict[str, list[Finding]] = {}
    for finding in red(found):
        lines.setdefault(finding.code, []).append(finding)
    for findings in lines.values():
        if len(findings) == 1:
            told.say(_short(f"preflight {line(findings[0])}"))
        else:
            subjects = ", ".join(f"{finding.subject} {finding.value:.3g}" for finding in findings)
            told.say(_short(f"preflight red    {findings[0].code} {findings[0].why}: {subjects}"))


def _short(said: str) -> str:
    """Return a line that fits the terminal; ``preflight`` has the whole of it."""
    from ..diagnosis.screen import WIDTH

    return said if len(said) <= WIDTH else said[: WIDTH - 2].rsplit(" ", 1)[0] + " …"


def line(finding: Finding) -> str:
    """Return one finding as a line."""
    value = "" if finding.value is None else f" {finding.value:.4g}"
    return f"{COLOURS[finding.status.value]:<6} {finding.code} {finding.title}:{value} (expected {finding.expected})"
