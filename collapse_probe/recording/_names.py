"""Which names of readings a probe may use. No torch: declarations are checked without it."""

from __future__ import annotations

from collections.abc import Iterator

from ..journal.vocabulary import MEASURES, SCALARS, modern_reading, reading_name, split_reading

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


HISTOGRAM_NAMES = (
    "delta/abs",
    "pairs/distance",
    "pairs/cosine",
    "pairs/distance_random",
    "pairs/cosine_random",
)
"""Every histogram that a probe may name."""
