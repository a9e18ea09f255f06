"""Taps on a model in training, and the recorder that turns what they keep into journal records.

Declarations and names come without torch; what needs it is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._declarations import (
    ALWAYS_WATCHED,
    RESIDUAL_SET,
    Probe,
    available_probes,
    load_probe,
    load_probes,
    load_watched,
    parse_probe,
)
from ._names import HISTOGRAM_NAMES, is_reading, usual_readings
from ._rankings import Texts, keep_rankings
from ._schedule import Schedule
from ._wishes import Wishes, added_wishes, cadence_of, judged_wishes, wishes_of

if TYPE_CHECKING:
    from ._cadence import Cadence
    from ._containment import STRICT, Containment
    from ._cuts import cuts_of, dimension_of
    from ._digest import digest
    from ._exchange import alone, is_sharded, process_rank, processes
    from ._graded import pulls, towards_one
    from ._handed import checked_role, checked_stream, scalar, why_unread
    from ._heard import Heard
    from ._layout import compares
    from ._recorder import Recorder
    from ._reference import (
        FEWEST_APART,
        PART,
        REPLAYED_PAIRS,
        REPLAYED_STEPS,
        Budget,
        Replay,
        StartWeights,
        check_pairs,
        copied,
    )
    from ._stacked import Rows, Stacking, rows_of, stacking_of
    from ._tap import Call, Nth, Place, Take, Tap, added, call, canonical, find, input, item, output, passed_by, token
    from ._tokens import PADDED, POOLINGS, kept_tokens, mean_of_tokens, pooled, pooled_of_padding, poolings
    from ._undisturbed import undisturbed
    from ._weights import WeightReader, group_parameters, is_left_out, total_norm

_WITH_TORCH = {
    "Cadence": "_cadence",
    "STRICT": "_containment",
    "Containment": "_containment",
    "cuts_of": "_cuts",
    "digest": "_digest",
    "dimension_of": "_cuts",
    "alone": "_exchange",
    "is_sharded": "_exchange",
    "process_rank": "_exchange",
    "processes": "_exchange",
    "checked_role": "_handed",
    "checked_stream": "_handed",
    "scalar": "_handed",
    "why_unread": "_handed",
    "Heard": "_heard",
    "pulls": "_graded",
    "towards_one": "_graded",
    "compares": "_layout",
    "Recorder": "_recorder",
    "Wishes": "_recorder",
    "FEWEST_APART": "_reference",
    "PART": "_reference",
    "REPLAYED_PAIRS": "_reference",
    "REPLAYED_STEPS": "_reference",
    "Budget": "_reference",
    "Replay": "_reference",
    "StartWeights": "_reference",
    "check_pairs": "_reference",
    "copied": "_reference",
    "undisturbed": "_undisturbed",
    "Rows": "_stacked",
    "Stacking": "_stacked",
    "rows_of": "_stacked",
    "stacking_of": "_stacked",
    "Call": "_tap",
    "Nth": "_tap",
    "Place": "_tap",
    "Take": "_tap",
    "Tap": "_tap",
    "added": "_tap",
    "call": "_tap",
    "canonical": "_tap",
    "find": "_tap",
    "input": "_tap",
    "item": "_tap",
    "output": "_tap",
    "passed_by": "_tap",
    "token": "_tap",
    "PADDED": "_tokens",
    "POOLINGS": "_tokens",
    "kept_tokens": "_tokens",
    "mean_of_tokens": "_tokens",
    "pooled": "_tokens",
    "pooled_of_padding": "_tokens",
    "poolings": "_tokens",
    "WeightReader": "_weights",
    "group_parameters": "_weights",
    "is_left_out": "_weights",
    "total_norm": "_weights",
}

__all__ = [
    "ALWAYS_WATCHED",
    "FEWEST_APART",
    "HISTOGRAM_NAMES",
    "PADDED",
    "PART",
    "POOLINGS",
    "REPLAYED_PAIRS",
    "REPLAYED_STEPS",
    "RESIDUAL_SET",
    "STRICT",
    "Budget",
    "Cadence",
    "Call",
    "Containment",
    "Heard",
    "Nth",
    "Place",
    "Probe",
    "Recorder",
    "Replay",
    "Rows",
    "Schedule",
    "Stacking",
    "StartWeights",
    "Take",
    "Tap",
    "Texts",
    "WeightReader",
    "Wishes",
    "added",
    "added_wishes",
    "alone",
    "available_probes",
    "cadence_of",
    "call",
    "canonical",
    "check_pairs",
    "checked_role",
    "checked_stream",
    "compares",
    "copied",
    "cuts_of",
    "digest",
    "dimension_of",
    "find",
    "group_parameters",
    "input",
    "is_left_out",
    "is_reading",
    "is_sharded",
    "item",
    "judged_wishes",
    "keep_rankings",
    "kept_tokens",
    "load_probe",
    "load_probes",
    "load_watched",
    "mean_of_tokens",
    "output",
    "parse_probe",
    "passed_by",
    "pooled",
    "pooled_of_padding",
    "poolings",
    "process_rank",
    "processes",
    "pulls",
    "rows_of",
    "scalar",
    "stacking_of",
    "token",
    "total_norm",
    "towards_one",
    "undisturbed",
    "usual_readings",
    "why_unread",
    "wishes_of",
]


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
