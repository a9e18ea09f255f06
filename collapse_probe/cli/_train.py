"""``collapse-probe train``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..journal import Run
from ..recording import load_watched
from ..respred import Recipe
from ..respred.session import is_main_process
from ._options import (
    PathOf,
    audience,
    pair_options,
    plain_name,
    recipe_from,
    recipe_options,
    request_from,
    shared_options,
)

if TYPE_CHECKING:
    from ..respred.session import Audience, Session

EPILOG = """\b
Examples:
  collapse-probe train --watch-delta
  collapse-probe train --watch-delta --recipe respred --pairs pairs.jsonl --beir path/to/scifact
  collapse-probe train --watch all --lambda-residual 0 --no-tanh --pairs pairs.jsonl --beir scifact
  collapse-probe train --pairs pairs.jsonl --beir path/to/scifact --dev path/to/scifact --early-stop ndcg@10
  collapse-probe train --resume runs/respred

Without --pairs, --beir or --encoder the embedded ones are used: all-MiniLM-L6-v2, and a docstring search
collection made from the installed packages.

Exit codes: 0 fine, 1 unhealthy run, 2 wrong use, 130 interrupted, 143 terminated. A run on embedded text alone is a
demonstration: it reports what collapsed and still exits 0, unless its loss was not finite.
"""

LOADING = "loading torch, the encoder, pairs and collections"
"""Said at once, since what follows takes seconds."""

_WITH_RESUME = ("resume", "features", "device", "cache", "reports")


@click.command("train", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--watch-delta", is_flag=True, help="Watch the residual predictor, the embeddings and the pairs.")
@click.option("--watch", multiple=True, metavar="PROBE|all", help="Watch a probe of ./probes or a shipped one.")
@pair_options
@click.option("--dev", metavar="PATH|NAME", help="Collection that checkpoints are chosen by, and --early-stop watches.")
@click.option("--dev-split", default="train", show_default=True, help="Split of the judgements of --dev.")
@shared_options
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Autocast precision of the training steps; scores are always computed in fp32.",
)
@click.option(
    "--counterfactuals/--no-counterfactuals",
    default=True,
    show_default=True,
    help="Score other deltas, and modules put back to step 0, at every evaluation.",
)
@click.option("--strict", is_flag=True, help="Refuse to start where preflight has a red line: exit 1.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the run.")
@click.option("--name", help="Name of the run; a number is added where it exists.  [default: the recipe's]")
@click.option(
    "--runs",
    type=PathOf(written=True),
    default=Path("runs"),
    show_default=True,
    metavar="DIR",
    help="Folder of the runs.",
)
@click.option(
    "--resume",
    type=PathOf(),
    metavar="RUN",
    help="Go on with a run that was interrupted, from its last checkpoint; its own configuration is used, and only "
    "--features, --device, --cache and --reports are taken beside it.",
)
@recipe_options
def command(**options: Any) -> int:
    """Train a recipe on a frozen encoder, watch it, score every epoch, and write the failure analysis."""
    if options["resume"] is not None:
        return _resume(options)
    return _start(options)


def _start(options: dict[str, Any]) -> int:
    from ..respred.session import begin, prepare
    from ._preflight import red, say_red

    fields = {f for f in Recipe.__dataclass_fields__ if f != "name"}
    recipe = recipe_from(options["recipe_name"], {f: options[f] for f in fields})
    probes = load_watched(options["watch"], watch_delta=options["watch_delta"])
    if any(probe.as_dict().get("detectors") for probe in probes):
        # Of what detectors import nothing is needed to refuse a path.
        from ..diagnosis import check_declared

        check_declared({probe.name: probe.as_dict() for probe in probes})
    name = plain_name(options["name"] or recipe.name)
    told = audience()
    told.say(LOADING)
    prepared = prepare(recipe, request_from(options), told, similarity=options["similarity"], bundled=True)
    say_red(prepared.preflight, told)
    if options["strict"] and red(prepared.preflight):
        told.say("nothing was trained (--strict); `collapse-probe preflight` shows every audit")
        return 1
    typed = shlex.join(["collapse-probe", *sys.argv[1:]])
    return _train_and_report(
        begin(prepared, runs=options["runs"], name=name, probes=probes, command=typed), options["reports"], told
    )


def _resume(options: dict[str, Any]) -> int:
    _only_flags_of_resume()
    from ..respred.session import resume

    told = audience()
    told.say(LOADING)
    where = {name: options[name] for name in ("features", "device", "cache")}
    session = resume(Run.load(options["resume"]), **where, audience=told)
    reports = options["reports"] if _given("reports") else session.prepared.request.reports
    return _train_and_report(session, reports, told)


def _only_flags_of_resume() -> None:
    """Refuse flags that a resumed run would not obey.

    Raises:
        InputError: one is given.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name not in _WITH_RESUME and _given(str(parameter.name)):
            raise InputError(
                f"--resume goes on with the run's own configuration: leave {parameter.opts[0]} out, or start a new run"
            )


def _given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _train_and_report(session: Session, reports: Path, told: Audience) -> int:
    from ..respred.session import run_session
    from ._verdict import report_and_verdict

    outcome = run_session(session, audience(session.folder))
    if not is_main_process():
        session.discard()
        return 0
    if outcome.message:
        told.say(outcome.message)
    if outcome.status == "interrupted":
        # Before the report, which takes seconds: whoever interrupts may do so twice.
        told.say(f"to go on: collapse-probe train --resume {session.folder}")
    healthy = report_and_verdict(Run.load(session.folder), reports)
    if outcome.status == "interrupted":
        return 130
    if outcome.status == "failed":
        return 1
    if not healthy and set(session.prepared.inputs.embedded) == {"encoder", "pairs", "collection"}:
        told.say("This is the embedded demonstration, so it exits 0; on your own data an unhealthy run exits 1.")
        return 0
    return 0 if healthy else 1
