"""``collapse-probe train``."""

from __future__ import annotations

from pathlib import Path
from shutil import copy2, rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..journal import Run, fresh_folder
from ..recording import Probe, load_watched
from ..respred import Recipe
from ._options import (
    PathOf,
    check_precision,
    is_main_process,
    pair_options,
    plain_name,
    recipe_from,
    recipe_options,
    resolve_device,
    shared_options,
)

if TYPE_CHECKING:
    from ._prepare import Inputs

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
    type=PathOf(folder=True),
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
    from . import _prepare
    from ._display import say
    from ._runfile import describe_encoder, describe_inputs, describe_overlaps, write_configuration

    fields = {f for f in Recipe.__dataclass_fields__ if f != "name"}
    recipe = recipe_from(options["recipe_name"], {f: options[f] for f in fields})
    probes = load_watched(options["watch"], watch_delta=options["watch_delta"])
    name = plain_name(options["name"] or recipe.name)
    inputs = _prepare.open_inputs(recipe, options)
    for line in describe_inputs(recipe, inputs) if is_main_process() else ():
        say(line)
    device = inputs.encoder.device = resolve_device(options["device"])
    check_precision(options["precision"], device)
    if recipe.trains_from_text:
        _prepare.check_layers(inputs, recipe)
    features = _prepare.Features(inputs.encoder, cache=options["cache"], extra=options["features"])
    recipe, raw_similarity = _prepare.with_own_similarity(recipe, inputs.encoder, options["similarity"])
    for line in describe_encoder(recipe, inputs, raw_similarity, device=device) if is_main_process() else ():
        say(line)
    _prepare.encode(inputs, features)
    data = _prepare.training_data(inputs, features, share=options["validation_share"], seed=options["seed"])
    shared = _prepare.overlaps(inputs, features)
    for line in describe_overlaps(inputs, shared) if is_main_process() else ():
        say(line)
    from ._preflight import red, say_red

    found = _preflight(recipe, data, seed=options["seed"])
    if is_main_process():
        say_red(found)
    if options["strict"] and red(found):
        if is_main_process():
            say("nothing was trained (--strict); `collapse-probe preflight` shows every audit")
        return 1
    folder = fresh_folder(options["runs"], name) if is_main_process() else Path(mkdtemp(prefix="collapse-probe-"))
    write_configuration(
        folder,
        recipe,
        inputs,
        data=data,
        probes=probes,
        found=found,
        shared=shared,
        raw_similarity=raw_similarity,
        options=options,
        device=device,
    )
    return _train_and_report(
        recipe,
        inputs,
        folder,
        features=features,
        data=data,
        probes=probes,
        options=options,
        raw_similarity=raw_similarity,
    )


def _preflight(recipe: Recipe, data: Any, *, seed: int) -> list[Any]:
    from ..respred import preflight

    return preflight(recipe, data, seed=seed) if data is not None else []


def _resume(options: dict[str, Any]) -> int:
    _only_flags_of_resume()
    run = Run.load(options["resume"])
    import torch

    from . import _prepare
    from ._display import say
    from ._runfile import check_vectors, recorded_features, recorded_inputs, recorded_recipe, recorded_similarity

    if run.status == "completed":
        raise InputError(f"{run.folder}: this run is completed; `collapse-probe report {run.folder}` reads it again")
    if run.status == "failed":
        raise InputError(f"{run.folder}: this run failed and would again; start a new one with other settings")
    recorded = run.settings["options"]
    recipe = recorded_recipe(run)
    probes = [_recorded_probe(name, declared) for name, declared in run.settings["probes"].items()]
    options = {**options, **{key: recorded[key] for key in ("seed", "precision", "validation_share")}}
    options["counterfactuals"] = recorded.get("counterfactuals", True)
    if not _given("reports"):
        options["reports"] = Path(recorded.get("reports", options["reports"]))
    options["device"] = run.settings["device"] if options["device"] == "auto" else options["device"]
    device = resolve_device(options["device"])
    if run.settings.get("threads"):
        # A sum is rounded in another order by another number of threads: the same bits need the same number.
        torch.set_num_threads(run.settings["threads"])
    inputs = recorded_inputs(run, recipe, device=device, cache=options["cache"])
    stores = recorded_features(run, options["features"])
    features = _prepare.Features(inputs.encoder, cache=options["cache"], extra=stores)
    _prepare.encode(inputs, features)
    data = _prepare.training_data(inputs, features, share=options["validation_share"], seed=options["seed"])
    if not recipe.trains_from_text:
        check_vectors(run, data)
    if is_main_process():
        say(f"resuming {run.folder}")
        _say_damaged(run, recipe, data)
    folder = run.folder if is_main_process() else _private_copy(run.folder)
    return _train_and_report(
        recipe,
        inputs,
        folder,
        features=features,
        data=data,
        probes=probes,
        options=options,
        raw_similarity=recorded_similarity(run, recipe),
        resume=True,
    )


def _say_damaged(run: Run, recipe: Recipe, data: Any) -> None:
    from ..respred.training import sound_checkpoint
    from ._display import say

    if data is None:
        return
    checkpoint, damaged = sound_checkpoint(run.folder / "checkpoints", recipe, data.dimension)
    for line in damaged:
        say(f"note: {line}; going on from {'the beginning' if checkpoint is None else checkpoint.name}")


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


def _train_and_report(
    recipe: Recipe,
    inputs: Inputs,
    folder: Path,
    *,
    features: Any,
    data: Any,
    probes: list[Probe],
    options: dict[str, Any],
    raw_similarity: str,
    resume: bool = False,
) -> int:
    from ..respred import train_recipe
    from . import _prepare
    from ._display import TrainingDisplay, say
    from ._verdict import report_and_verdict

    device = resolve_device(options["device"])
    with TrainingDisplay(shown=is_main_process()) as display:
        outcome = train_recipe(
            recipe,
            folder=folder,
            data=data,
            evaluations=_prepare.evaluation_sets(inputs, features),
            probes=probes,
            seed=options["seed"],
            device=device,
            precision=options["precision"],
            listener=display,
            encoder=inputs.encoder if recipe.trains_from_text else None,
            counterfactuals=options["counterfactuals"],
            raw_similarity=raw_similarity,
            resume=resume,
            finish=lambda: _save_model(folder, recipe, inputs) if is_main_process() else None,
        )
    if not is_main_process():
        rmtree(folder)
        return 0
    if outcome.message:
        say(outcome.message)
    if outcome.status == "interrupted":
        # Before the report, which takes seconds: whoever interrupts may do so twice.
        say(f"to go on: collapse-probe train --resume {folder}")
    healthy = report_and_verdict(Run.load(folder), options["reports"])
    if outcome.status == "interrupted":
        return 130
    if outcome.status == "failed":
        return 1
    if not healthy and _is_demonstration(inputs):
        say("This is the embedded demonstration, so it exits 0; on your own data an unhealthy run exits 1.")
        return 0
    return 0 if healthy else 1


def _private_copy(folder: Path) -> Path:
    """Return a folder of its own from which a process that does not write the run can resume it."""
    private = Path(mkdtemp(prefix="collapse-probe-"))
    for name in ("run.json", "journal.jsonl"):
        copy2(folder / name, private / name)
    if (folder / "checkpoints").is_dir():
        (private / "checkpoints").symlink_to((folder / "checkpoints").resolve(), target_is_directory=True)
    return private


def _save_model(folder: Path, recipe: Recipe, inputs: Inputs) -> None:
    from ..diagnosis import choose_checkpoint
    from ..respred.training import save_chosen
    from ._display import say

    run = Run.load(folder)
    choice = choose_checkpoint(run)
    if not inputs.encoder.is_here:
        say(f"model   not saved: {inputs.encoder.name} is not on this machine; the checkpoints hold the trained head")
        return
    needs = save_chosen(choice, run, recipe, inputs.encoder, folder / "model")
    say(f"model   {folder / 'model'}: {choice.why}; {needs}")


def _is_demonstration(inputs: Inputs) -> bool:
    return set(inputs.embedded) == {"encoder", "pairs", "collection"}


def _recorded_probe(name: str, declared: dict[str, Any]) -> Probe:
    from ..recording import Schedule

    schedule = declared["schedule"]
    return Probe(
        name=name,
        summary=declared["summary"],
        schedule=Schedule(interval=schedule["every"], base=schedule["powers_of"]),
        readings=declared["readings"],
        histograms=declared["histograms"],
        expected=tuple(declared["expected"]),
        source="run.json",
    )
