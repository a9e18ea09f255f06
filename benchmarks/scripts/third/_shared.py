"""The folder of texts and stored vectors."""

import os
from pathlib import Path

SHARED = os.environ.get("COLLAPSE_PROBE_SHARED") or str(Path(__file__).resolve().parents[4] / "shared")
