"""Say of every held-out program whether it is what its label says: train it and its clean twin, unwatched, and compare.

``python benchmarks/collapsebench/qualify_held_out.py``

A failure is kept if its end is worse than its twin's, in-domain or outside, and a healthy program if neither of the two
is worse than its twin's nor than its own step 0 or the raw encoder, whichever is lower. Both are paired over queries,
seeds are averaged. Nothing is watched here, and nothing diagnosed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from collapse_probe.statistics import randomisation_p, t_interval

HERE = Path(__file__).resolve().parent
LABELS = HERE / "labels" / "held_out.json"
LEAST = 0.01
"""A change below it is none, however well it is resolved."""


def qualify(name: str, seeds: int) -> dict:
    """Train a program and its twin, and return its label with what was measured."""
    from programs import REGISTRY
    from programs.held_out import GROUP, TWINS

    one = REGISTRY[GROUP][name]
    begun = time.perf_counter()
    wrong = [_train(one.train, one.world, seed) for seed in range(seeds)]
    seconds = (time.perf_counter() - begun) / seeds
    right = [_train(TWINS[name], one.world, seed) for seed in range(seeds)]
    measured = {side: _compared(wrong, right, side) for side in ("inside", "outside")}
    kept = (_worse if one.kind else _as_good)(measured)
    return {
        "kept": kept,
        "kind": one.kind,
        "causes": list(one.causes),
        "source": one.source,
        "world": one.world,
        "seeds": seeds,
        "steps": wrong[0]["steps"][-1],
        "seconds": round(seconds, 1),
        **measured,
        "vectors": {"program": wrong[0]["vectors"], "twin": right[0]["vectors"]},
    }


def _train(train: Callable, world_name: str, seed: int) -> dict:
    import programs.held_out as held_out
    from loop import Run
    from worlds import world

    seen: list[tuple[Tensor, Tensor]] = []
    held_out.LOOKERS[:] = [lambda query, document: seen.append((query, document))]
    run = Run(world(world_name), seed, None)
    train(run)
    raw = [world(world_name).inside, world(world_name).collection]
    first, last = (_shape(*one, raw[0]) for one in (seen[0], seen[-1]))
    found = run.outcome
    ends = {side: {"start": np.array(v[0]), "end": np.array(v[-1])} for side, v in vars(found).items() if side in SIDES}
    for (side, metric), one in zip(SIDES.items(), raw, strict=True):
        scores = one.scores(one.query, one.document, similarity="cosine")
        ends[side]["raw"] = np.array(list(scores[metric].values()))
    shape = {name: [value, last.get(name)] for name, value in first.items()}
    return {"steps": found.steps, **ends, "vectors": shape}


SIDES = {"inside": "mrr@10", "outside": "ndcg@10"}


def _compared(wrong: list[dict], right: list[dict], side: str) -> dict:
    ends = {name: np.mean([run[side][name] for run in wrong], axis=0) for name in ("start", "end", "raw")}
    twin = np.mean([run[side]["end"] for run in right], axis=0)
    lower = ends["start"] if ends["start"].mean() < ends["raw"].mean() else ends["raw"]
    means = {name: round(float(values.mean()), 4) for name, values in {**ends, "twin": twin}.items()}
    return {**means, "against_twin": _difference(ends["end"] - twin), "against_start": _difference(ends["end"] - lower)}


def _difference(values: np.ndarray) -> dict:
    interval = t_interval(values)
    numbers = {"mean": values.mean(), "low": interval.low, "high": interval.high, "p": randomisation_p(values)}
    return {name: round(float(number), 4) for name, number in numbers.items()}


def _falls(difference: dict) -> bool:
    return difference["p"] < 0.05 and difference["mean"] <= -LEAST


def _worse(measured: dict) -> bool:
    return any(_falls(one["against_twin"]) for one in measured.values())


def _as_good(measured: dict) -> bool:
    return not any(_falls(one[which]) for one in measured.values() for which in ("against_twin", "against_start"))


def _shape(query: Tensor, document: Tensor, inside: Any) -> dict[str, float]:
    """Return what the vectors look like at an end: of the documents, or of the worse side."""
    sides = [one.double() for one in (query, document)]
    if not all(one.isfinite().all() for one in sides):
        return {"finite": 0.0}
    norm = sides[1].norm(dim=1).median()
    share, rank, dead = [], [], []
    for one in sides:
        centred = one - one.mean(dim=0)
        spread = centred.square().sum(dim=1).mean()
        share.append(one.mean(dim=0).square().sum() / one.square().sum(dim=1).mean())
        values = torch.linalg.eigvalsh(centred.T @ centred / len(one)).clamp(min=0)
        rank.append(values.sum().square() / values.square().sum() if spread > 0 else torch.tensor(0.0))
        deviation = centred.std(dim=0)
        alive = deviation[deviation > 0]
        dead.append((deviation < 0.01 * alive.median()).double().mean() if len(alive) else torch.tensor(1.0))
    gap = (sides[0].mean(dim=0) - sides[1].mean(dim=0)).norm() / (sides[1] - sides[1].mean(dim=0)).norm(dim=1).mean()
    scores = torch.nn.functional.normalize(sides[0], dim=1) @ torch.nn.functional.normalize(sides[1], dim=1).T
    hits = torch.bincount(scores.topk(min(10, scores.shape[1]), dim=1).indices.flatten(), minlength=len(sides[1]))
    centred = [one - one.mean(dim=0) for one in sides]
    ranks = [inside.scores(*one, similarity="cosine")["mrr@10"] for one in (sides, centred)]
    found = {
        "mrr": np.mean(list(ranks[0].values())), "mrr_centred": np.mean(list(ranks[1].values())),
        "norm": norm, "query_norm": sides[0].norm(dim=1).median(),
        "common_share": share[1], "query_common_share": share[0],
        "participation_ratio": rank[1], "query_participation_ratio": rank[0],
        "dead": dead[1], "query_dead": dead[0], "gap": gap, "largest_hub": hits.max() / len(query),
    }  # fmt: skip
    return {name: float(f"{float(value):.3g}") for name, value in found.items()}


@click.command()
@click.option("--seeds", default=2, show_default=True, help="Trainings of each.")
@click.option("--only", multiple=True, help="Names of programs; all if none.")
@click.option("--into", type=click.Path(path_type=Path), default=LABELS, show_default=True)
def main(seeds: int, only: tuple[str, ...], into: Path) -> None:
    """Compare, and write the labels."""
    from programs import REGISTRY
    from programs.held_out import GROUP

    torch.set_num_threads(1)
    labels = json.loads(into.read_text("utf-8")) if into.exists() else {}
    for name in only or REGISTRY[GROUP]:
        labels[name] = found = qualify(name, seeds)
        inside, outside = (found[side] for side in SIDES)
        shown = " | ".join(f"{s['start']:.3f} -> {s['end']:.3f} ({s['twin']:.3f})" for s in (inside, outside))
        click.echo(f"{'kept' if found['kept'] else 'DROP'} {name}: {shown}, {found['seconds']:.0f} s")
        labels = {one: labels[one] for one in REGISTRY[GROUP] if one in labels}
        into.write_text(json.dumps(labels, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
