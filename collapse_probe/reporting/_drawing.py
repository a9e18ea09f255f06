"""Every figure of a report, in the order of its sections."""

from __future__ import annotations

from pathlib import Path

from ._facts import Draw, Facts, Figure
from ._sections import SECTIONS

FIGURES: dict[str, Draw] = {name: draw for section in SECTIONS for name, draw in section.figures.items()}
"""Every figure by its name."""


def draw_all(facts: Facts, folder: Path) -> dict[str, Figure]:
    """Draw every figure that the run has data for, as SVG files in a folder."""
    found: dict[str, Figure] = {}
    for name, draw in FIGURES.items():
        drawn = draw(facts, folder / f"{name}.svg")
        if drawn:
            found[name] = Figure(f"{name}.svg", drawn) if isinstance(drawn, str) else drawn
    return found
