"""What a detector is and what it says: numbers only. Status follows from them in :mod:`._status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from ..statistics import Onset

State = Literal["raised", "confirmed", "cleared"]
Per = Literal["stream", "pair", "module", "group", "collection", "dataset", "term", "solution", "range", "run"]


class Status(StrEnum):
    """Severity of a finding. "Not measured" is a result, never silence."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"
    NOT_APPLICABLE = "not applicable"
    NOT_MEASURED = "not measured"


class NotApplicable(Exception):
    """A detector's question makes no sense for this run or subject; the message says why."""


@dataclass(frozen=True)
class Threshold:
    """A detector's cut.

    Attributes:
        value: The number.
        source: Where it comes from.
    """

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """From where on a value is outside.

    Attributes:
        warning: The cut of a warning; None where there is none.
        critical: The cut of a critical status; None where there is none.
        above: Whether outside is above; below otherwise.
    """

    warning: float | None = None
    critical: float | None = None
    above: bool = True


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How sure a difference is.

    Attributes:
        low: Lower end of the 95 % interval; NaN where there is none.
        high: Upper end.
        p: Two-sided p; NaN where there is none.
        n: Samples.
    """

    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One part of a joint signature.

    Attributes:
        reading: What was looked at.
        value: The number; None where it was not measured.
        cut: What it was held against.
        holds: Whether this part of the signature is there; None where it was not measured.
        harm: Whether it says that separation or retrieval fell; such a value is a change, negative for a fall.
        interval: Of a change.
        against: Where the value is a ratio, whose it is a ratio to: ``raw`` or ``start``.
    """

    reading: str
    value: float | None
    cut: float
    holds: bool | None
    harm: bool = False
    interval: Interval | None = None
    against: str = ""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Where a run that has not ended is heading.

    Attributes:
        reading: What falls: ``pairs/d_prime`` or ``pairs/mrr``.
        half_life: Steps in which it loses half of what it is above chance, if it goes on as since its onset.
        steps: Steps from the onset to the last reading, which that rests on.
    """

    reading: str
    half_life: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a detector found of one subject.

    Attributes:
        value: The judged number; None where it was not measured.
        bounds: Its cuts.
        conditions: The parts of a joint signature, those of harm marked.
        interval: Of the value, where it is a difference.
        onset: Since when it is outside; None where it is not, or where that is unknown.
        outside: Steps of the latest readings that are outside, ascending, without a reading inside between them.
        before: Whether it was outside earlier and came back.
        evidence: Names of the readings that it rests on.
        n: Samples behind the value.
        of_batches: Whether it rests on batches, also where the reference pairs have the same readings.
        forecast: Of a run without an end, while separation falls; None else.
        extreme: Whether it is so far outside that it is a warning even where scores rise.
    """

    value: float | None
    bounds: Bounds = field(default_factory=Bounds)
    conditions: tuple[Condition, ...] = ()
    interval: Interval | None = None
    onset: Onset | None = None
    outside: tuple[int, ...] = ()
    before: bool = False
    evidence: tuple[str, ...] = ()
    n: int | None = None
    of_batches: bool = False
    forecast: Forecast | None = None
    extreme: bool = False


@dataclass(frozen=True)
class Subject:
    """What a detector looks at.

    Attributes:
        name: A stream, collection, parameter group and so on; empty for the run.
        role: A stream's role.
        entry: Of a declared range, its declaration.
    """

    name: str = ""
    role: str | None = None
    entry: Mapping[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A change that should help.

    Attributes:
        change: What to change: fields of a recipe, or ``loss``, ``optimizer``, ``model``, ``data`` in words. ``that
            step`` in them stands for the onset. ``scoring`` and ``keep`` need no further training: how to score, and
            which model of the run to keep.
        reading: The reading that should get better by it.
        gain: By how much, measured or forecast; None where neither is known.
        low: Lower end of the gain's 95 % interval, where it was measured with one.
        high: Upper end.
        part: Reading of the part of a signature, or of the evidence, that it is for; ``STREAM`` where a stream was not
            finite before the loss; empty where it is for all.
    """

    change: Mapping[str, object]
    reading: str = "pairs/mrr"
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class Detector:
    """One kind of trouble.

    Attributes:
        code: Stable code, as ``CP411``.
        kind: Its name in JSON, as ``scale_collapse``.
        title: Its name in words.
        reads: What it reads; ``STREAM`` stands for each stream.
        per: What it looks at one by one.
        formula: How its number is made, and when the finding holds.
        thresholds: Its cuts by name, each with its source.
        judge: From one subject and the evidence (a run's, or what was read before the first step), with the cuts in
            force, to a judgement; raises :class:`NotApplicable`.
        why: Why it matters.
        remedies: What to do.
        roles: Streams of which roles it is about; without any of them it does not apply.
        not_this: What looks like it and is not.
        gravest: The status when everything holds.
        confirm: How many readings outside in a row confirm it.
    """

    code: str
    kind: str
    title: str
    reads: tuple[str, ...]
    per: Per
    formula: str
    thresholds: Mapping[str, Threshold]
    judge: Callable[[Subject, Any, Mapping[str, float]], Judgement]
    why: str
    remedies: tuple[Remedy, ...]
    roles: tuple[str, ...] = ()
    not_this: str = ""
    gravest: Status = Status.CRITICAL
    confirm: int = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a detector says of one subject, in numbers.

    Attributes:
        code: The detector's.
        kind: The detector's.
        subject: What it is about; empty for the run.
        status: Its severity.
        judgement: Its numbers; None where the question does not apply.
        state: ``raised``, ``confirmed`` or ``cleared``; None where nothing was ever outside.
        evidence: Names of the readings that it rests on.
        causes: Causes that concern it.
        ignored: Why it does not count; None where it does.
        cut: Of how many first columns of the embeddings it is; None for whole ones.
    """

    code: str
    kind: str
    subject: str
    status: Status
    judgement: Judgement | None
    state: State | None = None
    evidence: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    ignored: str | None = None
    cut: int | None = None

    @property
    def grave(self) -> bool:
        """Whether it is a warning or critical, and counts."""
        return self.ignored is None and self.status in (Status.WARNING, Status.CRITICAL)
