"""The mean that an evaluator of several collections gives: of which of them, so that it has an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ._evaluators import EvaluatorListener, leaves

_AGREE = 1e-6
"""Relative difference up to which a number is the mean (own choice)."""


def mean_over(
    evaluator: Any, heard: Sequence[EvaluatorListener], metrics: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return an evaluator's own metrics under its collections' names, and which collections they are the mean of.

    Args:
        evaluator: One that has others inside.
        heard: Those that were heard.
        metrics: Its own, without its name.

    Returns:
        The metrics, and ``mean_of`` where every collection was heard by query and the numbers are the mean of theirs.
    """
    parts = [one for one in heard if any(one.evaluator is leaf for leaf in leaves(evaluator))]
    judged = {one.judged for one in parts}
    if len(parts) < 2 or len(parts) != len(leaves(evaluator)) or len(judged) != 1:
        return dict(metrics), {}
    prefix = f"{judged.pop()}_"
    short = {name.removeprefix(prefix): value for name, value in metrics.items()}
    shared = [name for name in short if all(name in one.latest for one in parts)]
    agrees = shared and all(_is_mean(short[name], [one.latest[name] for one in parts]) for name in shared)
    return short, {"mean_of": [one.collection for one in parts]} if agrees else {}


def sequence_mean(
    evaluator: Any, heard: Sequence[EvaluatorListener], score: float
) -> tuple[dict[str, float], dict[str, Any]] | None:
    """Return the score of a sequence as the mean of one metric of its evaluators; None where it is none's.

    Args:
        evaluator: The sequence.
        heard: The evaluators that were heard.
        score: What it gave.
    """
    parts = [next((one for one in heard if one.evaluator is part), None) for part in evaluator.evaluators]
    known = [one for one in parts if one is not None and one.latest]
    if len(known) < 2 or len(known) != len(parts):
        return None
    shared = [name for name in known[0].latest if all(name in one.latest for one in known)]
    means = [name for name in shared if _is_mean(score, [one.latest[name] for one in known])]
    name = next((one for one in means if one.startswith("ndcg")), next(iter(means), None))
    return ({name: score}, {"mean_of": [one.collection for one in known]}) if name else None


def _is_mean(value: float, values: Sequence[float]) -> bool:
    return math.isclose(value, math.fsum(values) / len(values), rel_tol=_AGREE, abs_tol=_AGREE)
