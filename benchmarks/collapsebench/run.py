"""Train the programs under watch, diagnose each, and say how often the answer is right.

``python benchmarks/collapsebench/run.py --group reference --seeds 1``

A training that was done before is not done again (``--again`` does); its judgement always is.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import click
import torch
from programs import REGISTRY, Program
from summary import Answer, summary

import collapse_probe

HEADERS = ("program", "seed", "is", "said", "since", "in-domain", "outside", "right")


def train(program: Program, *, seed: int, place: Path) -> dict:
    """Train a program under watch; return what is true of it."""
    from loop import Run
    from worlds import world

    run = Run(world(program.world), seed, str(place / "run"))
    start = time.perf_counter()
    program.train(run)
    return {**asdict(run.outcome), "seconds": time.perf_counter() - start}


def judge(program: Program, seed: int, truth: dict, said: collapse_probe.Diagnosis) -> tuple[Answer, list[str]]:
    """Return what was said, and a line of the table."""
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
        str(seed),
        _shown(program.kind, program.causes),
        f"{said.status}: {_shown(named, causes[:1])}" + "".join(f", {one}" for one in [*reversed(kinds)][1:]),
        "" if onset is None else str(onset.step),
        f"{inside[0]:.3f} -> {inside[-1]:.3f}",
        f"{outside[0]:.3f} -> {outside[-1]:.3f}",
        "yes" if right else "no",
    ]


def _shown(kind: str | None, causes: Sequence[str]) -> str:
    return "healthy" if kind is None else " / ".join([kind, *causes])


@click.command()
@click.option("--group", default="reference", show_default=True, help="Which programs.")
@click.option("--seeds", default=1, show_default=True, help="Trainings of each.")
@click.option("--only", multiple=True, help="Names of programs; all if none.")
@click.option("--again", is_flag=True, help="Train again what was trained before.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/collapsebench"), show_default=True)
def main(group: str, seeds: int, only: tuple[str, ...], again: bool, folder: Path) -> None:
    """Train, judge, and print a table."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from _common import table

    torch.set_num_threads(2)
    import_module(f"programs.{group}")
    rows, answers = [], []
    for program in REGISTRY[group].values():
        for seed in range(seeds) if not only or program.name in only else ():
            place = folder / group / program.name / program.world.replace("/", "-") / str(seed)
            done = place / "truth.json"
            if again or not done.exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                done.write_text(json.dumps(train(program, seed=seed, place=place)), "utf-8")
            truth = json.loads(done.read_text("utf-8"))
            answer, row = judge(program, seed, truth, collapse_probe.diagnose(place / "run"))
            answers.append(answer)
            rows.append(row)
            click.echo(" | ".join(rows[-1]), err=True)
    click.echo(table(HEADERS, rows))
    click.echo("\n".join(["", *summary(answers), ""]))
    click.echo(f"{sum(row[-1] == 'yes' for row in rows)} of {len(rows)} right")


if __name__ == "__main__":
    main()
