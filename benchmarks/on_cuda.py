"""Runs the parts of ``_on_cuda.py``, each in a process of its own, and writes ``cuda.json`` and ``cuda.md``.

``benchmarks/cuda.sh`` starts it. A part that fails, takes too long or does not apply is said, and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _common import table
from _on_cuda import PARTS, Skipped
from _steps import Options

from collapse_probe.journal import atomic_write_text

WHOLE = 470
"""Seconds for all parts together; the last bit of the 8 minutes is for starting and writing."""


def environment(device: str) -> dict[str, str]:
    """Return what the figures depend on."""
    here = Path(__file__).parent
    commit = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True)
    found = {"torch": torch.__version__, "python": platform.python_version(), "threads": str(torch.get_num_threads())}
    if device == "cuda":
        known = torch.cuda.get_device_properties(0)
        found |= {"GPU": f"{known.name}, {known.total_memory / 1e9:.0f} GB", "CUDA": str(torch.version.cuda)}
    return {"device": device, **found, "commit": commit.stdout.strip() or "unknown"}


def in_a_process(name: str, options: Options, *, limit: float) -> dict[str, Any]:
    """Run one part, and return its status, what it says, its figures and its seconds; waits for at most ``limit``."""
    command = [sys.executable, __file__, "--part", name, "--device", options.device, "--out", str(options.out)]
    began = time.perf_counter()
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )
    try:
        answer, trouble = run.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        result = {"status": "failed", "said": f"took longer than {limit:.0f} s"}
    else:
        last = (answer.strip().splitlines() or [""])[-1]
        try:
            result = json.loads(last)
        except ValueError:
            why = (trouble.strip().splitlines() or ["no word"])[-1][:300]
            result = {"status": "failed", "said": f"ended with code {run.returncode}: {why}"}
    return {"figures": {}, **result, "seconds": round(time.perf_counter() - began, 1)}


def one_part(name: str, options: Options) -> dict[str, Any]:
    """Do a part in this process."""
    try:
        said, figures = PARTS[name][1](options)
        return {"status": "fine", "said": said, "figures": figures}
    except Skipped as reason:
        return {"status": reason.status, "said": str(reason), "figures": reason.figures}
    except Exception as error:
        return {"status": "failed", "said": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def markdown(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# What the device showed",
        "",
        "; ".join(f"{name} {value}" for name, value in found["environment"].items()),
    ]
    rows = [
        [
            name,
            one["status"] if one["status"] != "failed" else "**failed**",
            one["said"].replace("|", "/"),
            str(one["seconds"]),
        ]
        for name, one in found["parts"].items()
    ]
    lines += ["", table(["part", "status", "measured", "seconds"], rows)]
    for name, one in found["parts"].items():
        if one["figures"]:
            figures = [
                [key, f"{value:.4g}" if isinstance(value, float) else str(value)]
                for key, value in one["figures"].items()
            ]
            lines += ["", f"## {name}", "", PARTS[name][0], "", table(["figure", ""], figures)]
    return "\n".join([*lines, ""])


def main() -> int:
    """Run the parts that were asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", type=Path, default=Path("runs/cuda"))
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    options = Options(asked.device, asked.out.resolve())
    if asked.part:
        print("\n" + json.dumps(one_part(asked.part, options)), flush=True)
        return 0
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device here; --device cpu shows that the command works", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"environment": environment(asked.device), "parts": {}}
    began = time.perf_counter()
    for name in asked.only:
        left = WHOLE - (time.perf_counter() - began)
        if left > 5:
            one = in_a_process(name, options, limit=min(PARTS[name][2], left))
        else:
            one = {"status": "failed", "said": "no time was left", "figures": {}, "seconds": 0.0}
        found["parts"][name] = one
        print(f"{name:<16} {one['status']:<15} {one['seconds']:>6.1f} s  {one['said']}", flush=True)
        atomic_write_text(options.out / "cuda.json", json.dumps(found, indent=1) + "\n")
        atomic_write_text(options.out / "cuda.md", markdown(found))
    print(f"{time.perf_counter() - began:.0f} s; {options.out / 'cuda.md'}")
    return int(any(one["status"] == "failed" for one in found["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
