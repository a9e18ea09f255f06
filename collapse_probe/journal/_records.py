"""The record kinds of a journal and how numbers are written in it.

Every record is one JSON object on one line with ``schema``, ``kind`` and ``time`` (UTC, ISO 8601). Beside
these, by kind:

==============  ==========================================================================================
``start``       ``recipe``: what began, and ``steps_per_epoch``
``reading``     ``name`` (``TAP/MEASURE``), ``step``, ``epoch``, ``value``, ``n``, ``dimension``, ``dtype``
``histogram``   ``name``, ``step``, ``epoch``, ``edges`` (B + 1), ``counts`` (B), ``below`` and ``above``
                (values outside the edges), ``n``, ``dimension``
``spectrum``    ``name``, ``step``, ``epoch``, ``values`` (singular values, descending), ``n``, ``dimension``, ``dtype``
``evaluation``  ``collection``, ``split``, ``step``, ``epoch``, ``path`` (``raw``, ``no_predictor``,
                ``predictor``), ``similarity``, ``metrics``, ``n_queries``, ``n_documents``, ``tied_share``,
                ``per_query`` (file, relative to the run folder), ``role`` (``test``, ``development``),
                ``fingerprint`` (SHA-256 of the collection's texts and judgements)
``counterfactual``  as ``evaluation``, with ``family`` (``delta``, ``graft``), ``name``, ``trained`` (of a graft:
                the modules with their trained weights) and ``key`` (its values in ``per_query``)
``coverage``    ``tap``, ``step``, ``epoch``, ``calls``, ``dtype``, ``finite_share``, ``n``
``event``       ``name``, ``message``, ``step``, ``epoch``
``end``         ``status`` (``completed``, ``interrupted``, ``failed``), ``step``, ``epoch``, ``message``
==============  ==========================================================================================

``epoch`` is the number of the epoch that a step belongs to, from 1; 0 is before the first step.
"""

from __future__ import annotations

import math

SCHEMA = 2
"""2 since counterfactuals; a journal of schema 1 has none and is read as it is."""

KINDS = ("start", "reading", "histogram", "spectrum", "evaluation", "counterfactual", "coverage", "event", "end")


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


def decode_number(value: float | str) -> float:
    """Return the float that :func:`encode_number` wrote.

    >>> decode_number("-Infinity")
    -inf
    """
    return float(value)
