"""A small encoder for the trainers' tests; faults of ours are raised; a closed watch leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.modules import module
from watching.trainers_support import save_bert


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random two-layer BERT."""
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    clip = torch.nn.utils.clip_grad_norm_
    yield
    assert torch.nn.utils.clip_grad_norm_ is clip
    assert not module._has_any_global_hook()
