"""A small encoder for the trainers' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from watching.trainers_support import save_bert


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random two-layer BERT."""
    return save_bert(tmp_path_factory.mktemp("bert"))
