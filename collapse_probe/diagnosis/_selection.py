"""Which checkpoint a rule chooses, and what choosing by the validation loss costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..journal import Run
from . import _scores
from ._statistics import PairedDifference

FEWEST_CHECKPOINTS = 5
"""Below this a rank correlation cannot be significant: with 3 its best two-sided p is 1/3."""


@dataclass(frozen=True)
class Choice:
    """The checkpoint that a rule keeps.

    Attributes:
        path: ``raw`` for the raw encoder, or the recipe's scoring path.
        epoch: 0 for the raw encoder and for step 0.
        rule: ``ndcg@10``, ``validation_loss`` or ``last``.
        why: The values that decided, in words.
    """

    path: str
    epoch: int
    rule: str
    why: str


@dataclass(frozen=True)
class Selection:
    """What choosing a checkpoint by its validation loss gives.

    Attributes:
        chosen: Epoch of the smallest validation loss.
        best: Epoch of the highest nDCG@10.
        regret: nDCG@10 at ``best`` minus that at ``chosen``, in [0, 1].
        change: The paired difference from best to chosen; None where the queries' scores are missing.
        n: Checkpoints that have both, step 0 among them.
    """

    chosen: int
    best: int
    regret: float
    change: PairedDifference | None
    n: int

    @property
    def misleads(self) -> bool:
        """Whether the chosen checkpoint is worse than the best by more than noise over queries."""
        return self.change is not None and self.change.high < 0


def selection(run: Run, collection: str) -> Selection | None:
    """Return what selecting by validation loss would do, or None for fewer than two checkpoints.

    Args:
        run: The run.
        collection: Label of the collection, on the recipe's evaluated path.
    """
    path = _scores.evaluated_path(run)
    pairs = _losses_and_scores(run, collection)
    losses = {epoch: loss for epoch, (loss, _) in pairs.items()}
    scores = {epoch: score for epoch, (_, score) in pairs.items()}
    if len(scores) < 2:
        return None
    chosen = min(scores, key=lambda epoch: losses[epoch])
    best = max(scores, key=lambda epoch: scores[epoch])
    change = _scores.difference(run, collection, (path, best), (path, chosen))
    return Selection(chosen, best, scores[best] - scores[chosen], change, len(scores))


def _losses_and_scores(run: Run, collection: str) -> dict[int, tuple[float, float]]:
    """Return validation loss and nDCG@10 on the evaluated path of every epoch that has both."""
    path = _scores.evaluated_path(run)
    readings = run.readings("validation/total").drop_duplicates("epoch", keep="last")
    losses = {int(e): float(v) for e, v in zip(readings["epoch"], readings["value"], strict=True)}
    records = _scores.evaluation_records(run)
    return {
        epoch: (losses[epoch], float(records[(collection, path, epoch)]["metrics"][_scores.HEADLINE]))
        for epoch in sorted(losses)
        if math.isfinite(losses[epoch]) and (collection, path, epoch) in records
    }


def choose_checkpoint(run: Run) -> Choice:
    """Return the checkpoint that the run's own rule keeps.

    ``auto`` chooses by nDCG@10 on the development split, with the raw encoder and step 0 among the candidates, and
    takes the last epoch where there is no such split. The validation loss decides only where it is asked for.
    """
    recipe = run.settings.get("recipe") or {}
    rule = str(recipe.get("select", "auto"))
    path = _scores.evaluated_path(run)
    if rule == "validation_loss":
        return _by_loss(run, path)
    records = _scores.evaluation_records(run, role="development")
    if rule != "last" and records:
        return _by_development(records, path)
    last = max((epoch for _, p, epoch in _scores.evaluation_records(run) if p == path), default=None)
    if last is None:
        readings = run.readings("validation/total")
        last = int(readings["epoch"].max()) if len(readings) else 0
    return Choice(path, last, "last", "the last epoch" if records else "the last epoch: no development split was given")


def _by_development(records: dict, path: str) -> Choice:
    values = {
        (p, epoch): float(record["metrics"][_scores.HEADLINE])
        for (_, p, epoch), record in records.items()
        if p in ("raw", path)
    }
    chosen = max(values, key=lambda key: values[key])
    label = "the raw encoder" if chosen[0] == "raw" else "step 0" if chosen[1] == 0 else f"epoch {chosen[1]}"
    collection = next(iter(records))[0]
    split = next(iter(records.values()))["split"]
    why = (
        f"{label} has the highest nDCG@10 on {collection} ({split}), {values[chosen]:.4f}, of {len(values)} "
        "candidates with the raw encoder and step 0 among them"
    )
    return Choice(chosen[0], chosen[1], "ndcg@10", why)


def _by_loss(run: Run, path: str) -> Choice:
    readings = run.readings("validation/total").drop_duplicates("epoch", keep="last")
    best = readings.loc[readings["value"].idxmin()]
    why = f"epoch {int(best['epoch'])} has the lowest validation loss, {float(best['value']):.3g}; asked for"
    return Choice(path, int(best["epoch"]), "validation_loss", why)


@dataclass(frozen=True)
class RankCorrelation:
    """How the validation loss orders checkpoints against how nDCG@10 does.

    Attributes:
        spearman: In [-1, 1]; healthy is negative: a lower loss with a higher nDCG.
        kendall: Kendall's tau-b, in [-1, 1].
        p_value: Two-sided, by permutations: all of them up to 8 checkpoints; NaN below :data:`FEWEST_CHECKPOINTS`.
        n: Checkpoints, step 0 among them.
    """

    spearman: float
    kendall: float
    p_value: float
    n: int


def loss_against_retrieval(run: Run, collection: str) -> RankCorrelation | None:
    """Return the rank correlation of validation loss and nDCG@10; None for fewer than three checkpoints."""
    pairs = _losses_and_scores(run, collection)
    if len(pairs) < 3:
        return None
    losses, scores = (np.array(column) for column in zip(*pairs.values(), strict=True))
    if len(set(losses)) == 1 or len(set(scores)) == 1:
        return None
    rho = float(stats.spearmanr(losses, scores).statistic)
    tau = float(stats.kendalltau(losses, scores).statistic)
    return RankCorrelation(rho, tau, _permutation_p(losses, scores), len(pairs))


def _permutation_p(losses: np.ndarray, scores: np.ndarray) -> float:
    """Return the two-sided p of Spearman's rho: over all orders of up to 8 checkpoints, or over 50,000 seeded ones."""
    if len(losses) < FEWEST_CHECKPOINTS:
        return math.nan
    other = stats.zscore(stats.rankdata(scores))

    def size(ranks: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.abs(np.mean(stats.zscore(ranks, axis=axis) * other, axis=axis))

    found = stats.permutation_test(
        (stats.rankdata(losses),),
        size,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=50_000,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
