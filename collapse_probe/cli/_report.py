"""``collapse-probe report``."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import reports_option

EPILOG = """\b
Example:
  collapse-probe report runs/respred

Exit codes: 0 fine, 1 unhealthy run, 2 wrong use, 70 a fault of ours, 74 the system.
"""


@click.command("report", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@reports_option
def command(run: Path, reports: Path) -> int:
    """Write the report of RUN, anybody's, from its journal alone; needs neither torch nor the data."""
    from ..journal import Run

    loaded = Run.load(run)
    from ._verdict import report_and_verdict

    return 0 if report_and_verdict(loaded, reports) else 1
