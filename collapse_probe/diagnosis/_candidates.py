"""What could be kept of a run: raw encoder, step 0, epochs, and models a part of the way; how each retrieves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..journal import LiveRun, Run
from ..statistics import Interval, align, max_t, t_interval
from . import _scores

LEAST_GAIN = 0.02
"""Gain over the last epoch from which on keeping something else is worth saying (own choice)."""

_RESOLVED = 0.05
_FAMILY = "interpolation"


@dataclass(frozen=True)
class Candidate:
    """One model that a run could keep.

    Attributes:
        path: ``raw`` for the raw encoder, or the evaluated path.
        epoch: 0 for the raw encoder and for step 0; of an interpolation, the epoch at its end.
        t: Of an interpolation, the share of the way from step 0 to that epoch; None for others.
        name: What it is called, where finished models were examined.
    """

    path: str
    epoch: int
    t: float | None = None
    name: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """What it is called.

        >>> Candidate("raw", 0).label, Candidate("no_predictor", 3, 0.25).label
        ('the raw encoder', 't = 0.25 of the way from step 0 to epoch 3')
        """
        if self.name:
            return self.name
        if self.t is not None:
            return f"t = {self.t:g} of the way from step 0 to epoch {self.epoch}"
        return "the raw encoder" if self.path == "raw" else f"epoch {self.epoch}" if self.epoch else "step 0"


@dataclass(frozen=True)
class Gain:
    """What keeping another model than that of the last epoch gains, measured; nothing is trained for it.

    Attributes:
        candidate: The model.
        collection: Where.
        change: Candidate minus last epoch, paired over queries that did not choose it, or adjusted for the choice.
        n: Queries.
        chosen_by: The development split; empty where there is none.
    """

    candidate: Candidate
    collection: str
    change: Interval
    n: int
    chosen_by: str


def candidates(run: Run, collection: str, *, role: str = "test") -> dict[Candidate, dict[str, Any]]:
    """Return every model that was scored on a collection with its record: raw, step 0, epochs, then interpolations.

    Args:
        run: The run.
        collection: Its label.
        role: ``test``, or ``development``.
    """
    path = _scores.evaluated_path(run)
    records = {key: one for key, one in _scores.evaluation_records(run, role=role).items() if key[0] == collection}
    names = {one.step: one.name for one in run.config.examined}
    found = {
        Candidate(kind, epoch, name=names.get(epoch, "")): record
        for (_, kind, epoch), record in sorted(records.items(), key=lambda entry: entry[0][2])
        if kind in ("raw", path) and _scores.HEADLINE in record["metrics"]
    }
    first = next(iter(records.values()), None)
    return found | ({} if first is None else _interpolated(run, first["collection"], first["split"]))


def last_epoch(found: Mapping[Candidate, Any]) -> Candidate | None:
    """Return what training ended with; None where nothing was scored after it began."""
    trained = [one for one in found if one.t is None and one.epoch > 0]
    return max(trained, key=lambda one: one.epoch, default=None)


def value_of(record: Mapping[str, Any]) -> float:
    """Return the mean that a candidate is judged by."""
    metrics = record["metrics"]
    return float(metrics.get(_scores.HEADLINE, metrics.get("mrr")))


def scores_by_query(run: Run, record: Mapping[str, Any]) -> dict[str, float] | None:
    """Return a candidate's scores by query; None where they cannot be read."""
    return _scores.per_query(run, record, str(record.get("key") or _scores.HEADLINE))


def change(run: Run, found: Mapping[Candidate, Any], before: Candidate | None, after: Candidate) -> Interval | None:
    """Return what one candidate gains over another on a collection, paired over queries; None where that is unknown."""
    return _changes(run, found, before, [after])[0]


def free_gain(run: LiveRun, chosen: Candidate | None, *, chosen_by: str) -> Gain | None:
    """Return what could be kept in place of the last epoch for a resolved gain, and without harm elsewhere.

    Args:
        run: The run.
        chosen: What a development split chose. None where there is none: the interpolations, and of finished models
            the earlier ones, are judged together on every collection, and one of them has to be better than step 0
            somewhere. Where none is, the raw encoder and step 0 are judged in the same way.
        chosen_by: The development split; empty where there is none.
    """
    if not isinstance(run, Run):
        return None
    everywhere = {name: candidates(run, name) for name in _scores.collections(run)}
    everywhere = {name: found for name, found in everywhere.items() if last_epoch(found) is not None}
    if chosen_by:
        return None if chosen is None else _best(run, everywhere, _chosen(run, everywhere, chosen), chosen_by)
    trained = [one for one in _offers(run, everywhere, trained=True) if _learnt(run, everywhere, one.candidate)]
    return _best(run, everywhere, trained) or _best(run, everywhere, _offers(run, everywhere, trained=False))


def _best(run: Run, everywhere: Mapping[str, Any], offered: Sequence[Gain], chosen_by: str = "") -> Gain | None:
    """Return the largest gain that is resolved and costs nothing anywhere.

    Where the collection was chosen by its gain, p is held against how many there were.
    """
    among = 1 if chosen_by else len(everywhere)
    kept = [
        one
        for one in offered
        if one.change.value >= LEAST_GAIN
        and one.change.low > 0
        and one.change.p * among <= _RESOLVED
        and not _harms(run, everywhere, one.candidate)
    ]
    best = max(kept, key=lambda one: one.change.value, default=None)
    return None if best is None else replace(best, chosen_by=chosen_by)


def _chosen(run: Run, everywhere: Mapping[str, Any], one: Candidate) -> list[Gain]:
    """Return what a development split chose on every collection that did not choose it."""
    others = [name for name, found in everywhere.items() if one in found and one != last_epoch(found)]
    return [gain for name in others for gain in _gains(run, name, everywhere[name], [one])]


def _offers(run: Run, everywhere: Mapping[str, Any], *, trained: bool) -> list[Gain]:
    """Return what models that training led to, or those before it, gain on every collection."""
    offered: list[Gain] = []
    for name, found in everywhere.items():
        last = last_epoch(found)
        some = [
            one for one in found if one != last and (_is_trained(one) if trained else one.t is None and not one.epoch)
        ]
        offered += _gains(run, name, found, some)
    return offered


def _is_trained(one: Candidate) -> bool:
    """Return whether a candidate lies between, or is a finished model: epochs are offered by a development split."""
    return one.t is not None or bool(one.name and one.epoch)


def _gains(run: Run, collection: str, found: Mapping[Candidate, Any], some: Sequence[Candidate]) -> list[Gain]:
    judged = _changes(run, found, last_epoch(found), some) if some else []
    counted = [int(found[one].get("n_queries") or 0) for one in some]
    return [Gain(one, collection, two, n, "") for one, two, n in zip(some, judged, counted, strict=True) if two]


def _harms(run: Run, everywhere: Mapping[str, Any], one: Candidate) -> bool:
    """Return whether a candidate is below the last epoch somewhere, resolved."""
    changes = [change(run, found, last_epoch(found), one) for found in everywhere.values()]
    return any(two is not None and two.high < 0 for two in changes)


def _learnt(run: Run, everywhere: Mapping[str, Any], one: Candidate) -> bool:
    """Return whether a candidate is above step 0 somewhere, resolved: else step 0 itself is as good."""
    changes = [change(run, found, Candidate(one.path, 0), one) for found in everywhere.values()]
    return any(two is not None and two.low > 0 for two in changes)


def _changes(
    run: Run, found: Mapping[Candidate, Any], before: Candidate | None, after: Sequence[Candidate]
) -> list[Interval | None]:
    """Return candidates minus another one, judged together where they are several."""
    known = [one for one in (before, *after) if one in found]
    read = [scores_by_query(run, found[one]) for one in known]  # type: ignore[index]
    if len(known) < 1 + len(after) or any(not one or one.keys() != (read[0] or {}).keys() for one in read):
        return [None] * len(after)
    first, *rest = align(*(one for one in read if one))
    if len(rest) == 1:
        return [t_interval(rest[0] - first)]
    return list(max_t(np.stack(rest, axis=1) - first[:, None]))


def _interpolated(run: Run, collection: str, split: str) -> dict[Candidate, dict[str, Any]]:
    """Return the records of the latest interpolations on a collection, by share."""
    records = [
        one
        for one in run.records("counterfactual")
        if one["family"] == _FAMILY
        and (one["collection"], one["split"], one["path"]) == (collection, split, _scores.evaluated_path(run))
        and one["t"] is not None
    ]
    last = max(map(_scores.moment, records), default=0)
    models = run.config.examined
    way = f" of the way from {models[0].name} to {models[-1].name}" if models else ""
    found = {
        Candidate(one["path"], last, float(one["t"]), name=f"t = {float(one['t']):g}{way}" if way else ""): one
        for one in records
        if _scores.moment(one) == last
    }
    return dict(sorted(found.items(), key=lambda entry: entry[0].t or 0.0))
