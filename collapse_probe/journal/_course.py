"""Records of how a run went: its beginning and end, and what happened and was written in between."""

from __future__ import annotations

from dataclasses import dataclass

from ._fields import Number

SCHEMA = 3
"""3 since a step and sample have one record; journals of schemas 1 and 2 are read."""


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
class Clock:
    """When a step was done: of the first one, and of due ones a second or more after the one before.

    Attributes:
        step: Optimiser steps done.
        time: UTC, ISO 8601.
    """

    step: int
    time: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened: ``resumed``, ``interrupted``, ``early_stop``, ``not_finite``, ``error``, ``note``,
    ``scored``, ``not_scored``, ``left_out``, ``batch_norm``, ``pretrained``, ``seen_again``, ``gradients_kept``,
    ``padding_pooled``, ``softmax_twice``, ``one_text``, ``noted``, ``delivered``, and, in memory alone, ``cut``.

    Attributes:
        name: What.
        message: One line.
        step: Optimiser steps done.
        epoch: As in :class:`Readings`.
        subject: What it is about: of an ``error`` the probe that failed, of ``not_finite`` the stream, of ``scored``
            and ``not_scored`` the module that is, or is not, on the path that is scored, of ``left_out`` the one whose
            parameters have a gradient and no optimiser, of ``batch_norm`` the first such module, of ``pretrained`` the
            module that names what it was loaded from, of ``seen_again`` the pairs of the first batches, which a later
            one brings again, of ``noted`` what the first screen says whatever else it finds, of ``delivered`` the step
            whose weights were left, 0 for the start, empty where it is not known.
    """

    name: str
    message: str = ""
    step: int = 0
    epoch: int | None = None
    subject: str = ""


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
class End:
    """Recording ended; written after everything else is saved.

    Attributes:
        status: ``completed``, ``interrupted`` or ``failed``.
        step: Optimiser steps done.
        epoch: As in :class:`Readings`.
        message: Why it did not complete.
        records: Records of the journal, this one among them; 0 in older journals.
        time: UTC, ISO 8601.
        ours: Seconds inside hooks, readings and the writer; None where that was not measured.
        seconds: Seconds from the beginning of watching to its end.
    """

    status: str
    step: int = 0
    epoch: int | None = None
    message: str = ""
    records: int = 0
    time: str = ""
    ours: Number | None = None
    seconds: Number | None = None
