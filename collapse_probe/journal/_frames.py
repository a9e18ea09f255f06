"""A run's numbers as pandas frames, for whoever works with them in a notebook."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ._kinds import NAMES
from ._readings import Coverage, Histogram, Spectrum
from ._scored import Counterfactual, Evaluation
from ._store import Series
from .vocabulary import modern_reading

if TYPE_CHECKING:
    import pandas as pd

    from ._run import LiveRun

_READING_COLUMNS = ["name", "step", "epoch", "value", "n", "dimension", "dtype"]
_EVALUATION_COLUMNS = [
    "collection",
    "split",
    "step",
    "epoch",
    "path",
    "similarity",
    "metric",
    "value",
    "n_queries",
    "n_documents",
    "tied_share",
    "per_query",
]
_BY_NAME = {name: kind for kind, name in NAMES.items()}


class Frames:
    """The founding system's questions to a run, by the names that it had for its readings."""

    def readings(self: LiveRun, name: str | None = None) -> pd.DataFrame:  # type: ignore[misc]
        """Return readings as a frame with name, step, epoch, value, n, dimension and dtype, by step.

        Args:
            name: One reading's name, as ``"delta/mean_abs"``; all of them where None.

        Returns:
            A new frame; empty, with its columns, where nothing was recorded under that name.
        """
        import pandas as pd

        if name is None:
            parts = [(key[0], self.series(key[0], on=key[1], dataset=key[2])) for key in self.keys]
        else:
            modern, on = modern_reading(name)
            parts = [(name, self.series(modern, on=on) or self.series(modern))]
        frames = [_frame(label, series) for label, series in parts if len(series)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=_READING_COLUMNS)

    @property
    def reading_names(self: LiveRun) -> list[str]:  # type: ignore[misc]
        """The names of all readings, in the order of their first appearance."""
        return list(dict.fromkeys(reading for reading, _, _ in self.keys))

    def evaluations(self: LiveRun) -> pd.DataFrame:  # type: ignore[misc]
        """Return one row for each metric of each scored collection: collection, step, epoch, path, metric, value."""
        import pandas as pd

        rows = [
            {**_fields(one), "path": one.variant, "metric": metric, "value": value}
            for one in self.of(Evaluation)
            if one.role != "reference"
            for metric, value in one.metrics.items()
        ]
        return pd.DataFrame(rows, columns=_EVALUATION_COLUMNS)

    def histograms(self: LiveRun, name: str) -> list[dict[str, Any]]:  # type: ignore[misc]
        """Return the histogram records of one name; ``edges`` and ``counts`` are arrays."""
        return [
            {**_fields(one), "edges": np.asarray(one.edges), "counts": np.asarray(one.counts)}
            for one in self.of(Histogram)
            if (one.name, one.on) == modern_reading(name) or one.name == name
        ]

    def spectra(self: LiveRun, name: str) -> list[dict[str, Any]]:  # type: ignore[misc]
        """Return the spectrum records of one name; ``values`` is an array, in descending order."""
        wanted = modern_reading(name)
        return [
            {**_fields(one), "values": np.asarray(one.values)}
            for one in self.of(Spectrum)
            if (one.name, one.on) == wanted
        ]

    def records(self: LiveRun, kind: str) -> list[dict[str, Any]]:  # type: ignore[misc]
        """Return the records of one kind as dictionaries."""
        if kind not in _BY_NAME:
            raise ValueError(f"unknown record kind {kind!r}: use one of {', '.join(_BY_NAME)}")
        found = []
        for one in self.of(_BY_NAME[kind]):
            content = _fields(one)
            if isinstance(one, Evaluation | Counterfactual):
                content["path"] = one.variant
            if isinstance(one, Coverage):
                content["tap"] = one.stream
            found.append(content)
        return found


def _frame(name: str, series: Series) -> pd.DataFrame:
    import pandas as pd

    columns = [name, series.steps, series.epochs, series.values, series.n, series.dimension, series.dtype]
    return pd.DataFrame(dict(zip(_READING_COLUMNS, columns, strict=True)))


def _fields(record: Any) -> dict[str, Any]:
    return {one.name: getattr(record, one.name) for one in fields(record)}
