"""What became of the embeddings' first columns, where the training is to make vectors of them, too."""

from __future__ import annotations

from ...diagnosis import REFERENCE
from .._facts import Facts, Section
from .._text import Table, number, score
from .._text import change as said

_MEASURES = {"pairs/d_prime": "d'", "query/common_share": "query common share", "document/common_share": "document"}


def _applies(facts: Facts) -> bool:
    return bool(facts.evidence.cuts)


def _write(facts: Facts) -> list[str]:
    rows = []
    for dimension, cut in facts.evidence.cuts.items():
        curve = next((one for one in cut.curves if one.collection == REFERENCE and one.metric == "mrr"), None)
        changes = curve.changes if curve else ()
        change = next((one for one in changes if one.against == "start" and one.interval is not None), None)
        ends = ["-", "-", "-"]
        if change is not None:
            ends = [score(change.before), score(change.after), said((change.value, change.interval))]
        n = f"{change.interval.n:,}" if change is not None and change.interval is not None else "-"
        found = [cut.series(name, on="reference").finite() for name in _MEASURES]
        shapes = [f"{number(one.first)} to {number(one.last)}" if len(one) else "-" for one in found]
        rows.append([str(dimension), *ends, n, *shapes])
    table = Table(["columns", "MRR, start", "MRR, end", "change", "n pairs", *_MEASURES.values()], rows)
    note = "The reference pairs by the first columns alone, of unit length; d' and common shares from start to end."
    return [table.markdown, note]


DIMENSIONS = Section(title="Dimensions", applies=_applies, write=_write)
