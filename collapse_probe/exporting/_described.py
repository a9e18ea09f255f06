"""What is exported of a run, the same for every target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..diagnosis import Finding, diagnosed
from ..diagnosis.screen import evidence_line, since, title
from ..journal import Evaluation, LiveRun, Series
from ._card import card_of
from ._names import cell, distinct, harmless, safe_name
from ._times import Times, seconds


@dataclass(frozen=True, kw_only=True)
class Line:
    """One reading of one kind of sample over the run.

    Attributes:
        name: By which other programs have it: ``SAMPLE/READING``, safe in all of them.
        reading: As the journal has it.
        on: ``batch``, ``reference``, ``raw``, or ``evaluation``.
        dataset: Data set of the batches, or the collection; empty where there is one.
        steps: ``[K]`` optimiser steps, ascending, each once.
        values: ``[K]`` numbers.
        times: ``[K]`` seconds since 1970.
        n: ``[K]`` rows of each sample; -1 where unknown.
    """

    name: str
    reading: str
    on: str
    dataset: str
    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray
    n: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One finding that is raised or confirmed, in words that are harmless wherever they are shown.

    Attributes:
        name: ``CODE`` or ``CODE subject``.
        code: The detector's.
        kind: The detector's.
        subject: What it is about; empty for the run.
        status: ``warning`` or ``critical``.
        state: ``raised`` or ``confirmed``.
        title: At most 64 characters, which is what W&B takes.
        text: Since when, and the numbers.
        step: Since when; the last step where that is unknown.
        time: Of that step, in seconds since 1970.
        value: The judged number; None where there is none.
    """

    name: str
    code: str
    kind: str
    subject: str
    status: str
    state: str
    title: str
    text: str
    step: int
    time: float
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Described:
    """A run as it is exported.

    Attributes:
        name: The run's, harmless.
        folder: A name for a folder or a file of it.
        key: What tells it from every other run, the same at every export: letters and digits.
        content: Hash of everything that is exported: equal ones need no second export.
        status: ``healthy``, ``warning``, ``critical`` or ``not measured``.
        summary: The first screen.
        card: The model card's section.
        ended: Whether the run has ended, as the journal tells.
        steps: Optimiser steps done.
        times: When.
        lines: Readings and scores.
        alerts: Findings, the gravest first.
    """

    name: str
    folder: str
    key: str
    content: str
    status: str
    summary: str
    card: str
    ended: bool
    steps: int
    times: Times
    lines: tuple[Line, ...]
    alerts: tuple[Alert, ...]

    @property
    def points(self) -> int:
        """How many numbers there are."""
        return sum(len(one.steps) for one in self.lines)

    def rows(self) -> Iterator[tuple[int, float, dict[str, float]]]:
        """Yield ``(step, time, values by name)`` for every step that has any, ascending."""
        found: dict[int, dict[str, float]] = {}
        for line in self.lines:
            for step, value in zip(line.steps.tolist(), line.values.tolist(), strict=True):
                found.setdefault(step, {})[line.name] = value
        steps = sorted(found)
        for step, time in zip(steps, self.times.at(np.array(steps)).tolist(), strict=True):
            yield step, time, found[step]


def described(run: LiveRun) -> Described:
    """Return what is exported of a run. Diagnoses it, which can take seconds.

    Raises:
        InputError: a declaration of the run cannot be used.
    """
    _, diagnosis, _ = diagnosed(run)
    times = Times(run)
    lines = _named([*_readings(run, times), *_evaluations(run, times)])
    alerts = tuple(_alert(one, run, times) for one in diagnosis.kinds)
    name = cell(run.name, length=128) or "run"
    found = Described(
        name=name,
        folder=safe_name(name).replace("/", "_").replace(":", "_").strip(". ") or "run",
        key=hashlib.sha256(run.identity.encode("utf-8", "backslashreplace")).hexdigest()[:16],
        content="",
        status=diagnosis.status.value,
        summary="\n".join(_plain(line) for line in diagnosis.summary.splitlines()),
        card=card_of(diagnosis, run),
        ended=run.status != "unfinished",
        steps=run.steps,
        times=times,
        lines=lines,
        alerts=alerts,
    )
    return replace(found, content=_content(found))


def _readings(run: LiveRun, times: Times) -> Iterator[Line]:
    for reading, on, dataset in run.keys:
        series = run.series(reading, on=on, dataset=dataset)
        for sample, part in _samples(series):
            yield _line(sample, reading, on, dataset or "", part, times)


def _samples(series: Series) -> Iterator[tuple[str, Series]]:
    """Yield a series by sample: of reference pairs the whole and its parts are read, some at the same step."""
    parts = [(series.on, series)]
    if series.on != "batch" and len(series) and (series.n != series.n.max()).any():
        whole = series.n.max()
        parts = [
            (series.on if n == whole else f"{series.on}_of_{n}", series.where(series.n == n))
            for n in sorted(set(series.n.tolist()), reverse=True)
        ]
    for sample, part in parts:
        again = _repeats(part.steps)
        for number in range(int(again.max(initial=0)) + 1):
            yield (sample if not number else f"{sample}_again_{number}"), part.where(again == number)


def _repeats(steps: np.ndarray) -> np.ndarray:
    """Return for each step how often it came before; micro-batches and data sets that share a step."""
    counts: dict[int, int] = {}
    found = np.zeros(len(steps), dtype=np.int64)
    for at, step in enumerate(steps.tolist()):
        found[at] = counts.get(step, 0)
        counts[step] = found[at] + 1
    return found


def _line(sample: str, reading: str, on: str, dataset: str, series: Series, times: Times) -> Line:
    order = np.argsort(series.steps, kind="stable")
    one = series.where(order)
    name = "/".join([sample, reading, *([dataset] if dataset else [])])
    when = times.at(one.steps)
    return Line(
        name=name, reading=reading, on=on, dataset=dataset, steps=one.steps, values=one.values, times=when, n=one.n
    )


def _evaluations(run: LiveRun, times: Times) -> Iterator[Line]:
    found: dict[tuple[str, str, str], dict[int, Evaluation]] = {}
    for one in run.of(Evaluation):
        for metric in one.metrics:
            # A later evaluation of the same step is the one that counts.
            found.setdefault((one.collection, one.variant, metric), {})[one.step] = one
    for (collection, variant, metric), by_step in found.items():
        records = [by_step[step] for step in sorted(by_step)]
        steps = np.array([one.step for one in records], dtype=np.int64)
        exact = [seconds(one.time) for one in records]
        when = [time if known is None else known for known, time in zip(exact, times.at(steps).tolist(), strict=True)]
        yield Line(
            name=f"evaluation/{collection}/{variant}/{metric}",
            reading=f"{variant}/{metric}",
            on="evaluation",
            dataset=collection,
            steps=steps,
            values=np.array([float(one.metrics[metric]) for one in records]),
            times=np.array(when),
            n=np.array([-1 if one.n_queries is None else one.n_queries for one in records], dtype=np.int64),
        )


def _named(lines: list[Line]) -> tuple[Line, ...]:
    names = distinct(one.name for one in lines)
    return tuple(replace(one, name=name) for one, name in zip(lines, names, strict=True))


def _alert(finding: Finding, run: LiveRun, times: Times) -> Alert:
    judgement = finding.judgement
    onset = judgement.onset if judgement else None
    outside = judgement.outside if judgement else ()
    step = onset.step if onset else outside[0] if outside else run.steps
    subject = harmless(finding.subject, length=128)
    of = f" of {subject}" if subject else ""
    texts = (f"{finding.code} {title(finding)}{of}", since(judgement), harmless(evidence_line(finding)))
    return Alert(
        name=f"{finding.code} {subject}".strip(),
        code=finding.code,
        kind=finding.kind,
        subject=subject,
        status=finding.status.value,
        state=finding.state or "raised",
        title=harmless(f"{finding.code} {finding.status.value}: {title(finding)}{of}", length=64),
        text=". ".join(one for one in texts if one) + f". To read on: collapse-probe explain {finding.code}",
        step=int(step),
        time=float(times.at(np.array([step]))[0]),
        value=judgement.value if judgement else None,
    )


def _plain(line: str) -> str:
    """Return a line of the first screen with its spaces as they are."""
    return line[:1000].replace("`", "'").replace("<", "\u2039").replace(">", "\u203a")


def _content(found: Described) -> str:
    hashed = hashlib.sha256()

    def add(*parts: Any) -> None:
        hashed.update(repr(parts).encode("utf-8", "backslashreplace"))

    add(found.name, found.status, found.summary, found.card, found.ended, found.steps)
    for line in found.lines:
        add(line.name, len(line.steps))
        for column in (line.steps, line.values, line.times):
            hashed.update(np.ascontiguousarray(column).tobytes())
    for alert in found.alerts:
        add(alert)
    return hashed.hexdigest()[:16]
