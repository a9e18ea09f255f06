"""What the runs of an ablation are compared by: scores of every query, at the start and after training."""

from __future__ import annotations

from dataclasses import dataclass

from ..diagnosis import Evaluations
from ..journal import Evaluation


@dataclass(frozen=True)
class Ends:
    """Scores of one run on one collection, on the variant that is judged.

    Attributes:
        metric: What was scored.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
        start: Query id to score at step 0, else of the raw encoder, else at the first of several evaluations; None
            where the last one is the only one.
        last: Query id to score at the last evaluation.
    """

    metric: str
    domain: str | None
    start: dict[str, float] | None
    last: dict[str, float]


def ends(evaluations: Evaluations, collection: str) -> Ends | None:
    """Return a run's scores on a collection; None where its last evaluation has none by query.

    Args:
        evaluations: The run's.
        collection: Label of the collection.
    """
    if collection not in evaluations.collections:
        return None
    metric, variant = evaluations.metric(collection), evaluations.judged(collection)
    scored = [one for one in evaluations.of(collection, variant) if metric in one.metrics]
    if metric is None or not scored:
        return None
    last = evaluations.values(scored[-1], metric)
    if not last:
        return None
    before = _before(evaluations, collection, scored)
    start = None if before is None else evaluations.values(before, metric)
    if before is not None and not start:
        return None
    return Ends(metric, scored[-1].domain, start, last)


def _before(evaluations: Evaluations, collection: str, scored: list[Evaluation]) -> Evaluation | None:
    """Return what the last evaluation is held against."""
    if len(scored) > 1 and scored[0].step == 0:
        return scored[0]
    return evaluations.raw(collection) or (scored[0] if len(scored) > 1 else None)
