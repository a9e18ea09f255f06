"""Whether retrieval or separation fell: against step 0, the raw encoder, and the run's own best stretch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..journal import Evaluation
from ..statistics import holm, normal_p
from ._contract import Condition, Interval, Onset
from ._evaluations import Evaluations, Scored, difference
from ._onset import FEWEST, change_point, crossing
from ._status import CRITICAL_P, TRIFLE

SMALLEST = TRIFLE
"""Change below which a fall is not critical."""

SMALLEST_FROM_BEST = 0.02
"""The same against the run's best stretch, which is chosen by looking."""

_MOST = 0.5
"""Share of the way to the raw encoder from which on a run did not begin with its fault (own choice)."""

_Z_FROM_BEST = 4.0
_POOLED = 3


@dataclass(frozen=True, kw_only=True)
class Change:
    """One comparison.

    Attributes:
        against: ``start``, ``raw`` or ``best``.
        before: What it is compared with.
        after: The latest.
        value: The change; of d' it is relative.
        interval: Of the change; None where the queries' scores are missing.
        fell: Whether it is a resolved fall that counts; None where that cannot be said.
        cut: The size from which on a fall counts.
    """

    against: str
    before: float
    after: float
    value: float
    interval: Interval | None
    fell: bool | None
    cut: float = -SMALLEST

    @property
    def rose(self) -> bool:
        """Whether it is a resolved rise."""
        return self.interval is not None and self.interval.low > 0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Retrieval or separation over a run.

    Attributes:
        name: The collection, with the variant where several are judged; ``reference pairs`` or ``batch pairs``.
        collection: The collection.
        variant: Whose scores; empty where they are readings.
        metric: What was read.
        inside: Whether it is in the domain that is trained on; None where unknown.
        seen: Whether it is trained on: a fall counts, a rise does not.
        steps: When.
        values: What.
        changes: The comparisons.
        onset: Since when it fell.
        outside: Steps of the latest readings that are below.
        outweighed: Whether it is of readings that fell, and is no fall since the scores of finished models are kept.
    """

    name: str
    collection: str
    variant: str = ""
    metric: str
    inside: bool | None
    seen: bool
    steps: tuple[int, ...]
    values: tuple[float, ...]
    changes: tuple[Change, ...]
    onset: Onset | None = None
    outside: tuple[int, ...] = ()
    outweighed: bool = False

    def against(self, what: str) -> Change | None:
        """Return the comparison with ``start``, ``raw`` or ``best``; None where there is none."""
        return next((one for one in self.changes if one.against == what), None)

    @property
    def fell(self) -> bool | None:
        """Whether one of the comparisons is a fall that counts; None where none could be made."""
        known = [one.fell for one in self.changes if one.fell is not None]
        return any(known) if known else None

    @property
    def rose(self) -> bool:
        """Whether it rose, resolved, since step 0, and that counts."""
        start = self.against("start")
        return not self.seen and start is not None and start.rose

    @property
    def learnt(self) -> bool:
        """Whether it rose so much since step 0 that geometry cannot have harmed it, be it of training pairs."""
        start = self.against("start")
        return start is not None and start.interval is not None and start.interval.low > SMALLEST_FROM_BEST

    @property
    def worst(self) -> Change | None:
        """The comparison that says most: a fall before none, the largest first."""
        return min(self.changes, key=lambda one: (not one.fell, one.value), default=None)

    @property
    def stopped_short(self) -> bool:
        """Whether it gained most of what it was below the raw encoder, and fell against nothing else."""
        found = {one.against: one for one in self.changes}
        start, raw = found.get("start"), found.get("raw")
        if start is None or raw is None or not raw.fell or any(one.fell for one in self.changes if one is not raw):
            return False
        return start.value > (raw.before - start.before) * _MOST

    def with_small_falls(self) -> Curve:
        """Return it with every fall that is resolved as one that counts, however small."""
        changes = [
            replace(one, fell=True, cut=0.0) if one.interval is not None and one.interval.high < 0 else one
            for one in self.changes
        ]
        return replace(self, changes=tuple(changes))

    def conditions(self) -> tuple[Condition, ...]:
        """Return the comparisons as parts of a signature."""
        start = f"step {self.steps[0]}" if self.variant and self.steps[0] else "start"
        return tuple(
            Condition(
                reading=f"{self.name}/{self.metric} against {start if one.against == 'start' else one.against}",
                value=one.value,
                cut=one.cut,
                holds=one.fell,
                harm=True,
                interval=one.interval,
            )
            for one in self.changes
        )


def collection_curve(evaluations: Evaluations, subject: Scored, *, seen: bool, tests: int) -> Curve | None:
    """Return a variant's curve on a collection; None where it was scored less than twice, raw included.

    Args:
        evaluations: The run's.
        subject: The collection and the variant.
        seen: Whether it is trained on.
        tests: Curves that are judged together, by :func:`over_collections`.
    """
    metric = evaluations.metric(subject.collection, subject.variant)
    scored = [one for one in evaluations.of(subject.collection, subject.variant) if metric in one.metrics]
    raw = evaluations.raw(subject.collection)
    scored = scored if metric is None else evaluations.readable(scored, metric)
    if metric is None or not scored or (len(scored) < 2 and raw is None):
        return None
    last = scored[-1]
    pairs: list[tuple[str, Evaluation]] = []
    if scored[0].step < last.step and scored[0].step == 0:
        pairs.append(("start", scored[0]))
    if raw is not None and metric in raw.metrics and last is not raw:
        pairs.append(("raw", raw))
    if not pairs and len(scored) > 1:
        pairs.append(("start", scored[0]))
    looked_at = [(reference, one) for _, reference in pairs for one in scored if one is not reference]
    p_values = evaluations.p_together(looked_at, metric, tests=tests)
    of_last = [p for (_, one), p in zip(looked_at, p_values, strict=True) if one is last]
    changes = [_change(evaluations, metric, *pair, last, p) for pair, p in zip(pairs, of_last, strict=True)]
    best = _from_best(evaluations, metric, scored)
    steps, values = tuple(one.step for one in scored), tuple(float(one.metrics[metric]) for one in scored)
    domain = {"in": True, "out": False}.get(last.domain or "")
    curve = Curve(
        name=subject.label,
        collection=subject.collection,
        variant=subject.variant,
        metric=metric,
        inside=domain,
        seen=seen,
        steps=steps,
        values=values,
        changes=(*changes, *([best] if best else [])),
    )
    fell = [one for one in curve.changes if one.value < 0 and one.interval and one.interval.high < 0]
    return curve if not fell else _with_onset(curve, evaluations, scored, dict(pairs), curve.worst)


def _change(
    evaluations: Evaluations, metric: str, against: str, before: Evaluation, after: Evaluation, p: float
) -> Change:
    start, end = float(before.metrics[metric]), float(after.metrics[metric])
    found = evaluations.change(before, after, metric)
    if found is None or math.isnan(found[1].high):
        value = end - start if found is None else found[0]
        return Change(against=against, before=start, after=end, value=value, interval=found and found[1], fell=None)
    value, interval = found
    return _judged(Change(against=against, before=start, after=end, value=value, interval=interval, fell=False), p)


def _judged(change: Change, p: float) -> Change:
    """Return a change with another p, and whether it is a fall by that."""
    assert change.interval is not None
    fell = change.value <= change.cut and p <= CRITICAL_P
    return replace(change, interval=replace(change.interval, p=p), fell=fell)


def over_collections(curves: Sequence[Curve], *, tests: int = 1) -> list[Curve]:
    """Return curves with p adjusted for how many collections and variants were tested (Holm), and falls by that.

    Within one of them the changes are judged together already, so its smallest p stands for it.

    Args:
        curves: All of a run.
        tests: Runs that are judged together: p is multiplied by as many.
    """
    smallest = [
        min((one.interval.p for one in curve.changes if _tested(one) and one.interval), default=math.nan)
        for curve in curves
    ]
    adjusted = [tests * p for p in holm(smallest)]
    return [
        curve if math.isnan(least) else replace(curve, changes=tuple(_times(one, p / least) for one in curve.changes))
        for curve, least, p in zip(curves, smallest, adjusted, strict=True)
    ]


def _tested(change: Change) -> bool:
    return change.against != "best" and change.fell is not None


def _times(change: Change, factor: float) -> Change:
    if not _tested(change) or change.interval is None:
        return change
    return _judged(change, min(1.0, change.interval.p * factor))


def _from_best(evaluations: Evaluations, metric: str, scored: Sequence[Evaluation]) -> Change | None:
    """Return the change from the best stretch to the last one, pooled over three evaluations each."""
    if len(scored) < 2 * _POOLED:
        return None
    means = np.array([float(one.metrics[metric]) for one in scored])
    pooled = np.convolve(means, np.ones(_POOLED) / _POOLED, mode="valid")
    at = int(np.nanargmax(pooled[:-_POOLED])) if np.isfinite(pooled[:-_POOLED]).any() else 0
    if at == 0 or not pooled[at] - pooled[-1] >= SMALLEST_FROM_BEST:
        return None
    stretches = [_pooled(evaluations, metric, part) for part in (scored[at : at + _POOLED], scored[-_POOLED:])]
    if stretches[0] is None or stretches[1] is None or stretches[0].shape != stretches[1].shape:
        return None
    value, interval = difference(stretches[0], stretches[1])
    z = abs(value) * 2 * 1.96 / max(interval.high - interval.low, 1e-300)
    # The best stretch is one of many: its p counts them all.
    interval = replace(interval, p=min(1.0, normal_p(z) * (len(pooled) - _POOLED)))
    fell = value <= -SMALLEST_FROM_BEST and z > _Z_FROM_BEST
    before, after = float(pooled[at]), float(pooled[-1])
    cut = -SMALLEST_FROM_BEST
    return Change(against="best", before=before, after=after, value=value, interval=interval, fell=fell, cut=cut)


def _pooled(evaluations: Evaluations, metric: str, scored: Sequence[Evaluation]) -> np.ndarray | None:
    found = [evaluations.values(one, metric) for one in scored]
    if any(one is None for one in found):
        return None
    queries = sorted(set.intersection(*(set(one) for one in found if one is not None)))
    values = np.array([[one[query] for query in queries] for one in found if one is not None])
    return values.mean(axis=0) if len(queries) > 1 and np.isfinite(values).all() else None


def _with_onset(
    curve: Curve,
    evaluations: Evaluations,
    scored: Sequence[Evaluation],
    references: dict[str, Evaluation],
    worst: Change | None,
) -> Curve:
    steps = np.array(curve.steps)
    if len(scored) >= FEWEST:
        onset = change_point(steps, np.array(curve.values))
    else:
        against = "start" if any(one.against == "start" and one.fell for one in curve.changes) else None
        reference = references.get(against or (worst.against if worst else "start"), scored[0])
        onset = crossing(steps, np.array([_below(evaluations, curve.metric, reference, one) for one in scored]))
    since = onset.step if onset else curve.steps[-1]
    return replace(curve, onset=onset, outside=tuple(step for step in curve.steps if step >= since))


def _below(evaluations: Evaluations, metric: str, reference: Evaluation, one: Evaluation) -> bool:
    if one is reference:
        return False
    found = evaluations.change(reference, one, metric)
    return found is not None and found[1].high < 0
