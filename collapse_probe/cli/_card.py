"""``collapse-probe card``."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  collapse-probe card runs/mine
  collapse-probe card runs/mine >> README.md

Exit codes: 0 printed, whatever the verdict; 2 wrong use; 70 a fault of ours; 74 the system.
"""


@click.command("card", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> int:
    """Print a section for a model card, in Markdown: verdict, scores with the raw encoder as row 0, intervals."""
    from ..exporting import card
    from ..journal import Run
    from ._output import writable

    click.echo(writable(card(Run.load(run))), nl=False)
    return 0
