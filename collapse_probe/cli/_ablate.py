"""``collapse-probe ablate``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..journal import Run
from ..respred import Recipe
from ._options import PathOf, encoding_options, plain_name, reports_option

if TYPE_CHECKING:
    from ..experiments import Cell, Files, Intervention
    from ..respred._ablation import Material

EPILOG = """\b
Examples:
  collapse-probe ablate runs/respred --plan causes --seeds 3
  collapse-probe ablate runs/respred --plan causes --plan founding --seeds 3 --workers 2
  collapse-probe ablate runs/respred --vary lambda_residual=0,1e-4 --vary tanh=off --vary projection=frozen
  collapse-probe ablate runs/respred --vary alpha=0.1,0.3 --vary lambda_residual=0,1e-4 --grid --workers 4
  collapse-probe ablate runs/respred --plan causes --engine ray --ray-address 10.0.0.1:6379

An unchanged control is always among the cells. Finished cells are kept: the same command again runs what is
missing, and with more seeds or fields only what is new.

What an intervention decides about a cause is kept in RUN/verdicts.json: `collapse-probe diagnose RUN` and the report
of RUN then say confirmed, contributes, refuted or unresolved. Below five seeds nothing is confirmed.

Exit codes: 0 fine, 2 wrong use, 130 interrupted, 143 terminated.
"""


@click.command("ablate", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--vary",
    multiple=True,
    metavar="FIELD=VALUE,VALUE",
    help="Change one field of the run's recipe, one cell a value. May be repeated.",
)
@click.option("--grid", is_flag=True, help="Run every combination of the --vary values, not one field at a time.")
@click.option(
    "--plan",
    "plans",
    multiple=True,
    metavar="founding|causes",
    help="Founding document's options A to E, or what separates causes. May be repeated.",
)
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=1, show_default=True, help="Seeds, from the run's own on."
)
@click.option(
    "--with-text",
    is_flag=True,
    help="On a CPU too, run interventions that train encoder layers from text: hours.",
)
@click.option("--workers", type=click.IntRange(1, 4096), help="Processes.  [default: one a core, one with a GPU]")
@click.option("--engine", type=click.Choice(["processes", "ray"]), default="processes", show_default=True)
@click.option("--ray-address", metavar="ADDRESS", help="Existing Ray cluster: host:port, ray://host:port or auto.")
@click.option(
    "--out",
    type=PathOf(written=True),
    default=Path("ablations"),
    show_default=True,
    metavar="DIR",
    help="Folder of the ablations.",
)
@click.option("--name", help="Name of the ablation and its report.  [default: the run's name with the plan's]")
@reports_option
@encoding_options
def command(run: Path, **options: Any) -> int:
    """Run RUN's configuration again with fields changed, and say what each change does, with intervals."""
    loaded = Run.load(run)
    from ..experiments import check_folder, check_ray, finished, make_cells, write_record
    from ..respred._ablation import cell_inputs
    from ..respred.session import SessionRecord, open_material, resolve_device
    from ._display import Terminal, say

    recipe = SessionRecord.of(loaded).recipe
    if loaded.status == "failed":
        raise InputError(f"{run}: this run failed, and so would its control: ablate one that trains")
    device = resolve_device(options["device"])
    interventions = _interventions(options, loaded, recipe, device)
    seeds = [(loaded.config.seed or 0) + offset for offset in range(options["seeds"])]
    cells = make_cells(interventions, recipe, seeds=seeds)
    folder = options["out"] / plain_name(
        options["name"] or "-".join([loaded.name, *(options["plans"] or ["ablation"])])
    )
    check_folder(folder, loaded.identity)
    if options["ray_address"] is not None and options["engine"] != "ray":
        raise InputError("--ray-address needs --engine ray")
    if options["engine"] == "ray":
        check_ray(options["ray_address"])
    workers = options["workers"] or _default_workers(device)
    material = open_material(
        loaded,
        [cell.configuration for cell in cells],
        features=options["features"],
        device=device,
        cache=options["cache"],
        workers=workers,
        audience=Terminal(),
    )
    inputs = cell_inputs(material.config)
    missing = [cell for cell in cells if not finished(folder, cell, inputs)]
    say(f"{len(cells)} cells: {len(interventions)} configurations x {len(seeds)} seeds, {len(missing)} still to run")
    results = _results(missing, material, options, workers=workers)
    folder.mkdir(parents=True, exist_ok=True)
    write_record(
        folder,
        name=folder.name,
        run=loaded.identity,
        plan=", ".join(options["plans"]),
        interventions=interventions,
        seeds=seeds,
        cells=[cell.name for cell in cells],
    )
    _keep_all(folder, results, inputs, count=len(missing))
    return _report(folder, options["reports"], loaded)


def _interventions(options: dict[str, Any], loaded: Run, recipe: Recipe, device: str) -> list[Intervention]:
    from ..experiments import CONTROL, Intervention, distinct
    from ..respred._plans import plan, vary
    from ._display import say

    if not recipe.trains:
        raise InputError(f"recipe {recipe.name} trains nothing: there is nothing to ablate")
    if not options["plans"] and not options["vary"]:
        raise InputError("nothing to change: give --plan causes, --plan founding or --vary FIELD=VALUE")
    found = [Intervention(CONTROL, {})]
    for name in dict.fromkeys(options["plans"]):
        found += plan(name, recipe, precision=loaded.config.precision or "fp32")
    planned = len(found)
    found += vary(options["vary"], recipe, grid=options["grid"])
    kept = []
    if not loaded.config.development and any(one.apply(recipe).early_stop != "none" for one in found):
        raise InputError("early_stop needs a development split: ablate a run that was trained with --dev")
    for number, one in enumerate(found):
        from_text = one.apply(recipe).trains_from_text and not recipe.trains_from_text
        if from_text and device == "cpu" and not options["with_text"] and number < planned:
            say(f"left out: {one.name}, which trains encoder layers from text: hours on a CPU; --with-text runs it")
        else:
            kept.append(one)
    if len(kept) == 1:
        raise InputError(f"--plan {' --plan '.join(options['plans'])}: nothing in it changes this run; give --vary")
    return distinct(kept, recipe)


def _results(
    cells: Sequence[Cell], material: Material, options: dict[str, Any], *, workers: int
) -> Iterator[tuple[Cell, Files]]:
    from ..experiments import run_in_processes, run_in_ray
    from ..respred._ablation import train_cell

    if not cells:
        return iter(())
    if options["engine"] == "ray":
        address, gpu = options["ray_address"], material.device == "cuda"
        return run_in_ray(
            train_cell, cells, material, workers=workers, address=address, threads=material.threads, gpu=gpu
        )
    return run_in_processes(train_cell, cells, material, workers=min(workers, len(cells)))


def _keep_all(folder: Path, results: Iterator[tuple[Cell, Files]], inputs: dict[str, Any], *, count: int) -> None:
    from ..experiments import keep
    from ._display import console, counting, say

    done = 0
    try:
        with counting("cells") as update:
            update(done, count)
            for cell, files in results:
                kept = Run.load(keep(folder, cell, files, inputs))
                done += 1
                update(done, count)
                if kept.status != "completed":
                    why = kept.records("end")[-1]["message"]
                    say(f"{kept.status}: {cell.intervention.name}, seed {cell.seed}: {why}")
                elif not console.is_terminal:
                    say(f"{done} of {count}: {cell.intervention.name}, seed {cell.seed}")
    except KeyboardInterrupt:
        say(f"interrupted: {done} of {count} cells are done and kept; the same command runs the others")
        raise


def _report(folder: Path, reports: Path, run: Run) -> int:
    from ..experiments import CONTROL, Ablation, write_verdicts
    from ..reporting import PAGE, write_ablation_report
    from ._display import say

    ablation = Ablation.load(folder)
    report, lines = write_ablation_report(ablation, reports / folder.name)
    for text in lines:
        say(text)
    say(f"cells   {folder}")
    say(f"report  {report}")
    say(f"page    {report.with_name(PAGE)}")
    try:
        write_verdicts(ablation, run)
        if any(ablation.tests(name) for name in ablation.interventions):
            say(f"causes  `collapse-probe diagnose {run.folder}` says what was decided")
    except OSError as error:
        say(f"causes  could not be written beside the run: {error}")
    if not ablation.completed(CONTROL):
        say("no control run finished, so nothing can be compared")
        return 1
    return 0


def _default_workers(device: str) -> int:
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
