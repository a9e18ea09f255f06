"""Every trap has a test or a sentence, and these are there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from watching.traps import TRAPS

TESTS = Path(__file__).resolve().parents[1]
UNSEEN = (TESTS.parent / "docs" / "cannot-see.md").read_text(encoding="utf-8")


@cache
def _known(file: str) -> set[str]:
    """Return the names of a file's tests."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_no_number_is_left_out() -> None:
    assert list(TRAPS) == list(range(1, 55))


@pytest.mark.parametrize("number", TRAPS, ids=[f"T{number}: {one.what}" for number, one in TRAPS.items()])
def test_what_holds_a_trap_is_there(number: int) -> None:
    trap = TRAPS[number]
    assert trap.tests or trap.unseen
    for test in trap.tests:
        file, _, name = test.partition("::")
        assert name in _known(file), test
    for begin in trap.unseen:
        assert any(line.startswith((f"- **{begin}**", f"- **{begin}")) for line in UNSEEN.splitlines()), begin
