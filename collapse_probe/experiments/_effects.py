"""What each intervention of an ablation does, with intervals over queries and seeds, and what that decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from ..diagnosis import HEADLINE, attribution, evaluated_path, verdict_of
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
from ._interventions import CONTROL
from ._results import READINGS, Ablation
from ._scores import Ends

RESTORED = 0.9
"""Share of the control's fall from which an effect restores it; a smaller one restores it in part (own cut)."""

RESTORED_AT_LEAST = 0.5
"""Share of the control's fall that the interval's lower end has to reach for that (own cut)."""

SIGNIFICANT = 0.05
"""Adjusted p above which a difference is not resolved, whatever its own interval says."""

NEGLIGIBLE = 0.1
"""Share of the control's fall within which the whole interval has to lie for "no effect" (own cut)."""

NEGLIGIBLE_WITHOUT_FALL = 0.005
"""The same in the metric itself, where the control did not fall (own cut)."""


class Verdict(StrEnum):
    """What an intervention does to retrieval."""

    RESTORES = "restores"
    IN_PART = "restores in part"
    BETTER = "better"
    NO_EFFECT = "no effect"
    WORSE = "worse"
    UNRESOLVED = "not resolved at this n"


@dataclass(frozen=True)
class Effect:
    """What an intervention does after the last epoch.

    Attributes:
        intervention: Its name.
        collection: Label of the collection.
        score: The collection's metric on its own evaluated path, mean over seeds and queries.
        since_start: Its change since its own step 0, else since the raw encoder; None where neither was scored.
        against_control: Its difference from the control.
        adjusted_p: That difference's p, of the same model of seeds and queries as its interval, after Holm's method
            over the interventions; None for the control.
        restored: The difference as a share of the control's fall; NaN where the control did not fall.
        verdict: What that amounts to.
        delta_kept: Mean |delta| after the last epoch over that at step 0, mean over seeds; NaN without a residual
            predictor.
        ratios: log10 of ``correction``, ``scale`` and ``rank`` over the control's, paired by seed; None where one of
            the two has none.
        metric: What was scored.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
        fall: The control's change since step 0, where it fell by more than noise; None where it did not.
    """

    intervention: str
    collection: str
    score: float
    since_start: SeededDifference | None
    against_control: SeededDifference | None
    adjusted_p: float | None
    restored: float
    verdict: Verdict | None
    delta_kept: float
    ratios: dict[str, Interval | None]
    metric: str = HEADLINE
    domain: str | None = None
    fall: SeededDifference | None = None

    @property
    def cause(self) -> str:
        """What the verdict says of the cause that this intervention takes away; empty for the control."""
        if self.verdict is None or self.against_control is None:
            return ""
        found = verdict_of(self.verdict, self.against_control.n_seeds)
        if found == "supported":
            return f"supported; to confirm it, run {SEEDS_TO_CONFIRM} seeds"
        if self.verdict is Verdict.WORSE:
            return "refuted: taking it away is worse"
        return "not resolved at this n" if found == "unresolved" else found

    def to_dict(self) -> dict[str, Any]:
        """Return the effect as JSON has it; numbers that are absent or not finite are None."""
        numbers = {"score": self.score, "adjusted_p": self.adjusted_p, "restored": self.restored}
        return {
            "collection": self.collection,
            "domain": self.domain,
            "intervention": self.intervention,
            "metric": self.metric,
            "since_start": _plain(self.since_start),
            "against_control": _plain(self.against_control),
            **{name: None if one is None or not math.isfinite(one) else one for name, one in numbers.items()},
            "verdict": None if self.verdict is None else self.verdict.value,
            "delta_kept": None if math.isnan(self.delta_kept) else self.delta_kept,
        }

    def __str__(self) -> str:
        text = f"{self.intervention}: {self.metric} {self.score:.4f}"
        found = self.against_control
        if found is None or self.verdict is None:
            return text
        ends = "" if math.isnan(found.low) else f" [{found.low:+.4f}, {found.high:+.4f}]"
        return f"{text}, {found.mean:+.4f}{ends} against the control, n = {found.sample}: {self.verdict.value}"


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


def _plain(difference: SeededDifference | None) -> dict[str, float | None] | None:
    if difference is None:
        return None
    keys = ("mean", "low", "high", "p_value", "n_seeds", "n_queries")
    found = {key: getattr(difference, key) for key in keys}
    return {key: one if math.isfinite(one) else None for key, one in found.items()}


def effects(ablation: Ablation, collection: str) -> list[Effect]:
    """Return the control and every intervention on one collection, in the ablation's order.

    Only seeds that both an intervention and the control have finished are compared.

    Args:
        ablation: The ablation.
        collection: Label of the collection.
    """
    control = ablation.ends(CONTROL, collection)
    found = []
    for name in ablation.interventions:
        scores = ablation.ends(name, collection)
        if scores:
            ratios = {measure: _log_ratio(measure, ablation, name) for measure in ("correction", "scale", "rank")}
            effect = _effect(name, collection, scores, control, compared=name != CONTROL)
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


def _change(scores: dict[int, Ends]) -> SeededDifference | None:
    """Return the change since each seed's own start; None where no seed has one."""
    both = [(one.start, one.last) for one in scores.values() if one.start is not None]
    return _difference([start for start, _ in both], [last for _, last in both])


def _difference(before: Sequence[dict[str, float]], after: Sequence[dict[str, float]]) -> SeededDifference | None:
    """Return after - before, paired by seed and by the queries that all have; None where there are none."""
    scores = [*before, *after]
    shared = set.intersection(*(set(one) for one in scores)) if scores else set()
    if not shared:
        return None
    values = align(*({query: one[query] for query in shared} for one in scores))
    return seeded_difference(values[len(before) :] - values[: len(before)])


def _effect(name: str, collection: str, scores: dict[int, Ends], control: dict[int, Ends], *, compared: bool) -> Effect:
    any_of = next(iter(scores.values()))
    seeds = [seed for seed in scores if compared and seed in control and control[seed].metric == any_of.metric]
    against = _difference([control[seed].last for seed in seeds], [scores[seed].last for seed in seeds])
    change = _change(control)
    fall = change if change is not None and change.high < 0 else None
    return Effect(
        intervention=name,
        collection=collection,
        score=float(np.mean([np.mean(list(one.last.values())) for one in scores.values()])),
        since_start=_change(scores),
        against_control=against,
        adjusted_p=None if against is None else against.p_value,
        restored=against.mean / -fall.mean if against is not None and fall is not None else math.nan,
        verdict=None if against is None else verdict(against, fall),
        delta_kept=math.nan,
        ratios={},
        metric=any_of.metric,
        domain=any_of.domain,
        fall=fall,
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
