"""The public face: its names, signatures and types, the JSON of a diagnosis, and the README's first example."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from journals_support import FALL, FALLING, made, step

import collapse_probe
from collapse_probe.cli import main

ROOT = Path(__file__).resolve().parents[1]

NAMES = {
    "LightningCallback",
    "Run",
    "Tap",
    "Watch",
    "WatchCallback",
    "ablate",
    "added",
    "autolog",
    "call",
    "compare",
    "diagnose",
    "examine",
    "input",
    "interpolate",
    "item",
    "output",
    "preflight",
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

PREFLIGHT = ["loss", "queries", "documents", "model", "similarity"]


def test_its_names():
    assert set(collapse_probe.__all__) == NAMES
    assert set(dir(collapse_probe)) == NAMES | {"__version__"}
    assert all(getattr(collapse_probe, name) is not None for name in NAMES - {"LightningCallback"})
    with pytest.raises(AttributeError, match="no attribute 'wach'"):
        _ = collapse_probe.wach


def test_its_signatures():
    parameters = inspect.signature(collapse_probe.watch).parameters
    assert list(parameters) == WATCH
    assert all(one.kind is one.KEYWORD_ONLY for name, one in parameters.items() if name != "target")
    assert list(inspect.signature(collapse_probe.diagnose).parameters) == ["run", "ablation", "ignore"]
    ablate = ["train", "base", "vary", "seeds", "folder", "engine", "workers"]
    assert list(inspect.signature(collapse_probe.ablate).parameters) == ablate
    assert list(inspect.signature(collapse_probe.write_report).parameters)[:2] == ["run", "folder"]
    assert list(inspect.signature(collapse_probe.preflight).parameters) == PREFLIGHT
    examine = ["base", "models", "collections", "pairs", "run", "queries", "documents", "between"]
    assert list(inspect.signature(collapse_probe.examine).parameters) == examine
    assert list(inspect.signature(collapse_probe.interpolate).parameters) == ["start", "end", "t", "folder"]
    assert list(inspect.signature(collapse_probe.Tap).parameters) == ["stream", "at", "take", "role"]
    methods = {"observe", "terms", "monitor", "step", "window", "evaluation", "close"}
    assert methods <= set(dir(collapse_probe.Watch))
    assert {"target"} < set(parameters) and not set(parameters) - {"target"} - set(
        inspect.signature(collapse_probe.WatchCallback.__init__).parameters
    ) - {"optimizer"}


@pytest.mark.usefixtures("unrendered")
def test_the_first_example_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """What it prints is in the README up to its numbers, and `diagnose` of the run exits 1."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    script, shown = re.findall(r"```(?:python)?\n(.*?)```", text, re.DOTALL)[:2]
    monkeypatch.chdir(tmp_path)
    exec(script, {"__name__": "__main__"})
    first = capsys.readouterr().out.splitlines()[0]
    assert first.split(", since")[0] == shown.splitlines()[0].split(", since")[0]
    found = collapse_probe.diagnose(tmp_path / "runs" / "mine")
    assert (found.exit_code, found.summary.splitlines()[0]) == (1, first)
    assert (tmp_path / "reports" / "mine" / "failure_analysis.md").is_file()
    _fits(json.loads(json.dumps(found.to_dict(), allow_nan=False)), SCHEMA)
    assert {one["stream"] for one in found.to_dict()["heard"]} == {"query", "document"}


STATUS = ("healthy", "warning", "critical", "not measured")
NUMBER: tuple[type, ...] = (int, float)
ONSET = {"step": int, "low": int, "high": int}
FINDING = {
    "kind": str,
    "subject": str,
    "code": re.compile(r"CP\d{3}"),
    "status": (*STATUS, "not applicable"),
    "state": ("raised", "confirmed", "cleared", "", None),
    "raised": (int, None),
    "onset": (ONSET, None),
    "forecast": ({"reading": str, "half_life": NUMBER, "steps": int}, None),
    "value": (*NUMBER, None),
    "bounds": {"warning": (*NUMBER, None), "critical": (*NUMBER, None)},
}
CONDITION = {"reading": str, "value": (*NUMBER, None), "cut": (*NUMBER, None), "holds": (bool, None), "harm": bool}
SCHEMA = {
    "schema": (1,),
    "run": str,
    "status": STATUS,
    "exit_code": (0, 1),
    "summary": str,
    "steps": int,
    "errors": [{"what": str, "message": str, "step": (int, None)}],
    "heard": [
        {
            "stream": str,
            "role": (str, None),
            "where": str,
            "rule": str,
            "n": (int, None),
            "dimension": (int, None),
            "dtype": (str, None),
            "steps": int,
        }
    ],
    "retrieval": [
        {
            "collection": str,
            "domain": ("in", "out", None),
            "metric": str,
            "n": (int, None),
            "raw": (*NUMBER, None),
            "start": (*NUMBER, None),
            "end": (*NUMBER, None),
            "change": ({name: (*NUMBER, None) for name in ("value", "low", "high", "p")}, None),
        }
    ],
    "kinds": [FINDING],
    "causes": [{"cause": str, "locus": str, "verdict": str, "because": dict, "remedies": list}],
    "findings": [{**FINDING, "evidence": [str], "conditions": [CONDITION], "causes": [str], "ignored": (str, None)}],
    "not_measured": [{"what": str, "why": str, "essential": bool}],
    "who_fell": [
        {
            "collection": str,
            "metric": str,
            "against": ("start", "raw"),
            "n": int,
            "lost": int,
            "gained": int,
            "worst_tenth": (*NUMBER, None),
            "kept": bool,
            **{name: (*NUMBER, None) for name in ("places", "takers", "takers_share", "hubs", "seen", "length")},
            "languages": dict,
            "all": dict,
            "documents": [str],
            "queries": [
                {
                    "query": str,
                    "before": NUMBER,
                    "after": NUMBER,
                    "right": (str, None),
                    "rank_before": (int, None),
                    "rank_after": (int, None),
                    "takers": [str],
                }
            ],
        }
    ],
    "delivered": ({"step": (int, None), "last": int, "said": str}, None),
}
"""Schema 1 of a diagnosis: every field in its order, with what it may be: a type, a value, a list or an object."""


def _fits(found: Any, wanted: Any, at: str = "diagnosis") -> None:
    """Assert that a value has the shape that a schema says."""
    if isinstance(wanted, tuple):
        inner = next((one for one in wanted if isinstance(one, dict)), None)
        if isinstance(found, dict) and inner is not None:
            _fits(found, inner, at)
            return
        kinds = [one for one in wanted if isinstance(one, type)]
        assert any(type(found) is one for one in kinds) or any(
            found is one or (found == one and type(found) is type(one)) for one in wanted
        ), f"{at} is {found!r}"
    elif isinstance(wanted, list):
        assert type(found) is list, f"{at} is {found!r}"
        for index, one in enumerate(found):
            _fits(one, wanted[0], f"{at}[{index}]")
    elif isinstance(wanted, dict):
        assert type(found) is dict and list(found) == list(wanted), f"{at} has {list(found)}"
        for name, one in found.items():
            _fits(one, wanted[name], f"{at}.{name}")
    elif isinstance(wanted, re.Pattern):
        assert isinstance(found, str) and wanted.fullmatch(found), f"{at} is {found!r}"
    else:
        assert type(found) is wanted, f"{at} is {found!r}"


PLANTS: dict[str, dict[str, Any]] = {
    "healthy": {},
    "collapsed": {"planted": {**FALL, "query/common_share": step(0.2, 0.99)}},
    "falling": {"planted": {**FALLING, "query/common_share": step(0.2, 0.99)}, "ends": False},
    "diverged": {"planted": {"loss/total": step(1.0, float("nan"))}},
    "nothing heard": {"silent": ("query", "document"), "reference": False, "ends": False},
}


@pytest.mark.parametrize("name", PLANTS)
def test_the_schema_of_every_kind_of_diagnosis(tmp_path, name):
    made(tmp_path / "run", **PLANTS[name])
    found = collapse_probe.diagnose(tmp_path / "run", ignore=["CP421"])
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    _fits(content, SCHEMA)
    assert bool(content["heard"]) == (name != "nothing heard")
    assert bool(content["kinds"]) == (name != "healthy")
    assert any(one["forecast"] for one in content["kinds"]) == (name == "falling")


def test_the_schema_of_what_the_command_line_prints(tmp_path, monkeypatch, capsys):
    made(tmp_path / "run", **PLANTS["collapsed"])
    monkeypatch.setattr(sys, "argv", ["collapse-probe", "diagnose", str(tmp_path / "run"), "--json"])
    with pytest.raises(SystemExit) as caught:
        main()
    content = json.loads(capsys.readouterr().out)
    _fits(content, SCHEMA)
    assert caught.value.code == content["exit_code"] == 1 and content["kinds"]


@pytest.mark.parametrize("wrong", [{"status": "fine"}, {"steps": 1.5}, {"exit_code": True}, {"errors": [{}]}, {"x": 1}])
def test_the_schema_refuses_what_it_is_not(tmp_path, wrong):
    made(tmp_path / "run")
    content = collapse_probe.diagnose(tmp_path / "run").to_dict()
    _fits(content, SCHEMA)
    with pytest.raises(AssertionError):
        _fits({**content, **wrong}, SCHEMA)


FACE = ["__init__", "watching/__init__", "diagnosis/_contract", "journal/_run", "recording/_tap"]


def test_a_type_checker_passes_the_face_and_a_script_that_uses_all_of_it():
    files = ["tests/typed_face.py", *(f"collapse_probe/{name}.py" for name in FACE)]
    command = [sys.executable, "-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    nodes = list(ast.walk(ast.parse((ROOT / files[0]).read_text(encoding="utf-8"))))
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    named = {one.name for node in nodes if isinstance(node, ast.ImportFrom) for one in node.names}
    assert used | named >= NAMES


def test_types_are_shipped():
    assert (ROOT / "collapse_probe" / "py.typed").is_file()
    assert "collapse_probe = py.typed" in (ROOT / "setup.cfg").read_text()
