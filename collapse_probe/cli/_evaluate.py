"""``collapse-probe evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..journal import Run
from ._options import request_from, shared_options

EPILOG = """\b
Examples:
  collapse-probe evaluate runs/respred --beir path/to/nfcorpus
  collapse-probe evaluate runs/respred --beir path/to/scifact --split train

The scores are added to the run's journal, so a later report holds them; nothing there is changed.
"""


@click.command("evaluate", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@shared_options
def command(run: Path, **options: Any) -> int:
    """Score RUN's raw encoder, step 0 and every saved epoch on further collections."""
    from ..respred.session import evaluate_run
    from ._display import Terminal, say

    loaded = Run.load(run)
    evaluate_run(loaded, request_from(options), Terminal())
    say(f"added to {run / 'journal.jsonl'}; `collapse-probe report {run}` writes the report with them")
    return 0
