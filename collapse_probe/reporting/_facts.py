"""What the sections of a report ask of a run, each thing once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ..diagnosis import Diagnosis, Evidence, FindingRow, diagnosed
from ..journal import LiveRun
from ._text import Table, md

MOST_ROWS = 20
"""Rows that a table shows; the rest is said, and written as CSV beside the report."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        file: Name within the figures' folder.
        caption: Plain text.
        title: The claim that it shows; empty where it is one of many of its kind.
    """

    file: str
    caption: str
    title: str = ""


Draw = Callable[["Facts", Path], "str | Figure | None"]
"""Writes a figure's file and returns its caption; None where there is no data for it."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One topic of a report.

    Attributes:
        title: Its heading; empty for what stands before the first one.
        applies: Whether the run has anything to say on it.
        write: Its blocks of Markdown, in order; empty ones are left out.
        figures: Its figures, by name.
        files: Its tables as CSV, by file name; None where the report shows every row.
        folded: Whether a reader opens it first.
    """

    title: str
    applies: Callable[[Facts], bool]
    write: Callable[[Facts], list[str]]
    figures: Mapping[str, Draw] = field(default_factory=dict)
    files: Mapping[str, Callable[[Facts], str | None]] = field(default_factory=dict)
    folded: bool = False


class Facts:
    """A run and its diagnosis, with what was drawn of it.

    Attributes:
        run: The run.
        figures: Name to figure, of those that were drawn.
        drawing: Whether figures are drawn.
        asked_without_figures: Whether nobody wants them.
    """

    def __init__(self, run: LiveRun, *, drawing: bool = True, wanted: bool = True) -> None:
        self.run = run
        self.drawing = drawing and wanted
        self.asked_without_figures = not wanted
        self.figures: dict[str, Figure] = {}
        self._epochs: dict[str, dict[int, dict[str, Any]]] = {}

    @cached_property
    def evidence(self) -> Evidence:
        """The run as detectors see it."""
        return self._judged[0]

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the run is."""
        return self._judged[1]

    @cached_property
    def findings(self) -> list[FindingRow]:
        """What every detector says, as rows."""
        return self._judged[2]

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The founding system's recipe; empty for a run that another program made."""
        recipe = self.run.config.session.get("recipe")
        return recipe if isinstance(recipe, dict) else {}

    @property
    def founding(self) -> bool:
        """Whether the founding system made the run."""
        return bool(self.recipe)

    def part(self, key: str) -> dict[str, Any]:
        """Return one object of what the founding system recorded; empty where it did not."""
        found = self.run.config.session.get(key)
        return found if isinstance(found, dict) else {}

    def by_epoch(self, name: str) -> dict[int, dict[str, Any]]:
        """Return the last reading of every epoch: value, n, dimension and so on, by column."""
        if name not in self._epochs:
            frame = self.run.readings(name).drop_duplicates("epoch", keep="last")
            readings = cast(list[dict[str, Any]], frame.to_dict("records"))
            self._epochs[name] = {int(reading["epoch"]): reading for reading in readings}
        return self._epochs[name]

    def figure(self, name: str) -> str:
        """Return the Markdown of a figure with its number and caption; empty where it was not drawn."""
        if name not in self.figures:
            return ""
        number, figure = list(self.figures).index(name) + 1, self.figures[name]
        caption = f"*Figure {number}. {md(figure.caption)}*"
        return f"![{md(figure.title) or f'Figure {number}'}](figures/{figure.file})\n\n{caption}"

    @cached_property
    def _judged(self) -> tuple[Evidence, Diagnosis, list[FindingRow]]:
        return diagnosed(self.run)


def value_of(reading: dict[str, Any] | None) -> float | None:
    """Return a reading's value; None where there is none."""
    return None if reading is None else float(reading["value"])


def shown(table: Table, file: str, *, what: str) -> str:
    """Return a table's first rows, and where the others are."""
    if len(table.rows) <= MOST_ROWS:
        return table.markdown
    left = len(table.rows) - MOST_ROWS
    rest = f"{left:,} more {what} are" if left > 1 else "The last one is"
    return f"{table.first(MOST_ROWS).markdown}\n\n{rest} in `{file}`."


def rest_of(table: Table) -> str | None:
    """Return a table as CSV, if the report does not show all of it."""
    return table.csv if len(table.rows) > MOST_ROWS else None
