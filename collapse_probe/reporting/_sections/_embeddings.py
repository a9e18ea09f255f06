"""Scale, rank and isotropy of every stream of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...diagnosis import Subject
from .. import _figures
from .._facts import MOST_ROWS, Facts, Section, rest_of, shown, value_of
from .._moments import all_epochs, latest_by_epoch, places, some_epochs, thinned
from .._style import plain, saved
from .._text import Table, md, number
from .._tracks import Track, track_of

_BY_EPOCH = {
    "norm_mean": "norm",
    "norm_spread": "norm spread",
    "std_mean": "std",
    "scale_drift": "drift, step 0 (log10)",
    "scale_drift_raw": "drift, raw (log10)",
    "participation_ratio": "PR, centred",
    "participation_ratio_uncentred": "PR, uncentred",
    "effective_rank": "effective rank",
    "isoscore": "IsoScore",
    "mean_cosine": "mean cosine",
    "grand_mean_fraction": "grand-mean fraction",
    "dead_dimensions": "dead dims",
    "uniformity": "uniformity",
}
_BY_STREAM = {
    "norm_median": "norm",
    "common_share": "common share",
    "mean_cosine": "mean cosine",
    "participation_ratio_corrected": "PR, centred",
    "dead_dimensions": "dead dims",
}
_PANELS = (
    (("norm_median", "norm_mean"), "norm (embedding units)", True),
    (("std_mean",), "std of a dimension (same units)", True),
    (("participation_ratio_corrected",), "participation ratio", False),
    (("common_share", "mean_cosine"), "common share", False),
)
_STREAMS = 4


def _streams(facts: Facts) -> list[Subject]:
    """Return the streams of vectors that were read."""
    roles = ("correction", "gate", "prediction")
    names = {name.rpartition("/")[0] for name, _, _ in facts.run.keys if name.rpartition("/")[2] in _READ}
    return [one for one in facts.evidence.streams if one.role not in roles and one.name in names]


_READ = {*_BY_STREAM, *_BY_EPOCH, "spread"}


def _write(facts: Facts) -> list[str]:
    blocks = _scale(facts)
    if facts.founding and len(facts.run.readings("query/norm_mean")):
        for label, tap in (("Queries", "query"), ("Documents", "document")):
            table = _of_epochs(facts, tap)
            blocks += [f"### {label}", some_epochs(table, f"{tap}_by_epoch.csv")] if table else []
        blocks.append(
            "On a fixed set of training pairs in evaluation mode. PR is the participation ratio; centred values are "
            "corrected for n, uncentred ones are not. Drifts are log10 of mean norms."
        )
    else:
        table = _of_streams(facts)
        blocks += [
            shown(table, "streams.csv", what="rows") if table else "",
            "First and last reading. Read on reference pairs, in evaluation mode, where there are any; else on "
            "batches. PR is the participation ratio, corrected for n. Ranks and cosines are blind to scale.",
        ]
    return [*blocks, *(facts.figure(name) for name in ("scale_and_rank", "spectrum", "distances"))]


def _of_epochs(facts: Facts, tap: str) -> Table:
    """Return scale, rank and isotropy of one tap by epoch, the raw encoder's on the same texts first."""
    rows = []
    raw = {name: facts.by_epoch(f"raw_{tap}/{name}").get(0) for name in _BY_EPOCH}
    if raw["norm_mean"] is not None:
        rows.append(_epoch_row("raw encoder", raw))
    for epoch in facts.by_epoch(f"{tap}/norm_mean"):
        cells = {name: facts.by_epoch(f"{tap}/{name}").get(epoch) for name in _BY_EPOCH}
        rows.append(_epoch_row("step 0" if epoch == 0 else f"epoch {epoch}", cells))
    return Table(["", *_BY_EPOCH.values(), "n, D"], rows)


def _epoch_row(label: str, cells: dict[str, Any]) -> list[str]:
    first = cells["norm_mean"]
    sample = f"{int(first['n']):,}, {int(first['dimension'])}"
    return [label, *("-" if cell is None else number(value_of(cell)) for cell in cells.values()), sample]


def _of_streams(facts: Facts) -> Table:
    """Return what every stream began and ended with."""
    rows = []
    for stream in _streams(facts):
        for on in ("raw", "reference", "batch"):
            found = {name: facts.evidence.series(f"{stream.name}/{name}", on=on) for name in _BY_STREAM}
            some = next((one for one in found.values() if len(one)), None)
            if some is None or (on == "batch" and rows and rows[-1][0] == md(stream.name)):
                continue
            cells = [_ends(one.values) for one in found.values()]
            n, dimension = int(some.n[-1]), int(some.dimension[-1])
            sample = f"{n:,}, {dimension}" if n >= 0 and dimension >= 0 else "not recorded"
            rows.append([md(stream.name), {"raw": "raw encoder"}.get(on, on), *cells, sample])
    table = Table(["stream", "read on", *_BY_STREAM.values(), "n, D"], rows, words=["read on"])
    return table.without_empty_columns() if rows else table


def _ends(values: Any) -> str:
    if not len(values):
        return "-"
    first, last = float(values[0]), float(values[-1])
    return number(first) if len(values) == 1 else f"{number(first)} → {number(last)}"


def _scale(facts: Facts) -> list[str]:
    """Return how the documents' embeddings changed: the queries' are in the tables."""
    if not facts.founding:
        return []
    names = ("std_mean", "participation_ratio", "mean_cosine")
    readings = [facts.run.readings(f"document/{name}") for name in names]
    if any(len(frame) < 2 for frame in readings):
        return []
    pairs = [(float(f["value"].iloc[0]), float(f["value"].iloc[-1])) for f in readings]
    raw = facts.run.readings("raw_document/participation_ratio")
    beside = f" (raw encoder {number(float(raw['value'].iloc[0]))})" if len(raw) else ""
    (s0, s1), (r0, r1), (c0, c1) = pairs
    factor = f", a factor of {number(s1 / s0, digits=3)}" if s0 else ""
    n, dimension = (int(readings[0][column].iloc[-1]) for column in ("n", "dimension"))
    return [
        "Between step 0 and the last epoch, the document embeddings' standard deviation per dimension went from "
        f"{number(s0)} to {number(s1)}{factor}, their participation ratio from {number(r0)} to {number(r1)}"
        f"{beside}, the mean cosine between different texts from {number(c0)} to {number(c1)} "
        f"(n = {n:,}, D = {dimension})."
    ]


def _draw_scale(facts: Facts, path: Path) -> str | None:
    streams = _streams(facts)[:_STREAMS]
    panels = [(_tracks(facts, streams, names), label, log) for names, label, log in _PANELS]
    panels = [panel for panel in panels if panel[0]]
    if not panels:
        return None
    with saved(path, rows=-(-len(panels) // 2), columns=min(2, len(panels)), height=3.2) as axes:
        for axis, (tracks, label, log) in zip(axes, panels, strict=False):
            _figures.tracks(axis, tracks, models=places(facts), ylabel=label, log=log)
            if axis is not axes[0] and axis.get_legend() is not None:
                axis.get_legend().remove()
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
    against = sorted({one.against for tracks, _, _ in panels for one in tracks if one.against})
    dotted = f" Dotted: {' or '.join(against)}, on the same texts." if against else ""
    left = len(_streams(facts)) - _STREAMS
    more = f" The first {_STREAMS} of {_STREAMS + left:,} streams." if left > 0 else ""
    by = "model" if places(facts) else "step"
    return (
        f"Embedding scale and rank by {by}.{dotted} Grey: isotropic vectors "
        "of this n and dimension. The participation ratio is centred and corrected for n. Rank and cosine are blind to "
        f"scale.{more}"
    )


def _tracks(facts: Facts, streams: list[Subject], names: tuple[str, ...]) -> list[Track]:
    found = []
    for stream in streams:
        for on in ("reference", "batch"):
            tracks = [track_of(facts, f"{stream.name}/{name}", on=on, label=stream.name) for name in names]
            known = next((one for one in tracks if one is not None), None)
            if known is not None:
                found.append(known)
                break
    return found


def _words(facts: Facts) -> tuple[str, str]:
    by = "epoch" if facts.founding else "model" if places(facts) else "step"
    return by, "fixed probe set" if facts.founding else "reference pairs"


def _draw_spectrum(facts: Facts, path: Path) -> str | None:
    run = facts.run
    by, fixed = _words(facts)
    taps = [one.name for one in _streams(facts) if run.spectra(f"{one.name}/singular_values")][:2]
    if not taps:
        return None
    with saved(path, columns=len(taps), height=3.8) as axes:
        for axis, tap in zip(axes, taps, strict=True):
            records = thinned(latest_by_epoch(facts, run.spectra(f"{tap}/singular_values")))
            raw = next(iter(run.spectra(f"raw_{tap}/singular_values")), None)
            n, dimension = records[0]["n"] or 0, records[0]["dimension"] or 0
            title = {"query": "queries", "document": "documents"}.get(tap, plain(tap))
            lines = {plain(run.config.at(one["step"])) or _figures.moment_label(one): one for one in records}
            _figures.spectra(axis, lines, raw=raw, title=f"{title}: n = {n:,}, D = {dimension}")
    return f"Singular values of the centred embeddings by {by}, on the {fixed}; a drop at a rank is a lost direction."


def _draw_distances(facts: Facts, path: Path) -> str | None:
    run = facts.run
    by, fixed = _words(facts)
    kind, xlabel = "distance", "Euclidean distance (embedding units)"
    if run.config.similarity == "cosine":
        kind, xlabel = "cosine", "cosine"
    own = thinned(latest_by_epoch(facts, run.histograms(f"pairs/{kind}")))
    other = {_when(record): record for record in latest_by_epoch(facts, run.histograms(f"pairs/{kind}_random"))}
    if not own:
        return None
    columns = 2 if len(own) > 1 else 1
    with saved(path, rows=-(-len(own) // columns), columns=columns, height=2.6) as axes:
        for axis, record in zip(axes, own, strict=False):
            _figures.distances(axis, record, other.get(_when(record)), xlabel=xlabel)
        axes[0].legend(loc="best")
        for axis in axes[len(own) :]:
            axis.set_axis_off()
    return (
        f"Query-document distances by {by} on the {fixed}: own document beside another's. "
        "Each panel has its own scale; where the two overlap, retrieval cannot tell them apart."
    )


def _when(record: dict[str, Any]) -> tuple[str, int]:
    return ("step", record["step"]) if record["epoch"] is None else ("epoch", record["epoch"])


def _rest(facts: Facts) -> str | None:
    table = _of_streams(facts)
    return rest_of(table) if len(table.rows) > MOST_ROWS else None


EMBEDDINGS = Section(
    title="Embedding scale and rank",
    applies=lambda facts: bool(_streams(facts)),
    write=_write,
    figures={"scale_and_rank": _draw_scale, "spectrum": _draw_spectrum, "distances": _draw_distances},
    files={
        "streams.csv": _rest,
        "query_by_epoch.csv": lambda facts: all_epochs(_of_epochs(facts, "query")),
        "document_by_epoch.csv": lambda facts: all_epochs(_of_epochs(facts, "document")),
    },
)
