"""The record kinds of a journal: a dataclass a kind, checked when it is read.

A journal is append-only JSON Lines. Every line is one object with ``kind`` and ``seq`` (0, 1, 2, ... over the whole
file) beside the fields of its kind; a field that has its default is left out. Steps count from 1: a reading ``on`` a
batch at step s was taken in the s-th optimiser step; everything else at step s was taken when s steps were done, 0
before training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, get_type_hints

SCHEMA = 3
"""3 since a step and sample have one record; journals of schemas 1 and 2 are read."""

Number = float
"""A number; in JSON its name where it is not finite."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Recording began.

    Attributes:
        schema: Of what follows.
        time: UTC, ISO 8601.
        steps: Optimiser steps that are planned; None where unknown.
    """

    schema: int = SCHEMA
    time: str = ""
    steps: int | None = None


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
class Evaluation:
    """Retrieval scores of one variant of the model on one collection.

    Attributes:
        collection: Its name.
        step: Optimiser steps done.
        metrics: Metric to its mean over queries.
        variant: What was scored: ``raw`` is the encoder before any module of the user's, all others are free names.
        split: Of the judgements.
        epoch: As in :class:`Readings`.
        role: ``test``; ``development`` where checkpoints are chosen by it; ``reference`` of the reference pairs, each
            query among the documents of all.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
        similarity: How it was scored.
        n_queries: Queries.
        n_documents: Documents.
        tied_share: Share of tied places among the first ten.
        per_query: File of the per-query scores, relative to the run folder.
        fingerprint: SHA-256 of texts and judgements.
        verified: False where stored vectors were used without their encoder.
        group: The collections that it is a part of.
        time: UTC, ISO 8601.
    """

    collection: str
    step: int
    metrics: Mapping[str, Number]
    variant: str = "model"
    split: str = ""
    epoch: int | None = None
    role: str = "test"
    domain: str | None = None
    similarity: str | None = None
    n_queries: int | None = None
    n_documents: int | None = None
    tied_share: Number | None = None
    per_query: str | None = None
    fingerprint: str | None = None
    verified: bool = True
    group: str | None = None
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """Retrieval scores of a changed model.

    Attributes:
        collection: As in :class:`Evaluation`.
        step: Optimiser steps done.
        variant: As in :class:`Evaluation`.
        family: ``delta`` (another correction) or ``graft`` (modules put back to step 0).
        name: What was changed.
        metrics: Metric to its mean over queries.
        split: As in :class:`Evaluation`.
        epoch: As in :class:`Readings`.
        trained: Of a graft, the modules that have their trained weights.
        n_queries: Queries.
        per_query: File of the per-query scores.
        key: Name of its values in that file.
        fingerprint: As in :class:`Evaluation`.
    """

    collection: str
    step: int
    variant: str
    family: str
    name: str
    metrics: Mapping[str, Number]
    split: str = ""
    epoch: int | None = None
    trained: list[str] | None = None
    n_queries: int | None = None
    per_query: str | None = None
    key: str = ""
    fingerprint: str | None = None


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


@dataclass(frozen=True, kw_only=True)
class Raised:
    """A finding that was raised, confirmed or cleared while the run went on.

    Attributes:
        code: The detector's.
        subject: What it is about.
        state: ``raised``, ``confirmed`` or ``cleared``.
        status: ``warning`` or ``critical``.
        step: When it was said.
        value: The judged number.
    """

    code: str
    subject: str
    state: str
    status: str
    step: int
    value: Number | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file or folder that the run wrote, complete: ``checkpoint`` or ``model``.

    Attributes:
        name: What it is.
        path: Relative to the run folder.
        step: Optimiser steps done.
        epoch: As in :class:`Readings`.
    """

    name: str
    path: str
    step: int
    epoch: int | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened: ``resumed``, ``interrupted``, ``early_stop``, ``not_finite``, ``error``, ``note``,
    ``scored`` and ``not_scored``.

    Attributes:
        name: What.
        message: One line.
        step: Optimiser steps done.
        epoch: As in :class:`Readings`.
        subject: What it is about: of an ``error`` the probe that failed, of ``not_finite`` the stream, of ``scored``
            and ``not_scored`` the module that is, or is not, on the path that is scored.
    """

    name: str
    message: str = ""
    step: int = 0
    epoch: int | None = None
    subject: str = ""


@dataclass(frozen=True, kw_only=True)
class End:
    """Recording ended; written after everything else is saved.

    Attributes:
        status: ``completed``, ``interrupted`` or ``failed``.
        step: Optimiser steps done.
        epoch: As in :class:`Readings`.
        message: Why it did not complete.
        records: Records of the journal, this one among them; 0 in older journals.
        time: UTC, ISO 8601.
    """

    status: str
    step: int = 0
    epoch: int | None = None
    message: str = ""
    records: int = 0
    time: str = ""


Record = (
    Start
    | Readings
    | Terms
    | Summary
    | Histogram
    | Spectrum
    | Evaluation
    | Counterfactual
    | Coverage
    | Force
    | Raised
    | Artifact
    | Event
    | End
)

KINDS: dict[str, type] = {
    "start": Start,
    "readings": Readings,
    "terms": Terms,
    "summary": Summary,
    "histogram": Histogram,
    "spectrum": Spectrum,
    "evaluation": Evaluation,
    "counterfactual": Counterfactual,
    "coverage": Coverage,
    "force": Force,
    "finding": Raised,
    "artifact": Artifact,
    "event": Event,
    "end": End,
}
"""Every kind by its name in the journal; a reader keeps and counts what it does not know."""

NAMES = {kind: name for name, kind in KINDS.items()}


class FieldError(ValueError):
    """A field of a record has a wrong type or is missing; the message names it."""


def encode_number(value: float) -> float | str:
    """Return a number as JSON can carry it: itself, or its name where it is not finite.

    >>> encode_number(0.1), encode_number(float("nan")), encode_number(float("-inf"))
    (0.1, 'NaN', '-Infinity')
    """
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


_NAMED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def decode_number(value: Any) -> float:
    """Return the float that :func:`encode_number` wrote.

    Raises:
        FieldError: neither a number nor the name of one.

    >>> decode_number("-Infinity")
    -inf
    """
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise FieldError("holds a number beyond all floats") from None
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    raise FieldError(f"is {_short(value)}, where a number is needed")


def fields_of(record: Record) -> dict[str, Any]:
    """Return a record's fields as JSON-serialisable values, without those that have their default."""
    found = {}
    for name, default in _DEFAULTS[type(record)]:
        value = getattr(record, name)
        if default is MISSING or value != default:
            found[name] = _plain(value)
    return found


def record_from(kind: type, content: Mapping[str, Any]) -> Any:
    """Return the record of a kind that a line's content makes; fields that the kind does not know are left out.

    Raises:
        FieldError: a field is missing, or of a wrong type.
    """
    values = {}
    for name, check, required in _CHECKS[kind]:
        if name in content:
            try:
                values[name] = check(content[name])
            except FieldError as error:
                raise FieldError(f"{name} {error}") from None
        elif required:
            raise FieldError(f"{name} is missing")
    return kind(**values)


def _plain(value: Any) -> Any:
    if type(value) is float:
        return encode_number(value)
    if type(value) is str or value is None:
        return value
    if isinstance(value, Mapping):
        return {
            str(key): entry if type(entry) is float and math.isfinite(entry) else _plain(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _whole(value: Any) -> int:
    if type(value) is not int or not -(2**62) < value < 2**62:
        raise FieldError(f"is {_short(value)}, where a whole number is needed")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FieldError(f"is {_short(value)}, where a text is needed")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FieldError(f"is {_short(value)}, where true or false is needed")
    return value


def _numbers(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise FieldError(f"is {_short(value)}, where numbers by name are needed")
    return {name: entry if type(entry) is float else decode_number(entry) for name, entry in value.items()}


def _summaries(value: Any) -> dict[str, dict[str, float]]:
    if not isinstance(value, dict):
        raise FieldError(f"is {_short(value)}, where numbers by name are needed")
    return {name: _numbers(entry) for name, entry in value.items()}


def _list_of(check: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise FieldError(f"is {_short(value)}, where a list is needed")
        return [check(entry) for entry in value]

    return checked


def _or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


_BY_TYPE: dict[Any, Callable[[Any], Any]] = {
    int: _whole,
    float: decode_number,
    str: _text,
    bool: _truth,
    Mapping[str, float]: _numbers,
    Mapping[str, Mapping[str, float]]: _summaries,
    list[float]: _list_of(decode_number),
    list[str]: _list_of(_text),
}
_BY_TYPE |= {hint | None: _or_none(check) for hint, check in list(_BY_TYPE.items())}


def _checks(kind: type) -> list[tuple[str, Callable[[Any], Any], bool]]:
    hints = get_type_hints(kind)
    return [
        (one.name, _BY_TYPE[hints[one.name]], one.default is MISSING and one.default_factory is MISSING)
        for one in fields(kind)
    ]


def _default(field: Field[Any]) -> Any:
    if field.name == "schema":
        return MISSING
    return field.default if field.default_factory is MISSING else field.default_factory()


_CHECKS = {kind: _checks(kind) for kind in KINDS.values()}

_DEFAULTS = {kind: [(one.name, _default(one)) for one in fields(kind)] for kind in KINDS.values()}
"""Fields of each kind with the values that are not written."""
