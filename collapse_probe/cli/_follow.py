"""``collapse-probe follow``."""

from __future__ import annotations

import time
from pathlib import Path

import click

EPILOG = """\b
Examples:
  collapse-probe follow runs/mine
  ssh machine collapse-probe follow runs/mine --every 30
  collapse-probe follow runs/mine | tee findings.txt

Reads the journal alone, so it costs the training nothing. It ends when the run does, with the first screen of
`collapse-probe diagnose` and its exit code. Where the output is no terminal, it prints one line for each finding.

Exit codes: 0 healthy or a warning, 1 critical or not measured, 2 wrong use, 74 the run's folder went away,
130 interrupted.
"""


@click.command("follow", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--every",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Least time between two looks; more where a look takes long, so that it stays below 2 % of one core.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="CODE[=REASON]",
    help="A code that does not count, and why; may be given several times.",
)
def command(run: Path, every: float, ignore: tuple[str, ...]) -> int:
    """Show how RUN goes on while another process writes it: its course, and findings as they come and go."""
    from ._display import say
    from ._live import Look, Window

    look = Look(run, ignore)
    look.again()  # what is no run is refused at once
    with Window() as window:
        while not look.ended:
            for line in look.news:
                say(line)
            window.show(look.screen())
            time.sleep(look.pause(every))
            look.again()
    for line in look.news:
        say(line)
    say(look.found.summary)
    return look.found.exit_code
