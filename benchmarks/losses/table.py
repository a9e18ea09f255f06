"""Every loss of sentence-transformers, and ways to train: plain, and by ``collapse-probe run``.

    python benchmarks/losses/table.py [--output FOLDER] [PACKAGE/LOSS ...]

It prints a table: what was heard with its role, rows and columns, which reference pairs were read, the first line of
the first screen, and whether both left the same bits. It exits 1 where bits differ, something of ours failed, or
``program.py`` does not know how to train by a loss of the library. Some minutes on one core; not run by CI.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import collapse_probe
from collapse_probe.demo import bundled_folder
from collapse_probe.journal import Event, Run

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def main() -> int:
    """Train everything twice, and print the table."""
    from _common import table
    from program import PACKAGES, names
    from programs import PROGRAMS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("losses", nargs="*", metavar="PACKAGE/LOSS", help="those alone; a prefix names several")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    every = [f"{package}/{name}" for package in PACKAGES for name in names(package)]
    every += [f"programs/{name}" for name in PROGRAMS]
    wanted = [one for one in every if not given.losses or one.startswith(tuple(given.losses))]
    output = given.output or Path(tempfile.mkdtemp(prefix="losses-"))
    output.mkdir(parents=True, exist_ok=True)
    arguments = [*wanted, "--encoder", str(bundled_folder()), "--steps", str(given.steps)]
    program = str(HERE / "program.py")
    plain = trained([program, str(output / "plain"), *arguments], output)
    runs = output / "runs" / "one"
    ours = trained(
        ["-m", "collapse_probe", "run", "--run", str(runs), program, str(output / "watched"), *arguments], output
    )
    kept = [Run.load(one.parent) for one in runs.parent.glob("*/run.json")]
    rows, wrong = [], 0
    for one in wanted:
        left, began, ended = ours.get(one, ("did not end", 0.0, 0.0))
        same = left == plain.get(one, ("", 0.0, 0.0))[0]
        mine = [run for run in kept if began <= datetime.fromisoformat(run.began).timestamp() <= ended]
        mine.sort(key=lambda run: run.began)
        heard, reference, first, errors = told(mine[-1]) if mine else ("", "", "no run", [])
        bits = "same" if same and len(left) == 16 else "both raise" if same else "OTHER"
        wrong += (not same) + len(errors)
        said = first if len(left) == 16 else f"{left}; {first}"
        rows.append([one, heard, reference, "; ".join([said, *errors]), bits])
        print(*rows[-1], sep="\n    ", file=sys.stderr)
    print(table(["loss", "heard: role [n, D]", "reference pairs", "first line", "bits"], rows))
    return 1 if wrong else 0


def trained(command: list[str], output: Path) -> dict[str, tuple[str, float, float]]:
    """Return what a program printed of each of its trainings: its digest, when it began and ended."""
    known = {"COLLAPSE_PROBE_STRICT": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (output / f"{'ours' if 'run' in command else 'plain'}.log").open("w") as log:
        found = subprocess.run(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **known}
        )
    lines = [json.loads(line[line.index('["') :]) for line in found.stdout.splitlines() if '["' in line]
    return {one: (left, began, ended) for one, left, began, ended in lines}


def told(run: Run) -> tuple[str, str, str, list[str]]:
    """Return what a run heard, its reference pairs, the first line of its screen, and faults of ours."""
    found = collapse_probe.diagnose(run)
    heard = [f"{one.stream} ({one.role}) [{one.n}, {one.dimension}]" for one in found.heard if one.steps]
    about: Any = run.config.reference
    why = [one.message for one in run.of(Event) if "no reference pairs" in one.message]
    read = [f"{about.source}, {about.n}" if about else "", *(one.split("no reference pairs: ")[-1] for one in why)]
    first = " ".join(found.summary.split("\nSeen")[0].split("\nRetrieval")[0].split("\nLoss")[0].split())
    return ", ".join(heard), "; ".join(filter(None, read)), first, [f"FAULT {one['message']}" for one in found.errors]


if __name__ == "__main__":
    raise SystemExit(main())
