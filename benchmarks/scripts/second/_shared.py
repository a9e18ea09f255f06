"""The folder of texts and stored vectors, and how the held-out figure is printed."""

import json
import os
import sys
from pathlib import Path

SHARED = Path(os.environ.get("COLLAPSE_PROBE_SHARED", Path(__file__).resolve().parents[4] / "shared"))


def read(name):
    """Return the rows of a file of JSON lines."""
    with (SHARED / "data" / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def heldout(when, measure, value):
    """Print a held-out figure."""
    print(f"HELDOUT {when} {measure} {value:.3f}", file=sys.stderr, flush=True)
