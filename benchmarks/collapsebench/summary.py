"""How often the answers of a group of programs are right, with intervals over programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        late: Steps between the true onset and the one that was said, over the run's steps; None where one is unknown.
    """

    program: str
    kind: str | None
    causes: tuple[str, ...]
    status: str
    said: str | None
    cause: str | None
    late: float | None = None


@dataclass(frozen=True)
class Score:
    """A mean over programs.

    Attributes:
        name: Of what.
        value: The mean.
        low: Lower end of the bootstrap interval over programs.
        high: Upper end.
        count: Trainings that count, of those looked at; empty where it is no share.
    """

    name: str
    value: float
    low: float
    high: float
    count: str

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


WARNS_ALONE = (
    "identity",
    "gate_collapse",
    "gate_never_opened",
    "delta_collapse",
    "constant_correction",
    "side_gap",
)
"""Kinds that can only warn where anything else is trained."""


def detected(one: Answer) -> bool:
    """Return whether a failure was detected: critical, or a warning for a kind that can only warn."""
    return one.status == "critical" or (one.status == "warning" and one.kind in WARNS_ALONE)


def _alarm(one: Answer) -> bool:
    return detected(one) if one.kind is not None else one.status == "critical"


def _share(some: Sequence[Answer], right: Callable[[Answer], bool]) -> float:
    return float(np.mean([right(one) for one in some])) if some else np.nan


def _f1(answers: Sequence[Answer]) -> float:
    """Return the mean over kinds of the F1 of the first kind that is named, healthy among them."""
    found = []
    for kind in dict.fromkeys(one.kind for one in answers):
        hits = sum(one.kind == kind and one.said == kind for one in answers)
        found.append(2 * hits / (sum(one.kind == kind for one in answers) + sum(one.said == kind for one in answers)))
    return float(np.mean(found))


def _measures(answers: Sequence[Answer]) -> dict[str, float]:
    failures = [one for one in answers if one.kind is not None]
    healthy = [one for one in answers if one.kind is None]
    alarms = [one for one in answers if _alarm(one)]
    named = [one for one in failures if one.cause is not None and one.causes]
    late = [one.late for one in failures if one.late is not None and detected(one)]
    return {
        "detection, recall": _share(failures, detected),
        "detection, precision": _share(alarms, lambda one: one.kind is not None),
        "kind, macro-F1 (healthy is one)": _f1(answers) if answers else np.nan,
        "kind is right": _share(failures, lambda one: one.said == one.kind),
        "cause is right": _share([one for one in failures if one.causes], lambda one: one.cause in one.causes),
        "cause, precision where one is named": _share(named, lambda one: one.cause in one.causes),
        "false alarms of a healthy run (critical)": _share(healthy, lambda one: one.status == "critical"),
        "warnings of a healthy run": _share(healthy, lambda one: one.status == "warning"),
        "healthy runs not measured": _share(healthy, lambda one: one.status == "not measured"),
        "onset, median error in share of the run": float(np.median(late)) if late else np.nan,
        "onset within 10 % of the run": float(np.mean([one <= 0.1 for one in late])) if late else np.nan,
    }


def drawn(answers: Sequence[Answer], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return every score of programs that are drawn with replacement, failures and healthy ones apart."""
    by_program: dict[str, list[Answer]] = {}
    for one in answers:
        by_program.setdefault(one.program, []).append(one)
    groups = [[some for some in by_program.values() if (some[0].kind is None) == healthy] for healthy in (False, True)]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        chosen = [group[at] for group in groups if group for at in rng.integers(len(group), size=len(group))]
        draws.append(_measures([one for some in chosen for one in some]))
    return {name: np.array([one[name] for one in draws]) for name in draws[0]}


def scores(answers: Sequence[Answer]) -> list[Score]:
    """Return the scores: with as many trainings of each program, means over programs."""
    values, draws = _measures(answers), drawn(answers)
    found = []
    for name, value in values.items():
        if np.isfinite(value):
            low, high = np.nanquantile(draws[name], [0.025, 0.975])
            found.append(Score(name, value, float(low), float(high), _count(name, answers)))
    return found


def _count(name: str, answers: Sequence[Answer]) -> str:
    """Return of how many programs and trainings a score is: failures, healthy ones, or both."""
    both, healthy = "F1" in name or name == "detection, precision", name.endswith("healthy run") or "healthy" in name
    some = [one for one in answers if both or (one.kind is None) == healthy]
    return f"{len({one.program for one in some})} programs, {len(some)} trainings"


def summary(answers: Sequence[Answer]) -> list[str]:
    """Return the scores in lines."""
    return [f"{one.name}: {one} ({one.count})" for one in scores(answers)]
