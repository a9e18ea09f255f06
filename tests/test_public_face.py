"""The public face: its names, its signatures, the JSON of a diagnosis, and the README's first example."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_probe

ROOT = Path(__file__).resolve().parents[1]

NAMES = {
    "Run",
    "Tap",
    "Watch",
    "WatchCallback",
    "added",
    "autolog",
    "call",
    "compare",
    "diagnose",
    "input",
    "item",
    "output",
    "respred",
    "watch",
    "write_report",
}

WATCH = [
    "target",
    "run",
    "optimizer",
    "loss",
    "query",
    "document",
    "taps",
    "reference",
    "raw",
    "similarity",
    "trained_by",
    "examples",
    "every",
    "reference_every",
    "baseline",
    "probes",
    "texts",
    "on_collapse",
]


def test_its_names():
    assert set(collapse_probe.__all__) == NAMES
    assert set(dir(collapse_probe)) == NAMES | {"__version__"}
    assert all(getattr(collapse_probe, name) is not None for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'wach'"):
        _ = collapse_probe.wach


def test_its_signatures():
    parameters = inspect.signature(collapse_probe.watch).parameters
    assert list(parameters) == WATCH
    assert all(one.kind is one.KEYWORD_ONLY for name, one in parameters.items() if name != "target")
    assert list(inspect.signature(collapse_probe.diagnose).parameters) == ["run", "ablation", "ignore"]
    assert list(inspect.signature(collapse_probe.write_report).parameters)[:2] == ["run", "folder"]
    assert list(inspect.signature(collapse_probe.Tap).parameters) == ["stream", "at", "take", "role"]
    methods = {"observe", "terms", "monitor", "step", "window", "evaluation", "close"}
    assert methods <= set(dir(collapse_probe.Watch))
    assert {"target"} < set(parameters) and not set(parameters) - {"target"} - set(
        inspect.signature(collapse_probe.WatchCallback.__init__).parameters
    ) - {"optimizer"}


def test_the_first_example_of_the_readme_runs_as_it_stands(tmp_path):
    """What it prints is in the README up to its numbers, and `diagnose` of the run exits 1."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    script, shown = re.findall(r"```(?:python)?\n(.*?)```", text, re.DOTALL)[:2]
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "failed and is off" not in result.stderr
    first = result.stdout.splitlines()[0]
    assert first.split(", since")[0] == shown.splitlines()[0].split(", since")[0]
    found = collapse_probe.diagnose(tmp_path / "runs" / "mine")
    assert (found.exit_code, found.summary.splitlines()[0]) == (1, first)
    assert (tmp_path / "reports" / "mine" / "failure_analysis.md").is_file()
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(content) == [
        "schema",
        "run",
        "status",
        "exit_code",
        "summary",
        "steps",
        "errors",
        "heard",
        "retrieval",
        "kinds",
        "causes",
        "findings",
        "not_measured",
    ]
    assert {one["stream"] for one in content["heard"]} == {"query", "document"}
    assert set(content["kinds"][0]) >= {
        "kind",
        "subject",
        "code",
        "status",
        "state",
        "raised",
        "onset",
        "value",
        "bounds",
    }
