"""A run's series as detectors read them: of all data sets, and of one sample of the reference pairs."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..journal import Event, LiveRun, Series
from ..journal.vocabulary import MEASURES, modern_reading
from ._separation import COSINES, RANK, SAME_GAP, same_vectors

_BY_NUMBER = ("mrr", "mrr_cosine", "mrr_centred", "margin", "accuracy")
"""Measures that depend on the number of pairs."""

SAMPLES = ("reference", "batch")

_CHANCE, _TOLD = 0.6, 0.8
"""AUC below which pairs are at chance, and above which they are told apart (own choice)."""


class Samples:
    """The series of a run.

    Args:
        run: The run.

    Attributes:
        run: The run.
        config: What it is.
    """

    def __init__(self, run: LiveRun) -> None:
        self.run, self.config = run, run.config

    def said(self, name: str) -> bool:
        """Return whether the run has an event of a name."""
        return any(one.name == name for one in self.run.of(Event))

    def series(self, reading: str, *, on: str | None = None) -> Series:
        """Return one reading by step, those of all data sets together; old names are understood."""
        found = self._series(reading, on)
        if len(found):
            return found
        modern, where = modern_reading(reading)
        return self._series(modern, on or where) if (modern, where) != (reading, on) else found

    def groups(self, prefix: str) -> list[Series]:
        """Return the finite series of every parameter group under a prefix, such as ``update``."""
        names = dict.fromkeys(name for name, _, _ in self.run.keys if name.startswith(f"{prefix}/"))
        found = [self.series(name).finite() for name in names]
        return [one for one in found if len(one)]

    def terms_at(self, stream: str = "") -> list[str]:
        """Return the loss's terms whose forces were read at a correction or a gate; at the embeddings if empty."""
        ends = f"@{stream}/share" if stream else "/share"
        names = dict.fromkeys(name for name, _, _ in self.run.keys if name.startswith("force/") and name.endswith(ends))
        found = [name.removeprefix("force/").removesuffix(ends) for name in names]
        return found if stream else [name for name in found if "@" not in name]

    def _series(self, reading: str, on: str | None, *, dense: bool | None = None) -> Series:
        """Return a reading of all data sets; of the reference pairs those of one number of pairs.

        All pairs are read now and then, a part of them more often (``dense``). What depends on their number, such as
        the reciprocal rank, is of all of them unless asked for otherwise; everything else of the part.
        """
        if dense is None:
            dense = reading.rpartition("/")[2] not in _BY_NUMBER
        found = self._of_all_sets(reading, on)
        if found.on != "reference" or not len(found):
            return found
        sizes, counts = np.unique(found.n, return_counts=True)
        return found.where(found.n == (sizes[np.argmax(counts)] if dense else sizes[-1]))

    @cached_property
    def misread(self) -> bool:
        """Whether pairs that were replayed are not those of the batches: at chance where these are told apart.

        A loop that encodes in pieces may call its model in an order that tells nothing. In a model that normalises over
        batches the two modes may differ so, too.
        """
        known = self.config.reference
        if known is None or known.source != "replayed" or self.said("batch_norm"):
            return False
        reference, batch = (self.run.series("pairs/auc", on=on).finite() for on in SAMPLES)
        if not len(reference) or not len(batch):
            return False
        return float(reference.values[0]) < _CHANCE < _TOLD < float(batch.values[:3].mean())

    @cached_property
    def same_vectors(self) -> bool:
        """Whether a reference query and its document have one embedding, so that these pairs show no fall."""
        return same_vectors(*(self.series(name, on="reference") for name in (RANK, *COSINES)))

    @cached_property
    def told_in_training(self) -> bool:
        """Whether batches tell pairs apart that are equal in evaluation mode: two passes of dropout over a text."""
        gap = self.series("pairs/side_gap", on="batch").finite()
        return self.same_vectors and len(gap) > 0 and float(np.median(gap.values)) > SAME_GAP

    def _of_all_sets(self, reading: str, on: str | None) -> Series:
        whole = self.run.series(reading, on=on)
        if on == "batch" and len(whole) and 1 in whole.n and whole.n.max() > 1 and _is_of_rows(reading):
            whole = whole.where(whole.n != 1)  # what is left over for a last batch: one row has no spread, and no rank
        if on == "reference" and self.misread:
            return whole.where(whole.steps < 0)
        sets = self._data_sets.get(reading)
        if len(whole) or not sets:
            return whole
        parts = [self.run.series(reading, on=on, dataset=name) for name in sets]
        columns = [
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("steps", "values", "n", "dimension", "epochs")
        ]
        order = np.argsort(columns[0], kind="stable")
        return Series(reading, parts[0].on, None, *(column[order] for column in columns), parts[0].dtype)

    @cached_property
    def _data_sets(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for reading, _, dataset in self.run.keys:
            if dataset is not None:
                found.setdefault(reading, []).append(dataset)
        return {reading: sorted(set(names)) for reading, names in found.items()}


def _is_of_rows(reading: str) -> bool:
    """Return whether a reading is of several rows together: of pairs, or of a stream that is no gate."""
    measure = MEASURES.get(reading.rpartition("/")[2])
    return measure is not None and measure.subject in ("pairs", "stream") and "values" not in measure.needs
