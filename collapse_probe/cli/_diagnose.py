"""``collapse-probe diagnose``."""

from __future__ import annotations

import json
from pathlib import Path

import click

EPILOG = """\b
Examples:
  collapse-probe diagnose runs/mine
  collapse-probe diagnose runs/mine --json
  collapse-probe diagnose runs/mine --fail-on warning --ignore 'CP204=planned: a projector follows'

Exit codes: 0 healthy or a warning, 1 critical or not measured, 2 wrong use, 70 a fault of ours, 74 the system.
"""


@click.command("diagnose", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole diagnosis as JSON.")
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "critical", "nothing"]),
    default="critical",
    show_default=True,
    help="From which status on the exit code is 1; what was not measured counts as critical.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="CODE[=REASON]",
    help="A code that does not count, and why; may be given several times.",
)
def command(run: Path, as_json: bool, fail_on: str, ignore: tuple[str, ...]) -> int:
    """Say whether RUN is healthy, what happened, since when, and what was not measured. Reads its journal alone."""
    from ..diagnosis import diagnose
    from ..journal import Run
    from ._output import writable
    from ._verdict import as_flags, summary

    loaded = Run.load(run)
    found = diagnose(loaded, ignore=ignore)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
    else:
        click.echo(writable(summary(found, loaded, ignore)))
        flags = as_flags(found, loaded)
        if flags:
            click.echo(f"flags   {flags}")
    if fail_on == "nothing":
        return 0
    return 1 if fail_on == "warning" and found.status.value == "warning" else found.exit_code
