"""Records of what was read: of streams and of the loss, step by step or over a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ._fields import Number


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Readings of one step and sample.

    Attributes:
        step: Optimiser step.
        values: Reading (``STREAM/MEASURE``) to number.
        on: ``batch``, ``reference`` (the reference pairs) or ``raw`` (these through the raw encoder).
        micro: Micro-batch of the step, from 0; None where the step has one, or the reading is of all of them.
        dataset: Data set of the batch; None where there is one.
        epoch: From 1, 0 before training; None in a run without epochs.
        n: Rows of the sample.
        dimension: Columns of the sample.
        dtype: Element type, such as ``float32``.
        processes: Processes whose rows these are together; None for the rows of one, the first.
    """

    step: int
    values: Mapping[str, Number]
    on: str = "batch"
    micro: int | None = None
    dataset: str | None = None
    epoch: int | None = None
    n: int | None = None
    dimension: int | None = None
    dtype: str | None = None
    processes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Scalars of one optimiser step: ``loss/TERM``, ``loss/total``, ``gradient/norm``, ``rate/GROUP``, ``monitor/X``.

    Attributes:
        step: Optimiser step.
        values: Name to number.
        micro: As in :class:`Readings`.
        dataset: As in :class:`Readings`.
        epoch: As in :class:`Readings`.
    """

    step: int
    values: Mapping[str, Number]
    micro: int | None = None
    dataset: str | None = None
    epoch: int | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What readings did over a window of steps: an epoch, or so many steps where there are none.

    Attributes:
        step: Last step of the window.
        values: Reading to ``first``, ``last``, ``mean`` and ``max``.
        on: As in :class:`Readings`.
        epoch: As in :class:`Readings`.
        n: Rows seen in the window.
        dimension: Columns.
        dtype: Element type.
    """

    step: int
    values: Mapping[str, Mapping[str, Number]]
    on: str = "batch"
    epoch: int | None = None
    n: int | None = None
    dimension: int | None = None
    dtype: str | None = None


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values in bins.

    Attributes:
        name: ``STREAM/MEASURE``.
        step: Last step.
        edges: B + 1 ascending edges.
        counts: B counts.
        below: Values below the first edge.
        above: Values from the last edge on.
        on: As in :class:`Readings`.
        epoch: As in :class:`Readings`.
        n: Rows.
        dimension: Columns.
    """

    name: str
    step: int
    edges: list[Number]
    counts: list[Number]
    below: int = 0
    above: int = 0
    on: str = "reference"
    epoch: int | None = None
    n: int | None = None
    dimension: int | None = None


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Singular values of a centred sample, descending.

    Attributes:
        name: ``STREAM/singular_values``.
        step: Optimiser steps done.
        values: The singular values.
        on: As in :class:`Readings`.
        epoch: As in :class:`Readings`.
        n: Rows.
        dimension: Columns.
        dtype: Element type.
    """

    name: str
    step: int
    values: list[Number]
    on: str = "reference"
    epoch: int | None = None
    n: int | None = None
    dimension: int | None = None
    dtype: str | None = None


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Whether a stream was heard: where from, how often, and whether its values were finite.

    Attributes:
        stream: Its name.
        step: Optimiser steps done.
        calls: How often its tap fired since the last coverage record.
        role: Its role.
        where: Where it comes from, in words: ``model output q_reps``.
        rule: The rule by which it was found; ``declared`` where the user named it.
        steps: Steps in which it was heard since the beginning.
        n: Rows heard since the last coverage record.
        dimension: Columns.
        dtype: Element type.
        finite_share: Share of finite values; None where nothing was heard.
        candidates: What else might have been this stream.
        why: Why it was not heard, where it was not.
        epoch: As in :class:`Readings`.
    """

    stream: str
    step: int
    calls: int = 0
    role: str | None = None
    where: str = ""
    rule: str = ""
    steps: int = 0
    n: int = 0
    dimension: int | None = None
    dtype: str | None = None
    finite_share: Number | None = None
    candidates: list[str] = field(default_factory=list)
    why: str = ""
    epoch: int | None = None


@dataclass(frozen=True, kw_only=True)
class Force:
    """The gradient of one loss term at one stream.

    Attributes:
        term: The loss term.
        target: The stream.
        step: Optimiser step.
        values: ``norm``, ``radial``, ``pull``, ``push`` and so on, to numbers.
    """

    term: str
    target: str
    step: int
    values: Mapping[str, Number]
