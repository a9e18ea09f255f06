"""``collapse-probe explain``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..diagnosis import Mechanism

EPILOG = """\b
Example:
  collapse-probe explain CP411
  collapse-probe explain no_repulsion

Exit codes: 0 explained, 2 no such code.
"""


@click.command("explain", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("code")
def command(code: str) -> int:
    """Say what the detector CODE (or its kind, or a cause) reads, how it judges, by which thresholds, what to do."""
    click.echo(explained(code))
    return 0


def explained(code: str) -> str:
    """Return the text of one detector or mechanism, from its entry.

    Raises:
        InputError: no detector has that code or kind, and no cause that name.
    """
    from ..diagnosis import AUDITED_MECHANISMS, AUDITS, DETECTORS, MECHANISMS, find_detector

    mechanisms = [one for one in (*MECHANISMS, *AUDITED_MECHANISMS) if one.cause == code.lower()]
    if mechanisms:
        return "\n".join(_mechanism(one) for one in mechanisms)
    found = find_detector(code)
    cuts = [f"{name} {one.value:g} ({one.source})" for name, one in found.thresholds.items()]
    change = ["; ".join(f"{key}: {value}" for key, value in one.change.items()) for one in found.remedies]
    before, after = ({one.code for one in some} for some in (AUDITS, DETECTORS))
    asked = ["before training, by preflight"] * (found.code in before) + ["of runs"] * (found.code in after)
    rows = [
        ("asked", " and ".join(asked)),
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
    return _text(f"{found.code} {found.kind}: {found.title}", rows)


def _mechanism(found: Mechanism) -> str:
    cuts = [f"{name} {one.value:g} ({one.source})" for name, one in found.thresholds.items()]
    change = ["; ".join(f"{key}: {value}" for key, value in one.change.items()) for one in found.remedies]
    rows = [
        ("explains", ", ".join(found.explains)),
        ("suspected", found.formula),
        ("thresholds", "; ".join(cuts) or "none"),
        ("to decide", found.decides),
        ("what to do", " | ".join(change)),
    ]
    return _text(f"{found.cause}: {found.title}", rows)


def _text(first: str, rows: list[tuple[str, str]]) -> str:
    lines = [first]
    for label, text in rows:
        lines += [f"  {'' if at else label:<11} {line}" for at, line in enumerate(textwrap.wrap(text, 86))]
    return "\n".join(lines)


def _blind(reads: tuple[str, ...]) -> str:
    """Return which of a detector's readings are the same where all embeddings are multiplied by one number."""
    from ..journal.vocabulary import MEASURES

    known = [name for name in reads if name.rpartition("/")[2] in MEASURES]
    blind = [name for name in known if MEASURES[name.rpartition("/")[2]].scale_blind]
    return f"not seen by {', '.join(blind)}: read norms beside it" if blind else ""
