"""The two figures of an ablation. Each takes data and axes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ..experiments import Effect, Verdict
from ._style import LINES, MARKERS, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_PANEL = 5
"""Interventions that a panel of learning curves holds beside the control: more cannot be told apart."""


_RESOLVED = (Verdict.RESTORES, Verdict.IN_PART, Verdict.BETTER, Verdict.WORSE)


def forest_height(effects: Sequence[Effect]) -> float:
    """Return the inches that :func:`forest` needs for its rows, labels and legend."""
    lines = max(_wrapped(effect.intervention).count("\n") + 1 for effect in effects)
    return 1.55 + (0.32 if lines == 1 else 0.1 + 0.16 * lines) * len(effects)


def _wrapped(name: str) -> str:
    """Return a name in lines of at most 36 characters; nothing is cut, since cells of a grid differ at their ends."""
    return "\n".join(textwrap.wrap(name, 36, break_on_hyphens=False))


def forest(axes: Axes, effects: Sequence[Effect], *, fall: float | None, title: str, metric: str) -> None:
    """Draw every intervention's difference from the control with its interval, the first on top.

    Args:
        axes: Where.
        effects: Those with a difference.
        fall: The control's fall since step 0, of at least 0, drawn as the line of full restoration; None where it
            did not fall.
        title: Above the panel.
        metric: What was scored.
    """
    axes.axvline(0, color="0.35", linewidth=1.0, label="the control")
    if fall is not None:
        axes.axvline(fall, color="0.35", linewidth=1.0, linestyle=":", label="the control at its step 0")
    for row, effect in enumerate(effects):
        difference = effect.against_control
        assert difference is not None
        axes.plot([difference.low, difference.high], [row, row], color=colour(0), linewidth=1.8)
        face = colour(0) if effect.verdict in _RESOLVED else "white"
        axes.plot([difference.mean], [row], marker="o", color=colour(0), markerfacecolor=face, linestyle="none")
    names = [_wrapped(effect.intervention) for effect in effects]
    axes.set_yticks(range(len(effects)), names, fontsize="small" if any("\n" in name for name in names) else None)
    axes.set_ylim(len(effects) - 0.5, -0.5)
    axes.set_xlabel(f"{metric} minus the control's, 95 % over seeds and queries\n(filled: the verdict is resolved)")
    axes.set_title(title, loc="left")
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def learning_curves(
    axes: Axes, table: pd.DataFrame, interventions: Sequence[str], *, raw: float | None, metric: str
) -> None:
    """Draw a metric over training, the mean over seeds with every seed as a thin line, the control first.

    Args:
        axes: Where.
        table: Rows of one collection and metric on the evaluated path: intervention, seed, epoch, value.
        interventions: Which of them.
        raw: The raw encoder's score; None where it was not scored.
        metric: What was scored.
    """
    from matplotlib.ticker import MaxNLocator

    if raw is not None and math.isfinite(raw):
        axes.axhline(raw, color="0.35", linestyle=":", label="raw encoder")
    for index, name in enumerate(interventions):
        part = table[table["intervention"] == name]
        shade = "0.2" if index == 0 else colour(index - 1)
        for _, one in part.groupby("seed"):
            axes.plot(one["epoch"], one["value"], color=shade, linewidth=0.6, alpha=0.5)
        mean = part.groupby("epoch")["value"].mean()
        style = {"marker": MARKERS[index % len(MARKERS)], "linestyle": LINES[index % len(LINES)], "color": shade}
        axes.plot(mean.index, mean.to_numpy(), label=_wrapped(name), linewidth=2.4 if index == 0 else 1.6, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    moment = "step" if len(table) and (table["epoch"] == table["step"]).all() else "epoch"
    axes.set_xlabel(f"{moment} (0: before training)")
    axes.set_ylabel(metric)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
