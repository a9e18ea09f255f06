"""Which checkpoint a rule chooses, and what choosing by the validation loss costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..journal import LiveRun, Run
from ..statistics import Interval, RankCorrelation, align, max_t, rank_correlation, t_interval
from . import _scores
from ._candidates import Candidate, candidates, free_gain, value_of
from ._contract import Remedy


@dataclass(frozen=True)
class Choice:
    """The checkpoint that a rule keeps.

    Attributes:
        path: ``raw`` for the raw encoder, or the recipe's scoring path.
        epoch: 0 for the raw encoder and for step 0.
        rule: ``ndcg@10``, ``validation_loss`` or ``last``.
        why: The values that decided, in words.
        t: Of an interpolation, the share of the way from step 0 to the epoch; None for others.
    """

    path: str
    epoch: int
    rule: str
    why: str
    t: float | None = None

    @property
    def candidate(self) -> Candidate:
        """The model that is kept."""
        return Candidate(self.path, self.epoch, self.t)


@dataclass(frozen=True)
class Selection:
    """What choosing a checkpoint by its validation loss gives.

    Attributes:
        chosen: Epoch of the smallest validation loss.
        best: Epoch of the highest nDCG@10.
        regret: nDCG@10 at ``best`` minus that at ``chosen``, in [0, 1].
        change: The difference from best to chosen, paired over queries, adjusted for the best one being chosen on the
            queries that it is judged by (:func:`max_t` over the checkpoints); None where queries' scores are missing.
        n: Checkpoints that have both, step 0 among them.
        n_queries: Queries; 0 where their scores are missing.
    """

    chosen: int
    best: int
    regret: float
    change: Interval | None
    n: int
    n_queries: int

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
    pairs = _losses_and_scores(run, collection)
    losses = {epoch: loss for epoch, (loss, _) in pairs.items()}
    scores = {epoch: score for epoch, (_, score) in pairs.items()}
    if len(scores) < 2:
        return None
    chosen = min(scores, key=lambda epoch: losses[epoch])
    best = max(scores, key=lambda epoch: scores[epoch])
    change, queries = _against_best(run, collection, list(scores), chosen, best)
    return Selection(chosen, best, scores[best] - scores[chosen], change, len(scores), queries)


def _against_best(
    run: Run, collection: str, candidates: list[int], chosen: int, best: int
) -> tuple[Interval | None, int]:
    """Return the chosen minus the best checkpoint, judged together with all others, and its number of queries.

    Judging by the queries that found the best one would call 20 % of 21 equal checkpoints misleading in place of 2.5 %.
    Max-T over checkpoints holds that rate, and finds more than choosing on one half of the queries and judging on the
    other: .03 nDCG of 300 queries and 6 checkpoints in 27 % of simulated runs against 20 %, .05 in 67 % against 49 %.
    """
    path, records = _scores.evaluated_path(run), _scores.evaluation_records(run)
    read = {epoch: _scores.per_query(run, records[(collection, path, epoch)]) for epoch in candidates}
    own = read[chosen] or {}
    others = {epoch: found for epoch, found in read.items() if found and epoch != chosen and found.keys() == own.keys()}
    if chosen == best and own:
        return t_interval([0.0, 0.0]), len(own)
    if best not in others:
        return None, 0
    of_chosen, *rest = align(own, *others.values())
    judged = max_t(of_chosen[:, None] - np.stack(rest, axis=1))
    return judged[list(others).index(best)], len(own)


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

    ``auto`` chooses by nDCG@10 on the development split, with the raw encoder, step 0 and the interpolations between
    step 0 and the last epoch among the candidates, and takes the last epoch where there is no such split. The
    validation loss decides only where it is asked for.
    """
    recipe = run.config.session.get("recipe") or {}
    rule = str(recipe.get("select", "auto"))
    path = _scores.evaluated_path(run)
    if rule == "validation_loss":
        return _by_loss(run, path)
    records = _scores.evaluation_records(run, role="development")
    if rule != "last" and records:
        return _by_development(run, next(iter(records))[0], next(iter(records.values()))["split"])
    last = max((epoch for _, p, epoch in _scores.evaluation_records(run) if p == path), default=None)
    if last is None:
        readings = run.readings("validation/total")
        last = int(readings["epoch"].max()) if len(readings) else 0
    return Choice(
        path, last, "last", "the last epoch" if records else "the last epoch, because no development split was given"
    )


def _by_development(run: Run, collection: str, split: str) -> Choice:
    values = {one: value_of(record) for one, record in candidates(run, collection, role="development").items()}
    chosen = max(values, key=lambda one: values[one])
    between = sum(one.t is not None for one in values)
    among = f"the raw encoder, step 0 and {between} interpolations" if between else "the raw encoder and step 0"
    why = (
        f"{chosen.label} has the highest nDCG@10 on {collection} ({split}), {values[chosen]:.4f}, of {len(values)} "
        f"candidates with {among} among them"
    )
    return Choice(chosen.path, chosen.epoch, "ndcg@10", why, chosen.t)


def keeping(run: LiveRun) -> Remedy | None:
    """Return what to keep in place of the last epoch, with the gain that was measured; None where nothing gains.

    Chosen by the development split and judged on the other collections, where there is one; see :func:`free_gain`.
    """
    if not isinstance(run, Run):
        return None
    development = _scores.evaluation_records(run, role="development")
    by = next((f"{label} ({one['split']})" for (label, _, _), one in development.items()), "")
    chosen = None
    if by:
        choice = _by_development(run, next(iter(development))[0], "")
        chosen = choice.candidate
    found = free_gain(run, chosen, chosen_by=by)
    if found is None:
        return None
    return Remedy(
        change={"keep": found.candidate.label},
        reading=f"{found.collection}/{_scores.HEADLINE}",
        gain=found.change.value,
        low=found.change.low,
        high=found.change.high,
    )


def _by_loss(run: Run, path: str) -> Choice:
    readings = run.readings("validation/total").drop_duplicates("epoch", keep="last")
    best = readings.loc[readings["value"].idxmin()]
    why = f"epoch {int(best['epoch'])} has the lowest validation loss, {float(best['value']):.3g}; asked for"
    return Choice(path, int(best["epoch"]), "validation_loss", why)


def loss_against_retrieval(run: Run, collection: str) -> RankCorrelation | None:
    """Return how validation loss and nDCG@10 order the checkpoints; None for fewer than three, or constant ones.

    Healthy is negative: a lower loss with a higher nDCG.
    """
    pairs = _losses_and_scores(run, collection)
    return rank_correlation([loss for loss, _ in pairs.values()], [score for _, score in pairs.values()])
