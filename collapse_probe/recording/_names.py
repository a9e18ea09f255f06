"""Which names of readings a probe may use. No torch: declarations are checked without it."""

from __future__ import annotations

from collections.abc import Iterator

from ..journal.vocabulary import MEASURES, NOT_STREAMS, SCALARS, modern_reading, reading_name, split_reading

DERIVED = ("scale_drift", "scale_drift_raw")
"""Readings of older journals that are judged from others today."""

_USUAL = ("query", "document", "delta", "alpha")


def is_reading(name: str) -> bool:
    """Return whether a name may be a reading: of any stream, by a known measure, or a scalar of a step.

    >>> is_reading("tower/norm_mean"), is_reading("delta_eval/norm"), is_reading("query/nonsense"), is_reading("x")
    (True, True, False, False)
    """
    try:
        stream, measure = split_reading(modern_reading(name)[0])
    except ValueError:
        return False
    return stream.partition("/")[0] in SCALARS or measure in MEASURES or measure in DERIVED


def usual_readings() -> Iterator[tuple[str, str]]:
    """Yield the readings of the usual streams, and what each is."""
    streams = {"stream": _USUAL[:2], "pairs": ("pairs",), "correction": ("delta",), "gate": ("alpha",)}
    for measure in MEASURES.values():
        for stream in streams[measure.subject]:
            yield reading_name(stream, measure.name), measure.about


def is_histogram(name: str) -> bool:
    """Return whether a name may be a histogram: of a stream's absolute entries, or one of the pairs'.

    >>> is_histogram("tower/abs"), is_histogram("pairs/cosine"), is_histogram("tower/cosine"), is_histogram("loss/abs")
    (True, True, False, False)
    """
    stream, _, values = name.rpartition("/")
    return name in HISTOGRAM_NAMES or (bool(stream) and values == "abs" and stream.partition("/")[0] not in NOT_STREAMS)


HISTOGRAM_NAMES = (
    "delta/abs",
    "pairs/distance",
    "pairs/cosine",
    "pairs/distance_random",
    "pairs/cosine_random",
)
"""The histograms of the usual streams."""
