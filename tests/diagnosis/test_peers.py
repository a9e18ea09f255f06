"""The table of peers: means over programs with a verdict, and a dash where a peer cannot say a thing."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LABELS = {
    "fails": {"kind": "cone", "causes": ["leak"], "onset": 1},
    "fails_too": {"kind": "hubness", "causes": ["leak"], "onset": 10},
    "healthy": {"kind": None, "causes": [], "onset": None},
}


def said(detected, kinds=None, causes=None, onset=None):
    return {"detected": detected, "kinds": kinds, "causes": causes, "onset": onset, "shown": []}


def record(peer, program, *, error=None, **answers):
    return {"peer": peer, "version": "1", "program": program, "steps": 100, "error": error, "said": answers}


def test_lines_of_the_table_and_who_was_silent(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "collapsebench"))
    peers = import_module("peers")
    records = [
        record("loud", "fails", fail=said(True, ["cone", "ties"], ["leak"], 11), warn=said(True)),
        record("loud", "fails_too", fail=said(False, [], []), warn=said(True, onset=40)),
        record("loud", "healthy", fail=said(False, [], []), warn=said(True)),
        record("picky", "fails", error="ValueError: Model Tower has no config"),
        record("picky", "healthy", error="ValueError: Model Linear has no config"),
        record("weak", "fails", fail=said(False)),
        record("weak", "fails_too", error="KeyError: 3"),
    ]
    assert peers.lines(records, LABELS) == [
        ["loud 1", "fail", "0.50 (2)", "0.00 (1)", "0.50 (2)", "0.50 (2)", "0.10 (1)", "0"],
        ["loud 1", "warn", "1.00 (2)", "1.00 (1)", "-", "-", "0.30 (1)", "0"],
        ["picky 1", "-", "-", "-", "-", "-", "-", "2"],
        ["weak 1", "fail", "0.00 (1)", "-", "-", "-", "-", "1"],
    ]
    assert peers.silent(records) == [
        "- picky, 2 programs (fails, healthy): `ValueError: Model ... has no config`",
        "- weak, 1 program (fails_too): `KeyError: 3`",
    ]
