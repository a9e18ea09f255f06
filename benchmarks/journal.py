"""How long a diagnosis and a report of a large journal take, and how much memory: 1,000,000 readings in three shapes.

    python benchmarks/journal.py [--folder DIR]

Each run has 200 evaluations of 1,000 queries beside its readings. Loading is part of what is measured; every
diagnosis has a process of its own, and so has every report, which is written without figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SHAPES = {
    "50,000 steps x 20": (50_000, 20),
    "1,000,000 steps x 1": (1_000_000, 1),
    "2,000 steps x 500 streams": (2_000, 500),
}
EVALUATIONS = 200
QUERIES = 1_000
MEASURES = ("norm_median", "common_share", "std_mean", "dead_dimensions")

_MEASURED = """
import resource, sys, time
start = time.perf_counter()
from collapse_probe.diagnosis import diagnose
imported = time.perf_counter()
found = diagnose(sys.argv[1])
end = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{end - imported:.2f} s, {end - start:.2f} s with imports, {peak:.0f} MB, {found.status.value}")
"""

_REPORTED = """
import resource, sys, tempfile, time
start = time.perf_counter()
from collapse_probe.reporting import write_report
imported = time.perf_counter()
with tempfile.TemporaryDirectory() as folder:
    size = write_report(sys.argv[1], folder + "/report", figures=False).stat().st_size
end = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{end - imported:.2f} s, {end - start:.2f} s with imports, {peak:.0f} MB, {size / 1000:.0f} kB")
"""


def write_run(folder: Path, *, steps: int, width: int) -> None:
    """Write a run of a shape; retrieval does not change but for noise."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema": 3, "name": folder.name}))
    rng = np.random.default_rng(0)
    due = set(np.linspace(0, steps, EVALUATIONS).astype(int).tolist())
    scores = np.clip(rng.normal(0.6, 0.3, QUERIES), 0, 1)
    names = [f"s{i // len(MEASURES)}/{MEASURES[i % len(MEASURES)]}" for i in range(width - 1)]
    with (folder / "journal.jsonl").open("w") as file:
        number = 0

        def write(kind: str, **fields: object) -> None:
            nonlocal number
            file.write(json.dumps({"kind": kind, "seq": number, **fields}, separators=(",", ":")) + "\n")
            number += 1

        write("start", schema=3)
        for step in range(steps + 1):
            if step:
                values = dict(zip(names, (0.5 + 0.01 * rng.normal(size=width - 1)).tolist(), strict=True))
                if values:
                    write("readings", step=step, values=values, n=64, dimension=384, dtype="float32")
                write("terms", step=step, values={"loss/total": 1 + 0.01 * float(rng.normal())})
            if step in due:
                _evaluation(folder, step, scores, rng, write)
        write("end", status="completed", step=steps, records=number + 1)


def _evaluation(folder: Path, step: int, scores: np.ndarray, rng: np.random.Generator, write) -> None:
    file = f"evaluation-{step}.json"
    values = np.clip(scores + rng.normal(0, 0.02, QUERIES), 0, 1)
    content = {"query_ids": [f"q{i}" for i in range(QUERIES)], "ndcg@10": values.tolist()}
    (folder / file).write_text(json.dumps(content))
    metrics = {"ndcg@10": float(values.mean())}
    write("evaluation", collection="toy", step=step, metrics=metrics, n_queries=QUERIES, per_query=file)


def main() -> None:
    """Write the runs and measure a diagnosis and a report of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        parent = options.folder or Path(temporary)
        for label, (steps, width) in SHAPES.items():
            folder = parent / f"{steps}x{width}"
            if not folder.exists():
                write_run(folder, steps=steps, width=width)
            for name, script in (("diagnose", _MEASURED), ("report", _REPORTED)):
                command = [sys.executable, "-c", script, str(folder)]
                found = subprocess.run(command, capture_output=True, text=True, check=True)
                print(f"{label:<28} {name:<9} {found.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
