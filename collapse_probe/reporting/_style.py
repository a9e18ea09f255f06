"""How figures look: colour-blind safe, readable at the width of a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes

WIDTH = 8.0
DPI = 150
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":")

_SETTINGS: Any = {
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the report's style; what the caller had set comes back."""
    with plt.rc_context(), sns.axes_style("whitegrid", {"grid.color": "0.9"}):
        plt.rcParams.update(_SETTINGS)
        yield


def colour(index: int) -> tuple[float, float, float]:
    """Return one of the colour-blind safe colours."""
    palette = sns.color_palette("colorblind")
    return palette[index % len(palette)]


def epoch_colours(count: int) -> list[tuple[float, float, float]]:
    """Return ordered colours for epochs, from light to dark; readable in grey too."""
    return list(sns.color_palette("viridis_r", n_colors=count + 1)[1:])


@contextmanager
def saved(path: Path, *, rows: int = 1, columns: int = 1, height: float = 3.6) -> Iterator[list[Axes]]:
    """Yield the axes of a new figure and save it.

    Args:
        path: The PNG to write.
        rows: Rows of axes.
        columns: Columns of axes.
        height: Inches of each row.
    """
    with styled():
        figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height * rows), squeeze=False)
        try:
            yield list(axes.flat)
            figure.savefig(path, dpi=DPI, metadata={"Software": None})
        finally:
            plt.close(figure)


def mark_epochs(axes: Axes, ends: list[int]) -> None:
    """Draw a line at the end of every epoch but the last."""
    for end in ends[:-1]:
        axes.axvline(end, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
