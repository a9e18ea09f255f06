"""Two of the reference programs are trained under watch, on real vectors, and judged: kind and cause are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("norm_penalty_under_a_dot_product", "shifted_by_a_row")


def test_kind_and_cause_of_reference_programs(shared, tmp_path):
    only = [part for name in PROGRAMS for part in ("--only", name)]
    command = [sys.executable, str(ROOT / "benchmarks" / "collapsebench" / "run.py"), "--folder", str(tmp_path), *only]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.rstrip().endswith("2 of 2 right"), result.stdout
