"""The founding system's configuration as a run's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._legacy import modern_config
from ._writer import write_config


def write_run_json(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``run.json`` from the founding system's configuration."""
    write_config(folder, modern_config({"name": folder.name, **content}))
