"""Which module holds a change of the scores, from the mixtures of modules that a run scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..journal import Run
from ..statistics import PairedDifference, align, paired_difference
from . import _scores


@dataclass(frozen=True)
class ModuleEffect:
    """What one module's training did to nDCG@10, every difference paired over queries.

    Attributes:
        module: Its name.
        alone: The change where only this module has its trained weights, all others those of step 0.
        put_back: The change of the final score when only this module goes back to step 0.
        share: Its Shapley value: its effect averaged over the orders in which modules could have changed. These add
            up to the whole change.
    """

    module: str
    alone: PairedDifference
    put_back: PairedDifference
    share: PairedDifference


@dataclass(frozen=True)
class Attribution:
    """A change of nDCG@10 since step 0, divided among the trained modules.

    ``total = sum of alone + interaction``, to rounding.

    Attributes:
        collection: Label of the collection.
        path: Scoring path.
        epoch: Epoch that is compared with step 0.
        total: The change.
        effects: One for each trained module.
        interaction: What the modules' single effects do not add up to.
    """

    collection: str
    path: str
    epoch: int
    total: PairedDifference
    effects: tuple[ModuleEffect, ...]
    interaction: PairedDifference

    def effect(self, module: str) -> ModuleEffect:
        """Return the effect of one module."""
        return next(effect for effect in self.effects if effect.module == module)

    def fraction(self, module: str) -> float:
        """Return a module's share of the change, 1 for all of it; NaN where nothing changed."""
        return self.effect(module).share.mean / self.total.mean if self.total.mean else math.nan


def attribution(run: Run, collection: str, path: str, epoch: int | None = None) -> Attribution | None:
    """Divide the change since step 0 among the trained modules; None where the mixtures were not all scored.

    Args:
        run: The run.
        collection: Label of the collection.
        path: ``no_predictor`` or ``predictor``.
        epoch: Which; the last one that was scored where None.
    """
    records = [r for r in counterfactual_records(run, collection, path) if r["family"] == "graft"]
    if epoch is None:
        epoch = max((int(r["epoch"]) for r in records), default=0)
    values = {
        frozenset(r["trained"]): found
        for r in records
        if r["epoch"] == epoch and (found := _scores.per_query(run, r, str(r.get("key")))) is not None
    }
    modules = sorted(frozenset().union(*values)) if values else []
    if not modules or len(values) < 2 ** len(modules) or len({frozenset(one) for one in values.values()}) > 1:
        return None
    everything, queries = frozenset(modules), sorted(values[frozenset()])
    mixtures = dict(zip(values, align(*values.values()), strict=True))
    start = mixtures[frozenset()]

    def change(differences: np.ndarray) -> PairedDifference:
        return paired_difference(dict.fromkeys(queries, 0.0), dict(zip(queries, differences.tolist(), strict=True)))

    effects = tuple(
        ModuleEffect(
            module=module,
            alone=change(mixtures[frozenset({module})] - start),
            put_back=change(mixtures[everything - {module}] - mixtures[everything]),
            share=change(_shapley(mixtures, modules, module)),
        )
        for module in modules
    )
    total = mixtures[everything] - start
    alone = sum((mixtures[frozenset({module})] - start for module in modules), np.zeros_like(start))
    return Attribution(collection, path, epoch, change(total), effects, change(total - alone))


def counterfactual_records(run: Run, collection: str, path: str | None = None) -> list[dict[str, Any]]:
    """Return the counterfactual records of one collection, the latest of each kind and epoch.

    Args:
        run: The run.
        collection: Label of the collection.
        path: Only of this path; of every one where None.
    """
    labels = {(r["collection"], r["split"]): label for (label, _, _), r in _scores.evaluation_records(run).items()}
    found = {}
    for record in run.records("counterfactual"):
        if labels.get((record["collection"], record["split"])) == collection and path in (None, record["path"]):
            found[(record["path"], record["family"], record["name"], int(record["epoch"]))] = record
    return list(found.values())


def counterfactual_differences(run: Run, collection: str, epoch: int) -> list[tuple[str, float, PairedDifference]]:
    """Return every changed delta of one epoch: name, nDCG@10 and its difference from the model as it is."""
    records = [
        record
        for record in counterfactual_records(run, collection, "predictor")
        if record["family"] == "delta" and record["epoch"] == epoch
    ]
    scored = [(str(r["name"]), _scores.per_query(run, r, str(r.get("key")))) for r in records]
    actual = next((values for name, values in scored if name == "alpha x 1"), None)
    if not actual:
        return []
    return [
        (name, math.fsum(values.values()) / len(values), paired_difference(actual, values))
        for name, values in scored
        if values is not None and values.keys() == actual.keys()
    ]


def _shapley(values: dict[frozenset[str], np.ndarray], modules: Sequence[str], module: str) -> np.ndarray:
    others = [name for name in modules if name != module]
    total = np.zeros_like(values[frozenset()])
    for size in range(len(others) + 1):
        weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(modules))
        for subset in combinations(others, size):
            base = frozenset(subset)
            total += weight * (values[base | {module}] - values[base])
    return total
