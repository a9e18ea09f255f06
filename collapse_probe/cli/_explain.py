"""``collapse-probe explain``."""

from __future__ import annotations

import textwrap

import click

EPILOG = """\b
Example:
  collapse-probe explain CP411

Exit codes: 0 explained, 2 no such code.
"""


@click.command("explain", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("code")
def command(code: str) -> int:
    """Say what the detector CODE (or kind) reads, how it judges, by which thresholds, why, and what to do."""
    click.echo(explained(code))
    return 0


def explained(code: str) -> str:
    """Return the text of one detector, from its entry.

    Raises:
        InputError: no detector has that code or kind.
    """
    from ..diagnosis import find_detector

    found = find_detector(code)
    cuts = [f"{name} {one.value:g} ({one.source})" for name, one in found.thresholds.items()]
    change = ["; ".join(f"{key}: {value}" for key, value in one.change.items()) for one in found.remedies]
    rows = [
        ("reads", ", ".join(found.reads)),
        ("for each", found.per + (f" ({', '.join(found.roles)})" if found.roles else "")),
        ("holds if", found.formula),
        ("scale", _blind(found.reads)),
        ("thresholds", "; ".join(cuts) or "those of the declaration"),
        ("gravest", f"{found.gravest.value}; confirmed by {found.confirm} in a row"),
        ("why", found.why),
        ("not this", found.not_this),
        ("what to do", " | ".join(change)),
    ]
    lines = [f"{found.code} {found.kind}: {found.title}"]
    for label, text in rows:
        wrapped = textwrap.wrap(text, 86)
        lines += [f"  {'' if at else label:<11} {line}" for at, line in enumerate(wrapped)]
    return "\n".join(lines)


def _blind(reads: tuple[str, ...]) -> str:
    """Return which of a detector's readings are the same where all embeddings are multiplied by one number."""
    from ..journal.vocabulary import MEASURES

    known = [name for name in reads if name.rpartition("/")[2] in MEASURES]
    blind = [name for name in known if MEASURES[name.rpartition("/")[2]].scale_blind]
    return f"not seen by {', '.join(blind)}: read norms beside it" if blind else ""
