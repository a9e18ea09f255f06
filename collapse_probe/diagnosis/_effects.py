"""What each intervention of an ablation does, with intervals over queries and seeds, and what that decides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy import stats

from ..journal import Run
from . import _scores
from ._ablation import CONTROL, READINGS, Ablation
from ._attribution import attribution
from ._statistics import SeededDifference, holm, over_seeds, randomisation_p

RESTORED = 0.9
"""Share of the control's fall from which an effect restores it; a smaller one restores it in part (own cut)."""

RESTORED_AT_LEAST = 0.5
"""Share of the control's fall that the interval's lower end has to reach for that (own cut)."""

SIGNIFICANT = 0.05
"""Adjusted p above which a difference is not resolved, whatever its own interval says."""

NEGLIGIBLE = 0.1
"""Share of the control's fall within which the whole interval has to lie for "no effect" (own cut)."""

NEGLIGIBLE_WITHOUT_FALL = 0.005
"""The same in nDCG@10, where the control did not fall (own cut)."""


class Verdict(StrEnum):
    """What an intervention does to nDCG@10."""

    RESTORES = "restores"
    IN_PART = "restores in part"
    BETTER = "better"
    NO_EFFECT = "no effect"
    WORSE = "worse"
    UNRESOLVED = "not resolved at this n"


@dataclass(frozen=True)
class LogRatio:
    """How many times a positive measure differs, on a log10 scale, paired by seed.

    Attributes:
        mean: Mean of log10(intervention / control).
        low: Lower end of its 95 % t interval over seeds; NaN for one seed.
        high: Upper end.
        n_seeds: Seeds.
    """

    mean: float
    low: float
    high: float
    n_seeds: int


@dataclass(frozen=True)
class Effect:
    """What an intervention does after the last epoch.

    Attributes:
        intervention: Its name.
        collection: Label of the collection.
        score: nDCG@10 on its own evaluated path, mean over seeds and queries.
        since_start: Its change since its own step 0.
        against_control: Its difference from the control.
        adjusted_p: Sign-flip randomisation over queries of the differences averaged over seeds, after Holm's method
            over the interventions; None for the control.
        restored: The difference as a share of the control's fall; NaN where the control did not fall.
        verdict: What that amounts to.
        delta_kept: Mean |delta| after the last epoch over that at step 0, mean over seeds; NaN without a residual
            predictor.
        ratios: ``correction``, ``scale`` and ``rank`` against the control's; None where one of the two has none.
    """

    intervention: str
    collection: str
    score: float
    since_start: SeededDifference
    against_control: SeededDifference | None
    adjusted_p: float | None
    restored: float
    verdict: Verdict | None
    delta_kept: float
    ratios: dict[str, LogRatio | None]


@dataclass(frozen=True)
class ModuleShare:
    """A module's share of the control's change since step 0, over seeds.

    Attributes:
        module: Its name; ``interaction`` for what single effects do not add up to.
        alone: Change where only this module is trained.
        share: Its Shapley value.
        fraction: ``share`` over the whole change.
    """

    module: str
    alone: SeededDifference
    share: SeededDifference
    fraction: float


def effects(ablation: Ablation, collection: str) -> list[Effect]:
    """Return the control and every intervention on one collection, in the ablation's order.

    Only seeds that both an intervention and the control have finished are compared.

    Args:
        ablation: The ablation.
        collection: Label of the collection.
    """
    control = {seed: _finals(run, collection) for seed, run in ablation.runs(CONTROL).items()}
    control = {seed: found for seed, found in control.items() if found is not None}
    fall = None
    if control:
        fall = over_seeds(np.stack([last - start for start, last in control.values()]))  # type: ignore[misc]
    found = []
    for name in ablation.interventions:
        runs = ablation.runs(name)
        scores = {seed: values for seed, run in runs.items() if (values := _finals(run, collection)) is not None}
        if scores:
            found.append(_effect(name, collection, runs, scores, ablation.runs(CONTROL), control, fall))
    compared = [effect for effect in found if effect.adjusted_p is not None]
    p_values = dict(zip(map(id, compared), holm([e.adjusted_p for e in compared]), strict=True))  # type: ignore[misc]
    return [_judged(effect, p_values.get(id(effect))) for effect in found]


def _judged(effect: Effect, adjusted_p: float | None) -> Effect:
    """Return an effect with its adjusted p, and not resolved where that says so."""
    verdict = effect.verdict
    if adjusted_p is not None and not adjusted_p <= SIGNIFICANT and verdict is not Verdict.NO_EFFECT:
        verdict = Verdict.UNRESOLVED
    return replace(effect, adjusted_p=adjusted_p, verdict=verdict)


def module_shares(ablation: Ablation, collection: str, path: str | None = None) -> list[ModuleShare]:
    """Return which module of the control holds its change since step 0; empty where that was not scored.

    Args:
        ablation: The ablation.
        collection: Label of the collection.
        path: Scoring path; the control's evaluated one where None.
    """
    found = []
    for run in ablation.completed(CONTROL).values():
        one = attribution(run, collection, path or _scores.evaluated_path(run))
        if one is not None:
            found.append(one)
    if not found:
        return []
    total = float(np.mean([one.total.mean for one in found]))
    shares = []
    for number, effect in enumerate(found[0].effects):
        alone = over_seeds(np.stack([one.effects[number].alone.differences for one in found]))
        share = over_seeds(np.stack([one.effects[number].share.differences for one in found]))
        shares.append(ModuleShare(effect.module, alone, share, share.mean / total if total else math.nan))
    interaction = over_seeds(np.stack([one.interaction.differences for one in found]))
    shares.append(ModuleShare("interaction", interaction, interaction, interaction.mean / total if total else math.nan))
    return shares


def _finals(run: Run, collection: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return per-query nDCG@10 at step 0 and after the last epoch, on the run's evaluated path."""
    path = _scores.evaluated_path(run)
    epochs = _scores.epochs(run, collection, path)
    if run.status != "completed" or len(epochs) < 2 or epochs[0] != 0:
        return None
    records = _scores.evaluation_records(run)
    start, last = (run.per_query(records[(collection, path, epoch)]["per_query"]) for epoch in (0, epochs[-1]))
    return np.asarray(start[_scores.HEADLINE], dtype=float), np.asarray(last[_scores.HEADLINE], dtype=float)


def _effect(
    name: str,
    collection: str,
    runs: dict[int, Run],
    scores: dict[int, tuple[np.ndarray, np.ndarray]],
    control_runs: dict[int, Run],
    control: dict[int, tuple[np.ndarray, np.ndarray]],
    fall: SeededDifference | None,
) -> Effect:
    shared = [seed for seed in scores if seed in control]
    against = p_value = None
    if shared and name != CONTROL:
        differences = np.stack([scores[seed][1] - control[seed][1] for seed in shared])
        against, p_value = over_seeds(differences), randomisation_p([differences.mean(axis=0)])
    fell = fall is not None and fall.high < 0
    restored = against.mean / -fall.mean if against is not None and fall is not None and fell else math.nan
    return Effect(
        intervention=name,
        collection=collection,
        score=float(np.mean([last.mean() for _, last in scores.values()])),
        since_start=over_seeds(np.stack([last - start for start, last in scores.values()])),
        against_control=against,
        adjusted_p=p_value,
        restored=restored,
        verdict=None if against is None else verdict(against, fall if fell else None),
        delta_kept=_delta_kept(runs),
        ratios={
            measure: None if name == CONTROL else _log_ratio(measure, runs, control_runs)
            for measure in ("correction", "scale", "rank")
        },
    )


def verdict(difference: SeededDifference, fall: SeededDifference | None) -> Verdict:
    """Return what a difference from the control amounts to.

    Args:
        difference: Intervention minus control.
        fall: The control's change since step 0 where it fell by more than noise; None where it did not.
    """
    negligible = NEGLIGIBLE * -fall.mean if fall is not None else NEGLIGIBLE_WITHOUT_FALL
    if max(abs(difference.low), abs(difference.high)) <= negligible:
        return Verdict.NO_EFFECT
    if difference.high < 0:
        return Verdict.WORSE
    if not difference.low > 0:
        return Verdict.UNRESOLVED
    if fall is None:
        return Verdict.BETTER
    enough = difference.mean >= RESTORED * -fall.mean and difference.low >= RESTORED_AT_LEAST * -fall.mean
    return Verdict.RESTORES if enough else Verdict.IN_PART


def _delta_kept(runs: dict[int, Run]) -> float:
    kept = []
    for run in runs.values():
        values = run.readings(READINGS["mean_abs_delta"])["value"]
        if len(values) > 1 and values.iloc[0] > 0:
            kept.append(float(values.iloc[-1] / values.iloc[0]))
    return float(np.mean(kept)) if kept else math.nan


def _log_ratio(measure: str, runs: dict[int, Run], control: dict[int, Run]) -> LogRatio | None:
    found = []
    for seed, run in runs.items():
        if seed in control:
            pair = [one.readings(READINGS[measure])["value"] for one in (run, control[seed])]
            if all(len(values) and values.iloc[-1] > 0 for values in pair):
                found.append(math.log10(pair[0].iloc[-1] / pair[1].iloc[-1]))
    if not found:
        return None
    mean = float(np.mean(found))
    if len(found) < 2:
        return LogRatio(mean, math.nan, math.nan, len(found))
    half = float(stats.t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / math.sqrt(len(found)))
    return LogRatio(mean, mean - half, mean + half, len(found))
