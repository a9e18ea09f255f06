"""Train the programs under watch, diagnose each, and say how often the answer is right.

``python benchmarks/collapsebench/run.py --group reference --seeds 1``

``--small`` trains a few of the reference programs on vectors of the bundled encoder, and ends with 1 where one of them
is not told right: a check of less than two minutes that needs nothing but what is installed.

A training that was done before is not done again (``--again`` does); its judgement always is.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

import click
import torch
from programs import REGISTRY, Program
from summary import Answer, summary

import collapse_probe

SMALL = (
    "minus_cosine_from_identity",
    "norm_penalty_under_a_dot_product",
    "decay_on_one_tower",
    "shifted_by_a_row",
    "small_steps",
    "biased_start",
)
"""Reference programs whose kind does not hang on what the texts are about."""

HEADERS = ("program", "world", "seed", "is", "said", "since", "in-domain", "outside", "right")


def train(program: Program, name: str, *, seed: int, place: Path) -> dict:
    """Train a program in a world under watch; return what is true of it."""
    from loop import Run
    from worlds import world

    run = Run(world(name), seed, str(place / "run"))
    start = time.perf_counter()
    program.train(run)
    return {**asdict(run.outcome), "seconds": time.perf_counter() - start}


def judge(
    program: Program, where: tuple[str, int], truth: dict, said: collapse_probe.Diagnosis
) -> tuple[Answer, list[str]]:
    """Return what was said of a training in a world with a seed, and a line of the table."""
    kinds = {one.kind: one for one in reversed(said.kinds)}
    first = next(reversed(kinds.values()), None)
    causes = [one.cause for one in said.causes]
    onset = None if first is None or first.judgement is None else first.judgement.onset
    inside, outside = ([sum(one) / len(one) for one in truth[side]] for side in ("inside", "outside"))
    named = None if first is None else first.kind
    cause = causes[0] if causes else None
    right = named == program.kind and (not program.causes or cause in program.causes)
    late = None
    if onset is not None and program.onset is not None and said.steps:
        late = abs(onset.step - program.onset) / said.steps
    answer = Answer(program.name, program.kind, program.causes, str(said.status), named, cause, late)
    return answer, [
        program.name,
        where[0],
        str(where[1]),
        _shown(program.kind, program.causes),
        f"{said.status}: {_shown(named, causes[:1])}" + "".join(f", {one}" for one in [*reversed(kinds)][1:]),
        "" if onset is None else str(onset.step),
        f"{inside[0]:.3f} -> {inside[-1]:.3f}",
        f"{outside[0]:.3f} -> {outside[-1]:.3f}",
        "yes" if right else "no",
    ]


def _shown(kind: str | None, causes: Sequence[str]) -> str:
    return "healthy" if kind is None else " / ".join([kind, *causes])


def done(group: str, folder: Path) -> Iterator[tuple[Program, str, int, Path]]:
    """Yield every training of a group that is in a folder: program, world, seed and place."""
    import_module(f"programs.{group}")
    for program in REGISTRY[group].values():
        for name in program.worlds:
            found = (folder / group / program.name / name.replace("/", "-")).glob("*/truth.json")
            for one in sorted(found, key=lambda path: int(path.parent.name)):
                yield program, name, int(one.parent.name), one.parent


@click.command()
@click.option("--group", default="reference", show_default=True, help="Which programs.")
@click.option("--seeds", default=1, show_default=True, help="Trainings of each in each of its worlds.")
@click.option("--only", multiple=True, help="Names of programs; all if none.")
@click.option("--failing/--healthy", "failing", default=None, help="Those alone; both if neither.")
@click.option("--small", is_flag=True, help="A few reference programs, on the bundled encoder's vectors.")
@click.option("--again", is_flag=True, help="Train again what was trained before.")
@click.option("--quiet", is_flag=True, help="Train, and say nothing of what was found.")
@click.option("--threads", default=2, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/collapsebench"), show_default=True)
def main(
    group: str,
    seeds: int,
    only: tuple[str, ...],
    failing: bool | None,
    small: bool,
    again: bool,
    quiet: bool,
    threads: int,
    folder: Path,
) -> None:
    """Train, judge, and print a table."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from _common import table
    from worlds import BUNDLED

    torch.set_num_threads(threads)
    import_module(f"programs.{group}")
    if small:
        REGISTRY[group] = {name: replace(REGISTRY[group][name], worlds=(BUNDLED,)) for name in SMALL}
    chosen = [
        one
        for one in REGISTRY[group].values()
        if (not only or one.name in only) and failing in (None, one.kind is not None)
    ]
    for seed in range(seeds):
        for program in chosen:
            for name in program.worlds:
                place = folder / group / program.name / name.replace("/", "-") / str(seed)
                if again or not (place / "truth.json").exists():
                    shutil.rmtree(place, ignore_errors=True)
                    place.mkdir(parents=True)
                    found = train(program, name, seed=seed, place=place)
                    (place / "truth.json").write_text(json.dumps(found), "utf-8")
                    click.echo(f"trained {program.name} in {name}, seed {seed}: {found['seconds']:.0f} s", err=True)
    if quiet:
        return
    rows, answers = [], []
    for program, name, seed, place in done(group, folder):
        if program in chosen and seed < seeds:
            truth = json.loads((place / "truth.json").read_text("utf-8"))
            answer, row = judge(program, (name, seed), truth, collapse_probe.diagnose(place / "run"))
            answers.append(answer)
            rows.append(row)
            click.echo(" | ".join(row), err=True)
    click.echo(table(HEADERS, rows))
    click.echo("\n".join(["", *summary(answers), ""]))
    right = sum(row[-1] == "yes" for row in rows)
    click.echo(f"{right} of {len(rows)} right")
    if small and right < len(rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
