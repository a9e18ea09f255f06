"""How figures look: colour-blind safe, readable at the width of a page."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._svg import compact
from ._text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 8.0
COLOURS = ("#0072b2", "#c25700", "#00795c", "#9a3f86", "#8a6a12", "#4a4f55")
"""Told apart without colour vision, and at least three times as dark as the paper."""

MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":")

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "collapse-probe",
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.8",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.labelcolor": "0.15",
    "text.color": "0.15",
    "xtick.color": "0.15",
    "ytick.color": "0.15",
    "xtick.bottom": False,
    "ytick.left": False,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
}


def can_draw() -> bool:
    """Return whether what figures need is installed."""
    return find_spec("matplotlib") is not None


def plain(text: object, *, length: int = 40) -> str:
    """Return foreign text for a figure: one short line, with nothing in it that is markup there.

    >>> plain("_a$b$"), plain("x" * 50, length=9)
    ("'_a\\\\$b\\\\$'", 'xxxx…xxxx')
    """
    flat = one_line(text)
    if len(flat) > length:
        flat = f"{flat[: length // 2]}…{flat[-(length - length // 2 - 1) :]}"
    flat = flat.replace("$", r"\$")
    # A label that begins with an underscore is left out of a legend.
    return f"'{flat}'" if flat.startswith("_") else flat


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the report's style; what the caller had set comes back."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcParams.update(_SETTINGS)
        yield


def colour(index: int) -> str:
    """Return one of the colour-blind safe colours."""
    return COLOURS[index % len(COLOURS)]


def epoch_colours(count: int) -> list[tuple[float, float, float]]:
    """Return ordered colours for epochs, from light to dark; readable in grey too."""
    from matplotlib import colormaps

    # The lighter end of the map cannot be seen on white.
    return [colormaps["plasma"](0.62 * (1 - at / max(1, count - 1)))[:3] for at in range(count)]


@contextmanager
def saved(path: Path, *, rows: int = 1, columns: int = 1, height: float = 3.6) -> Iterator[list[Axes]]:
    """Yield the axes of a new figure and save it.

    Args:
        path: The SVG to write.
        rows: Rows of axes.
        columns: Columns of axes.
        height: Inches of each row.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with styled(), warnings.catch_warnings():
        # A foreign name may have letters that the font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(WIDTH, height * rows))
        canvas = FigureCanvasSVG(figure)
        yield list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in figure.axes:
            _powers_in_words(axes)
        drawn = StringIO()
        # savefig would lay the figure out twice.
        canvas.print_svg(drawn, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        path.write_text(compact(drawn.getvalue()), encoding="utf-8")


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _powers_in_words(axes: Axes) -> None:
    """Label log axes with plain text: markup of powers takes a third of a drawing's time, and nothing reads it out."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    for axis in (axes.xaxis, axes.yaxis):
        for minor in (False, True):
            given = axis.get_minor_formatter() if minor else axis.get_major_formatter()
            if isinstance(given, LogFormatter):
                worded = FuncFormatter(lambda value, at, given=given: _power(given(value, at)))
                # What a formatter labels depends on the ticks that are seen.
                worded.set_locs = given.set_locs  # type: ignore[method-assign]
                given.set_axis(axis)
                (axis.set_minor_formatter if minor else axis.set_major_formatter)(worded)


def _power(label: str) -> str:
    r"""Return a label of a log axis without markup.

    >>> _power(r"$\mathdefault{2\times10^{-3}}$"), _power("")
    ('2 x 10⁻³', '')
    """
    text = label.replace("$", "").replace(r"\mathdefault", "").replace(r"\times", " x ")
    text = re.sub(r"\^\{([-\d]+)\}", lambda found: found[1].translate(_RAISED), text)
    return re.sub(r"[{}]", "", text)


def mark_epochs(axes: Axes, ends: list[int]) -> None:
    """Draw a line at the end of every epoch but the last."""
    for end in ends[:-1]:
        axes.axvline(end, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
