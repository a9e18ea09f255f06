"""``collapse-probe examine``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from ._options import PathOf, encoding_options, once, reports_option

EPILOG = """\b
Examples:
  collapse-probe examine base-model checkpoints/ --beir scifact --pairs dev.jsonl
  collapse-probe examine all-MiniLM-L6-v2 my-finetuned --beir nfcorpus
  collapse-probe examine all-MiniLM-L6-v2 my-finetuned --beir scifact --documents 1000 --queries 200

BASE is what the others began as. MODEL is a sentence-transformers or transformers folder, a PEFT adapter, a run of
ours, or a trainer's output folder, of which every checkpoint-* is taken in the order of its steps. Give --pairs of the
domain that was trained on, which were not trained on themselves: without them forgetting cannot be told from a
collapse. Every text is encoded once for each model and kept, so an interrupted examination goes on where it was. The
run folder that is written is read by diagnose, report, export and card like any other.

Exit codes: 0 healthy or a warning, 1 critical or not measured, 2 wrong use, 70 a fault of ours, 74 the system.
"""


@click.command("examine", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("base")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--beir", multiple=True, metavar="PATH|NAME", help="Collection to score on; as for train. May be repeated."
)
@click.option("--split", default="test", show_default=True, help="Split of the judgements to score.")
@click.option(
    "--pairs", type=PathOf(), multiple=True, callback=once, metavar="FILE|DIR", help="Held-out pairs, in every form."
)
@click.option("--map", "columns", multiple=True, metavar="ROLE=COLUMN,...", help="Columns of --pairs; as for train.")
@click.option("--min-score", type=float, metavar="X", help="Rows of --pairs with at least this score are positive.")
@click.option(
    "--queries", type=click.IntRange(min=1), metavar="N", help="Most queries of each collection, drawn at random."
)
@click.option(
    "--documents",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most documents of each beside all relevant ones, drawn at random: faster, and scores are then higher than on "
    "all of them.",
)
@click.option(
    "--between/--no-between",
    default=True,
    show_default=True,
    help="Score models a quarter, a half and three quarters of the way from BASE to the last one.",
)
@click.option("--query-prompt", metavar="TEXT", help="What stands before every query.  [default: each model's own]")
@click.option(
    "--document-prompt", metavar="TEXT", help="What stands before every document.  [default: each model's own]"
)
@click.option(
    "--run", type=PathOf(written=True), metavar="DIR", help="Run folder to write.  [default: runs/examine-MODEL]"
)
@encoding_options
@reports_option
def command(**options: Any) -> int:
    """Judge finished models against BASE, which they began as; needs no journal and no training."""
    from ..examining import Asked, examine_asked
    from ..retrieval import Prompts
    from ._display import Terminal

    asked = Asked(
        base=options["base"],
        models=options["models"],
        collections=options["beir"],
        pairs=options["pairs"],
        prompts=Prompts(options["query_prompt"], options["document_prompt"]),
        command=shlex.join(["collapse-probe", *sys.argv[1:]]),
        **{name: options[name] for name in _AS_THEY_ARE},
    )
    found = examine_asked(asked, Terminal())
    return _reported(found.run, options["reports"])


_AS_THEY_ARE = (
    "columns", "min_score", "split", "queries", "documents", "between", "run", "features", "device", "cache",
)  # fmt: skip


def _reported(run: Path, reports: Path) -> int:
    from ..journal import Run
    from ._verdict import report_and_verdict

    return 0 if report_and_verdict(Run.load(run), reports) else 1
