"""Qualify the programs: is a failure really worse than its twin, and a control really not?

``python benchmarks/collapsebench/qualify.py --group training --seeds 5``

Program and twin are trained without a watch and scored at the end. A label says ``worse`` where the mean over queries
and seeds is lower than the twin's by at least .01 and p < .05 (seeds and queries crossed, Holm over both collections).
A failure is kept if it is worse than its twin, a control if it is neither worse than its twin nor than the encoder.
The geometry at the end is written beside it, and the number of seeds: labels of two to four wait for the full five.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import torch
from loop import Run
from programs import REGISTRY, Program
from torch import Tensor, nn
from torch.nn import functional
from worlds import World, world

from collapse_probe.statistics import holm, seeded_difference

LABELS = Path(__file__).parent / "labels"
LEAST = 0.01
SIDES = ("inside", "outside")
METRICS = ("mrr@10", "ndcg@10")


class Ended(Run):
    """A run whose last evaluation alone is made, once the training is over: programs evaluate after the last step."""

    def keeps(self, query: Callable, document: Callable, similarity: str) -> bool:
        """Keep what maps, with the modes that it has now."""
        self._maps, self._similarity = (query, document), similarity
        modules = [part for one in self._maps if isinstance(one, nn.Module) for part in one.modules()]
        self._modes = [(one, one.training) for one in modules]
        return True

    @torch.no_grad()
    def end(self) -> dict:
        """Return both collections' scores of every query, and the geometry of the reference pairs."""
        for one, mode in self._modes:
            one.training = mode
        query, document = self._maps
        found: dict = {}
        for side, metric, of in zip(SIDES, METRICS, (self.world.inside, self.world.collection), strict=True):
            vectors = query(of.query).float(), document(of.document).float()
            finite = all(one.isfinite().all() for one in vectors)
            scores = of.scores(*vectors, similarity=self._similarity) if finite else {}
            found[side] = list(scores[metric].values()) if finite else [0.0] * len(of.query_ids)
        left, right = self.world.reference
        return {**found, "geometry": geometry(self.world, (query(left).float(), document(right).float()))}


def geometry(of: World, last: tuple[Tensor, Tensor]) -> dict[str, list[float]]:
    """Return what the reference pairs look like beside the encoder.

    Ratios of norm, own share (1 - common share) and rank, and the share of dead dimensions, all of query and document;
    the gap of the sides over the spread, of the encoder and at the end; and the reciprocal rank of the own document
    under a cosine: of the encoder, at the end, and then with each side's mean taken off.
    """
    if not all(torch.isfinite(z).all() for z in last):
        return {}
    found: dict[str, list[float]] = {"norm": [], "own_share": [], "rank": [], "dead": []}
    for z, raw in zip(last, of.reference, strict=True):
        found["norm"].append(float(z.norm(dim=1).median() / raw.norm(dim=1).median()))
        found["own_share"].append(_own_share(z) / _own_share(raw))
        found["rank"].append(_rank(z) / _rank(raw))
        spread = z.std(dim=0)
        alive = spread[spread > 0]
        found["dead"].append(float((spread < 0.01 * alive.median()).float().mean()) if len(alive) else 1.0)
    found["gap"] = [_gap(*of.reference), _gap(*last)]
    found["mrr"] = [_mrr(*of.reference), _mrr(*last), _mrr(*(z - z.mean(dim=0) for z in last))]
    return {name: [round(value, 4) for value in values] for name, values in found.items()}


def _gap(query: Tensor, document: Tensor) -> float:
    query, document = functional.normalize(query, dim=1), functional.normalize(document, dim=1)
    spread = query.var(dim=0).sum() + document.var(dim=0).sum()
    return float((query.mean(dim=0) - document.mean(dim=0)).norm() / (spread / 2).sqrt().clamp_min(1e-30))


def _mrr(query: Tensor, document: Tensor) -> float:
    scores = functional.normalize(query, dim=1) @ functional.normalize(document, dim=1).T
    return float((1 / (scores >= scores.diagonal()[:, None]).sum(dim=1)).mean())


def _own_share(z: Tensor) -> float:
    return float(1 - z.mean(dim=0).square().sum() / z.square().sum(dim=1).mean().clamp_min(1e-30))


def _rank(z: Tensor) -> float:
    values = torch.linalg.svdvals((z - z.mean(dim=0)).double()) ** 2
    return float(values.sum() ** 2 / values.square().sum().clamp_min(1e-300))


def compared(mine: list[dict], other: list[dict]) -> dict[str, dict]:
    """Return the mean change of every collection with its p, and whether it is worse."""
    found = {s: seeded_difference(np.array([a[s] for a in mine]) - np.array([b[s] for b in other])) for s in SIDES}
    adjusted = holm([found[s].p_value for s in SIDES])
    return {
        side: {
            "change": round(found[side].mean, 4),
            "p": float(f"{p:.2g}"),
            "worse": bool(p < 0.05 and found[side].mean <= -LEAST),
        }
        for side, p in zip(SIDES, adjusted, strict=True)
    }


def ended(train: Callable[..., None], of: World, seed: int, place: Path) -> dict:
    """Return the scores, the geometry and the seconds of a training, which is not done again if it was done before."""
    if not place.exists():
        start, run = time.perf_counter(), Ended(of, seed, None)
        train(run)
        found = {"seconds": time.perf_counter() - start, **run.end()}
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(found), "utf-8")
    return json.loads(place.read_text("utf-8"))


def qualify(program: Program, name: str, seeds: int, folder: Path) -> dict:
    """Return a program's label in a world with what qualifies it."""
    of, place = world(name), folder / program.name / name.replace("/", "-")
    mine = [ended(program.train, of, seed, place / f"program-{seed}.json") for seed in range(seeds)]
    twins = [ended(program.twin, of, seed, place / f"twin-{seed}.json") for seed in range(seeds)]
    untrained = Ended(of, 0, None)
    untrained.evaluate(None, 0, nn.Identity(), nn.Identity())
    encoder = [untrained.end()] * seeds
    against = {"twin": compared(mine, twins), "encoder": compared(mine, encoder)}
    worse = {name: any(one["worse"] for one in found.values()) for name, found in against.items()}
    return {
        "program": program.name,
        "world": name,
        "kind": program.kind,
        "causes": list(program.causes),
        "onset": program.onset,
        "source": program.source,
        "seeds": seeds,
        "kept": worse["twin"] if program.kind else not any(worse.values()),
        "worse": worse["twin"],
        "scores": {
            name: {side: round(float(np.mean([one[side] for one in scores])), 4) for side in SIDES}
            for name, scores in (("program", mine), ("twin", twins), ("encoder", encoder))
        },
        "against": against,
        "geometry": mine[0]["geometry"],
        "seconds": round(min(one["seconds"] for one in mine), 1),
    }


def line(label: dict) -> str:
    """Return a label in a line."""
    parts = [
        f"{'kept' if label['kept'] else 'DROP'} {label['program']} in {label['world']} ({label['kind'] or 'healthy'})"
    ]
    for name, found in label["against"].items():
        parts.append(f"{name} " + " ".join(f"{one['change']:+.3f} (p {one['p']:.1g})" for one in found.values()))
    return " | ".join([*parts, str(label["geometry"]), f"{label['seconds']} s"])


@click.command()
@click.option("--group", default="training", show_default=True, help="Which programs.")
@click.option("--seeds", default=5, show_default=True, help="Trainings of each program and of each twin.")
@click.option("--only", multiple=True, help="Names of programs; all if none.")
@click.option("--again", is_flag=True, help="Train again what was trained before.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/qualify"), show_default=True)
@click.option("--threads", default=2, show_default=True, help="Of torch.")
def main(group: str, seeds: int, only: tuple[str, ...], again: bool, folder: Path, threads: int) -> None:
    """Train programs and twins, and write their labels; a label that is not made anew stays."""
    torch.set_num_threads(threads)
    import_module(f"programs.{group}")
    place = LABELS / f"{group}.json"
    for program in REGISTRY[group].values():
        if (only and program.name not in only) or program.twin is None:
            continue
        if again:
            shutil.rmtree(folder / group / program.name, ignore_errors=True)
        for name in program.worlds:
            label = qualify(program, name, seeds, folder / group)
            click.echo(line(label))
            _keep(label, place, group)


def _keep(label: dict, place: Path, group: str) -> None:
    """Write a label among those that are there, in the order of the programs and their worlds."""
    found = json.loads(place.read_text("utf-8")) if place.exists() else []
    labels = {(one["program"], one["world"]): one for one in [*found, label]}
    order = [(one.name, name) for one in REGISTRY[group].values() for name in one.worlds]
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps([labels[one] for one in order if one in labels], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
