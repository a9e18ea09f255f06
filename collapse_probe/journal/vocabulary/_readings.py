"""Names of readings: derived from a stream and a measure, never listed; and the names of older journals."""

from __future__ import annotations

import re

from ...errors import InputError

SCALARS = (
    "loss",
    "validation",
    "gradient",
    "rate",
    "decay",
    "update",
    "drift",
    "lost",
    "zeros",
    "undone",
    "force",
    "padding",
    "monitor",
)
"""What scalars of a step are under; what stands behind the slash is free."""

OUTSIDE = "outside the model"
"""The group of parameters that are trained and no part of the watched model."""

NOT_STREAMS = (*SCALARS, "pairs")
"""What stands before the slash of a reading that is of no stream."""

FORCES = {
    "force/TERM/pull": "As pairs/pull, of one term of the loss: below 0 own pairs come closer.",
    "force/TERM/push": "As pairs/push, of one term: above 0 near others move apart.",
    "force/TERM/radial": "As STREAM/radial, of one term at all embeddings together: -1 does nothing but shrink.",
    "force/TERM/share": "Norm of the term's weighted gradient at the embeddings over the sum of all terms' norms.",
    "force/TERM/conflict": "Cosine of the term's gradient with the whole loss's: below 0 it works against it.",
    "force/TERM@STREAM/share": "The same share at a correction or a gate.",
    "force/TERM@STREAM/radial": "The radial force of the term at a correction or a gate.",
}
"""What is read of each of two or more terms of a loss, on batches; all blind to scale."""

CUT = (
    *("common_share", "dead_dimensions", "mean_cosine", "participation_ratio_corrected"),
    *("d_prime", "mrr", "mrr_centred", "auc", "accuracy", "side_gap", "cosine_mean", "cosine_random_mean"),
)
"""Measures that are read of vectors' first columns, too, as ``query@128/common_share`` and ``pairs@128/mrr``."""

SUMMARIES = ("first", "last", "mean", "max")
"""What stands behind the dot where a reading is a window's summary, as in ``delta/mean_abs.mean``."""

_CUT = re.compile(r"(.+)@([1-9][0-9]{0,5})(/[^/@]+)?")

_MEASURES = {
    "norm": "norm_mean",
    "cosine_above_chance": "alignment_above_chance",
    "tanh_saturation": "saturation",
    "isoscore": "isoscore_corrected",
    "participation_ratio": "participation_ratio_corrected",
}
"""Measures of schemas 1 and 2 that were called otherwise than what was computed."""

_STREAMS = {
    "delta": ("delta", "batch"),
    "delta_eval": ("delta", "reference"),
    "query": ("query", "reference"),
    "document": ("document", "reference"),
    "raw_query": ("query", "raw"),
    "raw_document": ("document", "raw"),
    "pairs": ("pairs", "reference"),
    "validation": ("validation", "reference"),
    "loss": ("loss", "batch"),
}

_ON_BATCHES = ("pairs/margin", "pairs/accuracy")


def reading_name(stream: str, measure: str) -> str:
    """Return ``STREAM/MEASURE``.

    >>> reading_name("encoder/0", "norm_mean")
    'encoder/0/norm_mean'
    """
    return f"{stream}/{measure}"


def split_reading(name: str) -> tuple[str, str]:
    """Return the stream and the measure of a reading; a stream's name may have slashes, a measure's has none.

    Raises:
        InputError: there is no stream or no measure in it.

    >>> split_reading("encoder/0/norm_mean")
    ('encoder/0', 'norm_mean')
    """
    stream, _, measure = name.rpartition("/")
    if not stream or not measure:
        raise InputError(f"{name!r} is no reading: write STREAM/MEASURE, such as query/norm_mean")
    return stream, measure


def at_dimension(name: str, dimension: int) -> str:
    """Return what the first columns of a stream are called, or of the pairs; of a reading and a collection, too.

    >>> at_dimension("query", 128), at_dimension("pairs/mrr", 128), at_dimension("reference pairs", 64)
    ('query@128', 'pairs@128/mrr', 'reference pairs@64')
    """
    stream, slash, measure = name.rpartition("/")
    return f"{stream}@{dimension}/{measure}" if slash else f"{measure}@{dimension}"


def split_dimension(name: str) -> tuple[str, int | None]:
    """Return a name without its dimension, and the dimension; None where it has none.

    >>> split_dimension("query@128"), split_dimension("pairs@128/mrr"), split_dimension("query")
    (('query', 128), ('pairs/mrr', 128), ('query', None))
    """
    found = _CUT.fullmatch(name)
    return (found[1] + (found[3] or ""), int(found[2])) if found else (name, None)


def modern_reading(name: str) -> tuple[str, str]:
    """Return today's name of a reading of schema 1 or 2, and what it was read on: batch, reference or raw.

    A name of today stays as it is; a window's ``.mean``, ``.first``, ``.last`` or ``.max`` is kept.

    Raises:
        InputError: not STREAM/MEASURE.

    >>> modern_reading("delta_eval/norm")
    ('delta/norm_mean', 'reference')
    >>> modern_reading("delta/alpha.mean")
    ('alpha/value.mean', 'batch')
    """
    stream, measure = split_reading(name)
    plain, dot, summary = measure.rpartition(".")
    plain, suffix = (plain, dot + summary) if summary in SUMMARIES and plain else (measure, "")
    new, on = _STREAMS.get(stream, (stream, "batch"))
    if f"{stream}/{plain}" in _ON_BATCHES:
        on = "batch"
    if new == "delta" and plain == "alpha":
        return reading_name("alpha", "value") + suffix, on
    renamed = plain if stream in ("loss", "validation") else _MEASURES.get(plain, plain)
    return reading_name(new, renamed) + suffix, on
