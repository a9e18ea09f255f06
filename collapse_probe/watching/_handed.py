"""What loops hand over by name: numbers and scores, each looked at before it is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InputError
from ..recording import scalar

Say = Callable[[str, str], None]
"""Says something once: by its key, in one line."""


def named(given: Any, further: Mapping[str, Any], *, method: str, say: Say) -> dict[str, Any]:
    """Return what was handed over by name; what has no names is said.

    Args:
        given: A mapping; None for nothing.
        further: What came as keywords.
        method: Whose argument it is.
        say: Says what cannot be taken.
    """
    if given is None or isinstance(given, Mapping):
        return {**{str(name): value for name, value in (given or {}).items()}, **further}
    say(method, f"{method}() was given a {type(given).__name__} without a name: write {method}(name=value)")
    return dict(further)


def numbers(values: Mapping[str, Any], *, what: str, say: Say) -> dict[str, Any]:
    """Return those that are one number each; the others are said."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = scalar(f"{what} {name!r}", value)
        except InputError as error:
            say(f"{what} {name}", str(error))
    return found


def scores(
    collection: Any, metrics: Any, *, step: Any, variant: Any, per_query: Any, domain: Any, say: Say
) -> dict[str, Any] | None:
    """Return an evaluation's arguments without what cannot be read; None where nothing is left.

    Args:
        collection: What was searched.
        metrics: Metric to its mean.
        step: Optimiser steps done; None for those done now.
        variant: What was scored.
        per_query: Metric to query id to value.
        domain: ``in``, ``out`` or None.
        say: Says what cannot be taken.
    """
    wrong = _wrong(collection, metrics, step, variant)
    if wrong:
        say(f"evaluation {collection}", f"evaluation of {collection!r}: {wrong}: it is not recorded")
        return None
    known = {name: float(value) for name, value in numbers(metrics, what="metric", say=say).items()}
    if domain not in ("in", "out", None):
        say("domain", f"domain={domain!r}: give 'in', 'out' or None; it is taken as unknown")
        domain = None
    single = _single(per_query, say) if per_query is not None else None
    if not known and not single:
        return None
    return {"metrics": known, "step": step, "variant": variant, "per_query": single or None, "domain": domain}


def _wrong(collection: Any, metrics: Any, step: Any, variant: Any) -> str:
    if not isinstance(collection, str) or not collection:
        return "its name is no text"
    if not isinstance(metrics, Mapping):
        return f"metrics is a {type(metrics).__name__}, where a mapping of names to numbers is needed"
    if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step < 0):
        return f"step={step!r}, where a whole number of at least 0 is needed"
    return "" if isinstance(variant, str) and variant else f"variant={variant!r}, where a name is needed"


def _single(per_query: Any, say: Say) -> dict[str, dict[str, float]]:
    """Return the scores of the queries that every metric has."""
    if not isinstance(per_query, Mapping) or not all(isinstance(one, Mapping) for one in per_query.values()):
        say("per_query", "per_query is no mapping of metrics to query ids to values: it is left out")
        return {}
    found: dict[str, dict[str, float]] = {}
    for metric, values in per_query.items():
        plain = numbers({str(query): value for query, value in values.items()}, what="the score of query", say=_silent)
        found[str(metric)] = {query: float(value) for query, value in plain.items() if math.isfinite(value)}
    shared = set.intersection(*(set(values) for values in found.values())) if found else set()
    asked = {str(query) for values in per_query.values() for query in values}
    if shared != asked:
        missing = f"{len(asked - shared)} of {len(asked)}"
        say("per_query", f"per_query: {missing} queries have no number for some metric, and are left out")
    return {metric: {q: v for q, v in values.items() if q in shared} for metric, values in found.items() if shared}


def _silent(key: str, message: str) -> None:
    """Say nothing: the queries are counted."""
