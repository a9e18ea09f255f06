"""``collapse-probe export``."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  collapse-probe export runs/mine --to tensorboard --into logs
  collapse-probe export runs/mine --to wandb --project my-encoders
  collapse-probe export runs/mine --to mlflow --into sqlite:///mlflow.db
  collapse-probe export runs/mine --to trackio --project my-encoders
  collapse-probe export runs/mine --to csv
  collapse-probe export runs/mine --to parquet --into tables

Repeat it as the run goes on: what was exported of the run before is replaced, and the same is not written twice.
A library that is missing is named with its extra, as in pip install "collapse-probe[tensorboard]".
Exit codes: 0 exported, or there already; 2 wrong use; 70 a fault of ours; 74 the system, or a server that cannot be
reached.
"""


@click.command("export", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Choice(["tensorboard", "wandb", "mlflow", "trackio", "csv", "parquet"]),
    required=True,
    help="Which program reads it.",
)
@click.option(
    "--into",
    metavar="PLACE",
    help="Log folder (tensorboard), folder of wandb/ (wandb), tracking URI or folder (mlflow), its folder (trackio), "
    "a folder (csv, parquet).  [default: the library's own, else exports/TARGET]",
)
@click.option("--project", help="Project (wandb, trackio) or experiment (mlflow).  [default: collapse-probe]")
def command(run: Path, to: str, into: str | None, project: str | None) -> int:
    """Write the readings, scores, findings and verdict of RUN where you already look; each finding is one alert."""
    from ..exporting import export
    from ..journal import Run
    from ._display import say

    found = export(Run.load(run), to=to, into=into, project=project)
    what = f"{found.lines:,} series, {found.points:,} numbers, {found.alerts:,} findings"
    say(f"{to:<11} {what}" if found.fresh else f"{to:<11} there already: {what}")
    say(f"{'where':<11} {found.where}")
    for note in found.notes:
        say(f"{'note':<11} {note}")
    return 0
