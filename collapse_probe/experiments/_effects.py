"""What each intervention of an ablation does, with intervals over queries and seeds, and what that decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from ..diagnosis import attribution, epochs, evaluated_path, evaluation_records, per_query
from ..journal import Run
from ..statistics import (
    SEEDS_TO_CONFIRM,
    Interval,
    PairedDifference,
    SeededDifference,
    align,
    holm,
    seeded_difference,
    t_interval,
)
from ._results import CONTROL, READINGS, Ablation

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


_CAUSE = {
    Verdict.RESTORES: "confirmed",
    Verdict.IN_PART: "contributes",
    Verdict.BETTER: "contributes",
    Verdict.NO_EFFECT: "refuted",
    Verdict.WORSE: "not supported: taking it away is worse",
    Verdict.UNRESOLVED: "not resolved at this n",
}


@dataclass(frozen=True)
class Effect:
    """What an intervention does after the last epoch.

    Attributes:
        intervention: Its name.
        collection: Label of the collection.
        score: nDCG@10 on its own evaluated path, mean over seeds and queries.
        since_start: Its change since its own step 0.
        against_control: Its difference from the control.
        adjusted_p: That difference's p, of the same model of seeds and queries as its interval, after Holm's method
            over the interventions; None for the control.
        restored: The difference as a share of the control's fall; NaN where the control did not fall.
        verdict: What that amounts to.
        delta_kept: Mean |delta| after the last epoch over that at step 0, mean over seeds; NaN without a residual
            predictor.
        ratios: log10 of ``correction``, ``scale`` and ``rank`` over the control's, paired by seed; None where one of
            the two has none.
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
    ratios: dict[str, Interval | None]

    @property
    def cause(self) -> str:
        """What the verdict says of the cause that this intervention takes away; empty for the control."""
        if self.verdict is None or self.against_control is None:
            return ""
        seeds = self.against_control.n_seeds
        if self.verdict is Verdict.RESTORES and seeds < SEEDS_TO_CONFIRM:
            return f"supported; to confirm it, run {SEEDS_TO_CONFIRM} seeds"
        return _CAUSE[self.verdict]


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
    control = _finals_of(ablation, CONTROL, collection)
    fall = _change(control) if control else None
    found = []
    for name in ablation.interventions:
        scores = _finals_of(ablation, name, collection)
        if scores:
            ratios = {measure: _log_ratio(measure, ablation, name) for measure in ("correction", "scale", "rank")}
            effect = _effect(name, collection, scores, control if name != CONTROL else {}, fall)
            found.append(replace(effect, delta_kept=_delta_kept(ablation.runs(name)), ratios=ratios))
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
        one = attribution(run, collection, path or evaluated_path(run))
        if one is not None:
            found.append(one)
    if not found:
        return []
    total = float(np.mean([one.total.mean for one in found]))

    def over_seeds(parts: Sequence[PairedDifference]) -> SeededDifference:
        return seeded_difference(align(*(part.by_query for part in parts)))

    def row(module: str, alone: SeededDifference, share: SeededDifference) -> ModuleShare:
        return ModuleShare(module, alone, share, share.mean / total if total else math.nan)

    shares = []
    for effect in found[0].effects:
        effects_ = [one.effect(effect.module) for one in found]
        alone, share = over_seeds([e.alone for e in effects_]), over_seeds([e.share for e in effects_])
        shares.append(row(effect.module, alone, share))
    interaction = over_seeds([one.interaction for one in found])
    return [*shares, row("interaction", interaction, interaction)]


_Finals = dict[int, tuple[dict[str, float], dict[str, float]]]
"""Seed to the scores of every query at step 0 and after the last epoch."""


def _finals_of(ablation: Ablation, name: str, collection: str) -> _Finals:
    """Return nDCG@10 of the finished runs that can be read, each on its own evaluated path."""
    found = {}
    for seed, run in ablation.completed(name).items():
        path = evaluated_path(run)
        scored = epochs(run, collection, path)
        if len(scored) < 2 or scored[0] != 0:
            continue
        records = evaluation_records(run)
        start, last = (per_query(run, records[(collection, path, epoch)]) for epoch in (0, scored[-1]))
        if start and last:
            found[seed] = (start, last)
    return found


def _change(scores: _Finals) -> SeededDifference:
    """Return the change since each seed's own step 0."""
    values = align(*(start for start, _ in scores.values()), *(last for _, last in scores.values()))
    return seeded_difference(values[len(scores) :] - values[: len(scores)])


def _effect(name: str, collection: str, scores: _Finals, control: _Finals, fall: SeededDifference | None) -> Effect:
    shared = [seed for seed in scores if seed in control]
    against = None
    if shared:
        values = align(*(control[seed][1] for seed in shared), *(scores[seed][1] for seed in shared))
        against = seeded_difference(values[len(shared) :] - values[: len(shared)])
    fell = fall is not None and fall.high < 0
    return Effect(
        intervention=name,
        collection=collection,
        score=float(np.mean([np.mean(list(last.values())) for _, last in scores.values()])),
        since_start=_change(scores),
        against_control=against,
        adjusted_p=None if against is None else against.p_value,
        restored=against.mean / -fall.mean if against is not None and fall is not None and fell else math.nan,
        verdict=None if against is None else verdict(against, fall if fell else None),
        delta_kept=math.nan,
        ratios={},
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


def _log_ratio(measure: str, ablation: Ablation, name: str) -> Interval | None:
    control, found = ablation.runs(CONTROL) if name != CONTROL else {}, []
    for seed, run in ablation.runs(name).items():
        if seed in control:
            pair = [one.readings(READINGS[measure])["value"] for one in (run, control[seed])]
            if all(len(values) and values.iloc[-1] > 0 for values in pair):
                found.append(math.log10(pair[0].iloc[-1] / pair[1].iloc[-1]))
    return t_interval(found) if found else None
