"""Which figures a run has: from its journal to files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..diagnosis import HEADLINE, collections, difference, epochs, evaluated_path, evaluation_records
from ..journal import Run
from . import _figures
from ._score_tables import PATH_LABELS, queries
from ._style import epoch_colours, saved
from ._tables import LOSS_TERMS
from ._text import md

MOST_EPOCHS = 7
"""Epochs that a figure with one panel or line each shows."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        file: Name within the figures' folder.
        caption: Markdown.
    """

    file: str
    caption: str


def draw_all(run: Run, folder: Path) -> dict[str, Figure]:
    """Draw every figure that the run has data for.

    Args:
        run: The run.
        folder: Where the PNG files go.

    Returns:
        Name to figure; a figure without data is left out.
    """
    drawn = {name: draw(run, folder / f"{name}.png") for name, draw in FIGURES.items()}
    return {name: Figure(f"{name}.png", caption) for name, caption in drawn.items() if caption}


def _residual_histograms(run: Run, path: Path) -> str | None:
    records = _thinned(_latest_by_epoch(run.histograms("delta/abs")))
    if not records:
        return None
    shades = epoch_colours(len(records))
    low, high = _common_edges(records)
    with saved(path, rows=len(records), height=1.6) as axes:
        for axis, record, shade in zip(axes, records, shades, strict=True):
            _figures.residual_histogram(axis, record, shade=shade)
            axis.set_xlim(low, high)
        axes[-1].set_xlabel("|delta| (embedding units, log scale)")
    return (
        "Histogram of |delta| by epoch, ten bins a decade. Step 0 is the untrained predictor on the fixed probe set, "
        "in evaluation mode; epochs pool the batches of scheduled steps, in training mode. The left tail is cut where "
        "it holds less than a thousandth of the entries."
    )


def _residual_dynamics(run: Run, path: Path) -> str | None:
    sizes = _present(
        run,
        {
            "mean |delta|": "delta/mean_abs",
            "max |delta|": "delta/max_abs",
            "alpha": "delta/alpha",
            "max |alpha delta|": "delta/correction_max_abs",
        },
    )
    shares = _present(
        run,
        {
            "‖αδ‖ / ‖q‖": "delta/correction_over_query",
            "‖αδ‖ / ‖d-q‖": "delta/correction_over_residual",
        },
    )
    if not sizes:
        return None
    with saved(path, rows=2 if shares else 1, height=3.4) as axes:
        ends = _epoch_ends(run)
        _figures.lines_over_steps(axes[0], sizes, ends=ends, ylabel="embedding units; alpha has none")
        axes[0].set_title(f"Each point: one batch, n = {_typical_n(sizes)} queries", loc="left")
        if shares:
            _figures.lines_over_steps(axes[1], shares, ends=ends, ylabel="ratio of RMS norms")
    return "Delta, alpha and the applied correction over steps (log); below, the correction beside q and d - q."


def _loss_terms(run: Run, path: Path) -> str | None:
    raw = _present(run, {term: f"loss/{term}" for term in LOSS_TERMS})
    weighted = _present(run, {"total": "loss/total"} | {term: f"loss/{term}_weighted" for term in LOSS_TERMS})
    if not raw:
        return None
    with saved(path, rows=2, height=3.2) as axes:
        ends = _epoch_ends(run)
        _figures.lines_over_steps(axes[0], raw, ends=ends, ylabel="raw term")
        axes[0].set_title(f"Each point: one batch, n = {_typical_n(raw)} pairs", loc="left")
        _figures.lines_over_steps(axes[1], weighted, ends=ends, ylabel="weighted term")
    return "Loss terms over steps, raw above and weighted below; a log axis has no place for a term that is 0."


def _scale_and_rank(run: Run, path: Path) -> str | None:
    panels = (
        ("norm_mean", "mean norm (embedding units)", True),
        ("std_mean", "std of a dimension (same units)", True),
        ("participation_ratio", "participation ratio", False),
        ("mean_cosine", "mean cosine", False),
    )
    if not len(run.readings("query/norm_mean")):
        return None
    with saved(path, rows=2, columns=2, height=3.2) as axes:
        for axis, (measure, label, log) in zip(axes, panels, strict=True):
            series, references = {}, {}
            for tap, name in (("query", "queries"), ("document", "documents")):
                series[name] = _points(run.readings(f"{tap}/{measure}"))
                raw = run.readings(f"raw_{tap}/{measure}")
                if len(raw):
                    references[f"{name}, raw encoder"] = float(raw["value"].iloc[0])
            _figures.values_by_epoch(axis, series, references=references, ylabel=label, log=log)
            legend = axis.get_legend()
            if measure != "norm_mean" and legend is not None:
                legend.remove()
        n, dimension = (int(run.readings("query/norm_mean")[column].iloc[0]) for column in ("n", "dimension"))
        axes[0].set_title(f"n = {n:,} texts each, D = {dimension}", loc="left")
    return (
        "Embedding scale (log) and rank by epoch on the fixed probe set; dotted: the raw encoder on the same texts. "
        "The participation ratio is centred and corrected for n. Rank and cosine are blind to scale."
    )


def _spectrum(run: Run, path: Path) -> str | None:
    if not run.spectra("query/singular_values"):
        return None
    with saved(path, columns=2, height=3.8) as axes:
        for axis, tap, title in zip(axes, ("query", "document"), ("queries", "documents"), strict=True):
            records = _thinned(_latest_by_epoch(run.spectra(f"{tap}/singular_values")))
            raw = next(iter(run.spectra(f"raw_{tap}/singular_values")), None)
            n, dimension = (int(records[0]["n"]), int(records[0]["dimension"])) if records else (0, 0)
            _figures.spectra(axis, records, raw=raw, title=f"{title}: n = {n:,}, D = {dimension}")
    return (
        "Singular values of the centred embeddings by epoch, on the fixed probe set; "
        "a drop at a rank is a lost direction."
    )


def _distances(run: Run, path: Path) -> str | None:
    kind, xlabel = "distance", "Euclidean distance (embedding units)"
    if run.settings.get("recipe", {}).get("similarity") == "cosine":
        kind, xlabel = "cosine", "cosine"
    own = _thinned(_latest_by_epoch(run.histograms(f"pairs/{kind}")))
    other = {int(record["epoch"]): record for record in run.histograms(f"pairs/{kind}_random")}
    if not own:
        return None
    columns = 2 if len(own) > 1 else 1
    with saved(path, rows=-(-len(own) // columns), columns=columns, height=2.6) as axes:
        for axis, record in zip(axes, own, strict=False):
            _figures.distances(axis, record, other.get(int(record["epoch"])), xlabel=xlabel)
        axes[0].legend(loc="best")
        for axis in axes[len(own) :]:
            axis.set_axis_off()
    return (
        "Query-document distances by epoch on the fixed probe set: own document beside another's. "
        "Each panel has its own scale; where the two overlap, retrieval cannot tell them apart."
    )


def _validation_vs_ndcg(run: Run, path: Path) -> str | None:
    losses = _points(run.readings("validation/total"))
    names = collections(run)
    scored = {name: _scored(run, name, evaluated_path(run)) for name in names}
    if len(losses) < 2 or not any(scored.values()):
        return None
    with saved(path, rows=2, height=2.8) as axes:
        _figures.values_by_epoch(
            axes[0], {"validation loss": losses}, references={}, ylabel="validation loss", log=True
        )
        logarithmic = axes[0].get_yscale() == "log"
        _figures.values_by_epoch(axes[1], scored, references={}, ylabel="nDCG@10")
        n = int(run.readings("validation/total")["n"].iloc[0])
        axes[0].set_title(f"n = {n:,} held-out pairs", loc="left")
        axes[1].set_title(_query_counts(run), loc="left")
    path_label = PATH_LABELS[evaluated_path(run)]
    axis_note = " (log)" if logarithmic else ""
    return f"Validation loss{axis_note} above retrieval, {path_label}: a lower loss is not a better model."


def _retrieval(run: Run, path: Path) -> str | None:
    names = [name for name in collections(run) if epochs(run, name, "no_predictor")]
    if not names:
        return None
    with saved(path, rows=len(names), height=3.2) as axes:
        for axis, name in zip(axes, names, strict=True):
            series = {PATH_LABELS[p]: _scored(run, name, p) for p in ("no_predictor", "predictor")}
            raw = evaluation_records(run).get((name, "raw", 0))
            shown = evaluated_path(run)
            changes = {e: difference(run, name, ("raw", 0), (shown, e)) for e in epochs(run, name, shown)}
            _figures.retrieval_by_epoch(
                axis,
                {label: points for label, points in series.items() if points},
                raw=None if raw is None else float(raw["metrics"][HEADLINE]),
                band={e: change for e, change in changes.items() if change is not None},
                title=f"{name}: n = {queries(run, name):,} queries",
            )
    return (
        "nDCG@10 by epoch on both scoring paths; "
        "the band is the 95 % interval of the paired difference from the raw encoder."
    )


FIGURES: dict[str, Callable[[Run, Path], str | None]] = {
    "retrieval": _retrieval,
    "residual_histograms": _residual_histograms,
    "residual_dynamics": _residual_dynamics,
    "loss_terms": _loss_terms,
    "validation_vs_ndcg": _validation_vs_ndcg,
    "scale_and_rank": _scale_and_rank,
    "spectrum": _spectrum,
    "distances": _distances,
}
"""Every figure by its name; each writes its file and returns its caption, or None where it has no data."""


def _present(run: Run, names: dict[str, str]) -> dict[str, pd.DataFrame]:
    frames = {label: run.readings(name) for label, name in names.items()}
    return {label: frame for label, frame in frames.items() if len(frame)}


def _epoch_ends(run: Run) -> list[int]:
    summaries = run.readings("loss/total.mean")
    return [int(step) for step in summaries["step"]]


def _typical_n(frames: dict[str, pd.DataFrame]) -> str:
    return f"{int(next(iter(frames.values()))['n'].mode().iloc[0]):,}"


def _points(frame: pd.DataFrame) -> list[tuple[int, float]]:
    frame = frame.drop_duplicates("epoch", keep="last")
    return [(int(e), float(v)) for e, v in zip(frame["epoch"], frame["value"], strict=True)]


def _scored(run: Run, collection: str, path: str) -> list[tuple[int, float]]:
    records = evaluation_records(run)
    return [(e, float(records[(collection, path, e)]["metrics"][HEADLINE])) for e in epochs(run, collection, path)]


def _query_counts(run: Run) -> str:
    return "; ".join(f"{name}: n = {queries(run, name):,} queries" for name in collections(run))


def _latest_by_epoch(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    latest = {int(record["epoch"]): record for record in records}
    return [latest[epoch] for epoch in sorted(latest)]


def _thinned(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first and the last of some epochs and a few evenly between: more cannot be told apart."""
    if len(records) <= MOST_EPOCHS:
        return records
    last = len(records) - 1
    return [records[round(i * last / (MOST_EPOCHS - 1))] for i in range(MOST_EPOCHS)]


def _common_edges(records: list[dict[str, Any]]) -> tuple[float, float]:
    """Return limits that hold every histogram but the lowest thousandth of its entries."""
    lows, highs = [], []
    for record in records:
        cumulated = record["counts"].cumsum()
        total = cumulated[-1] or 1
        lows.append(record["edges"][(cumulated > 1e-3 * total).argmax()])
        highs.append(record["edges"][(cumulated >= total).argmax() + 1])
    return float(min(lows)), float(max(highs))


def caption_line(number: int, figure: Figure) -> str:
    """Return the Markdown of a figure with its number and caption."""
    return f"![Figure {number}](figures/{figure.file})\n\n*Figure {number}. {md(figure.caption)}*"
