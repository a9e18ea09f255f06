"""Judge every training that ``run.py`` left behind, and write what comes of it as Markdown.

``python benchmarks/collapsebench/results.py`` after ``run.py --group GROUP`` of all the groups below.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
from run import HEADERS, done, judge
from summary import Answer, drawn, scores

import collapse_probe

BARS = {
    "detection, recall": ">= .95",
    "detection, precision": ">= .95",
    "kind, macro-F1 (healthy is one)": ">= .90",
    "cause is right": ">= .85",
    "cause, precision where one is named": ">= .95",
    "false alarms of a healthy run (critical)": "<= .02",
    "warnings of a healthy run": "<= .20",
    "onset, median error in share of the run": "<= .03",
}
"""What was asked for before anything was measured."""

ANCHORS = (
    ("DEFault++ (arXiv 2604.28118), its own unseen model-task pairs", ".83 to .91", ".85 (macro-F1)", ".85"),
    ("the same, 11 reproduced real faults", "8 of 11", "8 of 11", "4 of 11"),
    ("AutoTrainer, on others' programs", ".28 to .43", "-", "-"),
    ("TrainCheck, silent errors within one iteration", "18 of 20", "-", "-"),
)
"""What others report of their own benchmarks, as they report it."""

INTRODUCTION = """# CollapseBench: how often the diagnosis is right

Written by `python benchmarks/collapsebench/results.py`. A program is a training as people write it with one planted
mistake, or a healthy one that looks alarming; labels say for each how much worse it is than the same training without
the mistake. Rules were tuned on the training programs, seven groups by seven authors; those that were trained again for
this table are counted, once in each of their worlds (encoder, pairs, collection). Means are over programs, with 95 %
bootstrap intervals over programs.

The held-out programs are by an eighth author, who had read what kinds and causes mean and no rule; their labels, most
of one seed, were committed before, they were trained in each of their worlds, the healthy ones half of them from two
seeds, and judged once, before anybody had looked at them. This table is of that judgement, which is kept in
`labels/first_judgement.json`. From here on they are seen: a later score on them is none of a blind test.
"""

EARLIER = (
    ("first round", ".72", ".46 (macro-F1)", ".44"),
    ("second round (`blind`)", ".89", ".62 (macro-F1)", ".44"),
    ("the training programs of the second round, by its rules", ".87", ".82 (macro-F1)", ".75"),
)
"""What was measured in rounds of which no judgement was kept."""


TUNED_ON = ("training", "formerly_held_out", "development", "blind", "fifth_author", "sixth_author", "seventh_author")
BLIND = ("eighth_author",)
FIRST = Path(__file__).parent / "labels" / "first_judgement.json"
"""What was said of the held-out programs when they were judged for the first time."""

THIRD_ROUND = FIRST.with_name("first_judgement_third_round.json")
"""The same of the fifth and the sixth author's programs."""

FOURTH_ROUND = FIRST.with_name("first_judgement_fourth_round.json")
"""The same of the seventh author's."""


def first_judgement(folder: Path) -> tuple[list[Answer], list[list[str]]]:
    """Return what was said of the held-out programs at first; judge and keep it where nobody has judged them."""
    if not FIRST.exists():
        found, rows = answers(BLIND, folder)
        content = [{"answer": asdict(one), "row": row} for one, row in zip(found, rows, strict=True)]
        FIRST.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return _kept(FIRST)


def _kept(file: Path) -> tuple[list[Answer], list[list[str]]]:
    kept = json.loads(file.read_text("utf-8"))
    made = [Answer(**{**one["answer"], "causes": tuple(one["answer"]["causes"])}) for one in kept]
    return made, [one["row"] for one in kept]


def earlier() -> list[list[str]]:
    """Return what was measured in earlier rounds, on programs that were held out then."""
    rows = [list(one) for one in EARLIER]
    rounds = {"third round (fifth and sixth author)": THIRD_ROUND, "fourth round (seventh author)": FOURTH_ROUND}
    for title, file in rounds.items():
        found = {one.name: one for one in scores(_kept(file)[0])}
        shown = [
            f"{found[name].value:.2f}".lstrip("0")
            for name in ("detection, recall", "kind, macro-F1 (healthy is one)", "cause is right")
        ]
        rows.append([title, shown[0], f"{shown[1]} (macro-F1)", shown[2]])
    return rows


def answers(groups: Sequence[str], folder: Path) -> tuple[list[Answer], list[list[str]]]:
    """Return what is said of every training of groups that is there, and lines of a table."""
    found, rows = [], []
    for group in groups:
        for program, name, seed, place in done(group, folder):
            truth = json.loads((place / "truth.json").read_text("utf-8"))
            answer, row = judge(program, (name, seed), truth, collapse_probe.diagnose(place / "run"))
            found.append(answer)
            rows.append(row)
    return found, rows


def gap(first: list[Answer], second: list[Answer], name: str) -> str:
    """Return how much a score of the first is above the second's, with its interval."""
    one, other = drawn(first, seed=1)[name], drawn(second, seed=2)[name]
    if not np.isfinite(other).any():
        return "-"
    low, high = np.nanquantile(one - other, [0.025, 0.975])
    return f"{np.nanmean(one) - np.nanmean(other):+.2f} [{low:+.2f}, {high:+.2f}]"


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/collapsebench"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "RESULTS.md")
def main(folder: Path, out: Path) -> None:
    """Write the tables."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from _common import table

    groups = {"training": answers(TUNED_ON, folder), "held_out": first_judgement(folder)}
    (training, _), (held_out, _) = groups["training"], groups["held_out"]
    if not held_out:
        raise SystemExit(f"run run.py first: --group {', --group '.join(BLIND)}")
    by_name = {group: {one.name: one for one in scores(found)} for group, (found, _) in groups.items()}
    rows = [
        [
            name,
            str(by_name["training"].get(name, "-")),
            str(one),
            gap(training, held_out, name) if training else "-",
            BARS.get(name, ""),
        ]
        for name, one in by_name["held_out"].items()
    ]
    sizes = [f"{len({one.program for one in found})} programs, {len(found)} trainings" for found, _ in groups.values()]
    rounds = table(
        ["held out in earlier rounds, when judged for the first time", "detected", "kind", "cause"], earlier()
    )
    after = "They are among the training programs now."
    parts = [
        INTRODUCTION,
        rounds,
        after,
        table(["", f"training ({sizes[0]})", f"held out ({sizes[1]})", "gap", "bar"], rows),
    ]
    others = [list(one) for one in ANCHORS]
    parts += ["## What others report", table(["of their own benchmarks", "detection", "kind", "cause"], others)]
    if not training:
        parts.insert(3, "The training programs were not trained again for this table.")
    for group, (_, lines) in ((name, one) for name, one in groups.items() if one[1]):
        parts += [f"## {group.replace('_', ' ').capitalize()} programs", table(list(HEADERS), lines)]
    out.write_text("\n\n".join(part.strip() for part in parts) + "\n", "utf-8")
    click.echo(out.read_text("utf-8"))


if __name__ == "__main__":
    main()
