"""What is trained on the frozen encoder, and what becomes of retrieval: the founding losses beside others.

    python benchmarks/founding.py [--seeds 5] [--only NAME ...]

Every row is trained from several seeds on 9,000 MedQuAD pairs, scored on SciFact and on 1,000 held-out queries among
all documents of the pairs, and judged by the tool. Means over seeds, from before the first step to the end of each
epoch; in brackets the least and the largest of the last epoch. Runs that are there already are read again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import SHARED, THREADS, table

from collapse_probe import Run, diagnose, respred
from collapse_probe.journal import Evaluation

CONTRASTIVE = {"predictor": "none", "lambda_contrastive": 1.0}
ALONE = {"lambda_isotropy": 0.0, "lambda_predictive": 0.0, "lambda_residual": 0.0}
ROWS: dict[str, dict[str, Any]] = {
    "founding losses, MLP": {},
    "founding losses, penalty 0": {"lambda_residual": 0.0},
    "founding losses, learning rate 1e-4": {"learning_rate": 1e-4},
    "founding losses, linear from the identity": {"projection": "linear"},
    "squared error alone, MLP": {"predictor": "none", "lambda_isotropy": 0.0, "lambda_residual": 0.0},
    "in-batch softmax, MLP": {**ALONE, **CONTRASTIVE},
    "in-batch softmax, linear from the identity": {**ALONE, **CONTRASTIVE, "projection": "linear"},
    "the same, learning rate 1e-4": {**ALONE, **CONTRASTIVE, "projection": "linear", "learning_rate": 1e-4},
}
COLLECTIONS = {"held-out pairs": "mrr@10", "scifact": "ndcg@10"}
READINGS = ("pairs/d_prime", "pairs/mrr", "document/common_share", "document/participation_ratio_corrected")


def trained(fields: dict[str, Any], folder: Path, seed: int) -> Run:
    """Return a training's run; one that is there and came to its end is not made again."""
    if folder.exists() and (run := Run.load(folder)).status == "completed":
        return run
    return respred.train(
        "respred",
        pairs=SHARED / "data" / "medquad_smoke_10k.jsonl",
        collections=[SHARED / "data" / "scifact"],
        features=[SHARED / "features" / "all-MiniLM-L6-v2"],
        validation_share=0.1,
        counterfactuals=False,
        run=folder,
        seed=seed,
        **fields,
    )


def scores(run: Run, collection: str) -> list[float]:
    """Return a collection's metric before the first step and after every epoch."""
    found = [one for one in run.of(Evaluation) if one.collection == collection and one.variant == run.config.judged]
    return [one.metrics[COLLECTIONS[collection]] for one in sorted(found, key=lambda one: one.step)]


def cell(values: np.ndarray) -> str:
    """Return the means of rows of seeds, with the range of the last column."""
    first, *rest = (f"{one:.3f}" for one in values.mean(axis=0))
    return f"{first} -> {' '.join(rest)} [{values[:, -1].min():.3f}, {values[:, -1].max():.3f}]"


def ends(run: Run, reading: str) -> list[float]:
    """Return a reading of the reference pairs at its first and last evaluation, of the most pairs that were read."""
    series = run.series(reading, on="reference")
    if not len(series):
        return [float("nan")] * 2
    kept = series.values[series.n == series.n.max()]
    return [float(kept[0]), float(kept[-1])]


def main() -> None:
    """Train, score, judge, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="NAME")
    parser.add_argument("--folder", type=Path, default=Path("runs/founding"))
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    retrieval, geometry = [], []
    for name in options.only:
        place = name.replace(",", "").replace(" ", "-")
        runs = [trained(ROWS[name], options.folder / f"{place}-{seed}", seed) for seed in range(options.seeds)]
        said = {}
        for run in runs:
            found = diagnose(run)
            kinds = ", ".join(dict.fromkeys(one.kind for one in found.kinds if one.status == "critical"))
            causes = found.causes[0].cause if found.causes else ""
            line = " / ".join(one for one in (kinds or "no kind", causes) if one)
            said[f"{found.status}: {line}"] = said.get(f"{found.status}: {line}", 0) + 1
        shown = "; ".join(f"{count} x {line}" for line, count in said.items())
        retrieval.append([name, *(cell(np.array([scores(run, one) for run in runs])) for one in COLLECTIONS), shown])
        geometry.append([name, *(cell(np.array([ends(run, one) for run in runs])) for one in READINGS)])
        print(" | ".join(retrieval[-1]), flush=True)
    raw = [one for one in runs[0].of(Evaluation) if one.variant == "raw" and one.collection in COLLECTIONS]
    print(
        "\nraw encoder: " + ", ".join(f"{one.collection} {one.metrics[COLLECTIONS[one.collection]]:.3f}" for one in raw)
    )
    print("\n" + table(["trained", *(f"{name} {metric}" for name, metric in COLLECTIONS.items()), "said"], retrieval))
    print("\n" + table(["trained", *READINGS], geometry))


if __name__ == "__main__":
    main()
