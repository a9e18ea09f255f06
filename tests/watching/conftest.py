"""Faults of ours are raised in these tests, unless a test says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")
    monkeypatch.chdir(tmp_path)
