"""How often the answers of a group of programs are right, with intervals over programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Answer:
    """What was said of one training.

    Attributes:
        program: Its name.
        kind: What it is; None for a healthy one.
        causes: What may be named as its cause.
        status: What was said of it.
        said: The first kind that was named; None where none was.
        cause: The first cause that was named; None where none was.
    """

    program: str
    kind: str | None
    causes: tuple[str, ...]
    status: str
    said: str | None
    cause: str | None


WARNS_ALONE = ("identity", "gate_collapse", "gate_never_opened", "delta_collapse", "constant_correction", "side_gap")
"""Kinds that can only warn."""


def detected(one: Answer) -> bool:
    """Return whether a failure was detected: critical, or a warning for a kind that can only warn."""
    return one.status == "critical" or (one.status == "warning" and one.kind in WARNS_ALONE)


def summary(answers: Sequence[Answer]) -> list[str]:
    """Return the scores in lines: means over programs, with bootstrap intervals over programs."""
    failures = [one for one in answers if one.kind is not None]
    healthy = [one for one in answers if one.kind is None]
    named = [one for one in failures if one.cause is not None and one.causes]
    rows = [
        ("detected", failures, detected),
        ("kind is right", failures, lambda one: one.said == one.kind),
        ("cause is right", [one for one in failures if one.causes], lambda one: one.cause in one.causes),
        ("cause is right where one is named", named, lambda one: one.cause in one.causes),
        ("false alarm of a healthy run (critical)", healthy, lambda one: one.status == "critical"),
        ("warning of a healthy run", healthy, lambda one: one.status == "warning"),
        ("healthy run not measured", healthy, lambda one: one.status == "not measured"),
    ]
    return [f"{name}: {_mean(some, right)}" for name, some, right in rows if some]


def _mean(some: Sequence[Answer], right) -> str:
    by_program: dict[str, list[bool]] = {}
    for one in some:
        by_program.setdefault(one.program, []).append(bool(right(one)))
    means = np.array([np.mean(values) for values in by_program.values()])
    draws = np.random.default_rng(0).choice(means, size=(DRAWS, len(means))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    count = sum(bool(right(one)) for one in some)
    return f"{means.mean():.2f} [{low:.2f}, {high:.2f}] ({count} of {len(some)} trainings, {len(means)} programs)"
