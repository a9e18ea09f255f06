"""Loss terms, gradients and rates by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .. import _figures
from .._facts import Facts, Section, rest_of, shown, value_of
from .._moments import all_epochs, some_epochs
from .._style import plain, saved
from .._text import Table, md, number
from .._tracks import Track
from ._forces import forces

_FAMILIES = {"loss": "loss", "gradient": "gradient", "rate": "learning rate", "monitor": "monitored"}
_LINES = 6
_EPOCH = 2
"""The column of the epoch."""


def _names(facts: Facts, family: str) -> list[str]:
    """Return the readings of a family, the total first, without the windows' summaries."""
    names = dict.fromkeys(name for name, on, _ in facts.run.keys if name.startswith(f"{family}/") and on == "batch")
    plain_ = [name for name in names if name.rpartition(".")[2] not in ("first", "last", "mean", "max")]
    return sorted(plain_, key=lambda name: name != "loss/total")


def _applies(facts: Facts) -> bool:
    return any(_names(facts, family) for family in _FAMILIES)


def _write(facts: Facts) -> list[str]:
    body = (
        some_epochs(_by_epochs(facts), "terms.csv", column=_EPOCH)
        if _founding(facts)
        else shown(_by_names(facts), "terms.csv", what="rows")
    )
    note = "Full precision from the journal; a small number here is not a zero."
    if facts.recipe.get("lambda_isotropy"):
        note += (
            " The isotropy term is homogeneous in the embeddings: it is near zero for any embeddings of tiny scale, "
            "isotropic or not."
        )
    return [body, note, *forces(facts), facts.figure("loss_terms"), facts.figure("gradients_and_rates")]


def _founding(facts: Facts) -> bool:
    return facts.founding and bool(facts.by_epoch("loss/total.mean"))


def _rest(facts: Facts) -> str | None:
    return all_epochs(_by_epochs(facts), column=_EPOCH) if _founding(facts) else rest_of(_by_names(facts))


def _by_epochs(facts: Facts) -> Table:
    """Return first, last and mean of every loss term in every epoch, and its weight."""
    rows = []
    names = [name.partition("/")[2] for name in _names(facts, "loss")]
    terms = [name for name in names if not name.endswith("_weighted")]
    order = ["total", *(name for name in ("isotropy", "predictive", "residual", "contrastive") if name in terms)]
    found = [*order, *(name for name in terms if name not in (*order, "gradient_norm", "rest"))]
    for name, reading in [*((name, f"loss/{name}") for name in found), ("gradient norm", "loss/gradient_norm")]:
        weight = facts.recipe.get(f"lambda_{name}")
        label = {"total": "sum of weighted terms", "gradient norm": "before clipping"}.get(name, "raw")
        label += "" if weight is None else f", x {number(float(weight))}"
        parts = [facts.by_epoch(f"{reading}.{part}") for part in ("first", "last", "mean")]
        for epoch, mean in parts[2].items():
            cells = [number(value_of(part.get(epoch))) for part in parts]
            rows.append([md(name.replace("_", " ")), label, str(epoch), *cells, f"{int(mean['n']):,}"])
    headers = ["term", "weight", "epoch", "first batch", "last batch", "mean", "n pairs"]
    return Table(headers, rows, words=["weight"])


def _by_names(facts: Facts) -> Table:
    """Return what every term, gradient norm and rate began and ended with."""
    rows = []
    for family, label in _FAMILIES.items():
        for name in _names(facts, family):
            series = facts.evidence.series(name, on="batch")
            known = series.finite().values
            bad = len(series) - len(known)
            cells = (
                [number(float(one)) for one in (known[0], known[-1], known.min(), known.max())] if len(known) else []
            )
            cells = cells or ["not a number"] * 4
            rows.append([f"{label} {md(_words(name))}", *cells, f"{bad:,}" if bad else "-", f"{len(series):,}"])
    headers = ["term", "first", "last", "smallest", "largest", "not finite", "n steps"]
    return Table(headers, rows).without_empty_columns()


def _words(name: str) -> str:
    family, _, rest = name.partition("/")
    return (
        {"norm": "norm, before clipping", "clipped_norm": "norm, after clipping"}.get(rest, rest)
        if (family == "gradient")
        else rest
    )


def _draw_terms(facts: Facts, path: Path) -> str | None:
    names = _names(facts, "loss")
    weighted = [name for name in names if name.endswith("_weighted") or name == "loss/total"]
    skipped = ("loss/gradient_norm", "loss/rest")
    raw = [name for name in names if name not in skipped and not (name.endswith("_weighted") or name == "loss/total")]
    panels = [("raw term", raw), ("weighted term", weighted)]
    if len(weighted) < 2:
        panels = [("loss term", [*weighted, *raw])]
    found = [(label, _frames(facts, some)) for label, some in panels]
    found = [(label, frames) for label, frames in found if frames]
    if not found:
        return None
    ends = _epoch_ends(facts)
    with saved(path, rows=len(found), height=3.2) as axes:
        for axis, (label, frames) in zip(axes, found, strict=True):
            _figures.lines_over_steps(axis, frames, ends=ends, ylabel=label)
        n = _typical_n(facts)
        if n:
            axes[0].set_title(f"Each point: one batch, n = {n:,} pairs", loc="left")
        _mark_first_bad(facts, axes)
    parts = "raw above and weighted below" if len(found) > 1 else "as they add up"
    bad = "" if _first_bad(facts) is None else " Vertical line: the first step whose total is not finite."
    return f"Loss terms over steps, {parts}; a log axis has no place for a term that is 0.{bad}"


def _first_bad(facts: Facts) -> int | None:
    total = facts.evidence.series("loss/total", on="batch")
    bad = total.steps[~np.isfinite(total.values)]
    return int(bad[0]) if len(bad) else None


def _mark_first_bad(facts: Facts, axes: list) -> None:
    step = _first_bad(facts)
    for axis in axes if step is not None else ():
        axis.axvline(step, color="#c44e52", linewidth=1.2)


def _frames(facts: Facts, names: list[str]) -> dict[str, pd.DataFrame]:
    found = {}
    for name in names[:_LINES]:
        series = facts.evidence.series(name, on="batch")
        label = name.partition("/")[2].removesuffix("_weighted")
        found[plain(label)] = pd.DataFrame({"step": series.steps, "value": series.values})
    return found


def _draw_rates(facts: Facts, path: Path) -> str | None:
    panels = []
    for family, label in (("gradient", "gradient norm"), ("rate", "learning rate"), ("monitor", "monitored value")):
        tracks = [_track(facts, name) for name in _names(facts, family)[:_LINES]]
        if any(np.isfinite(one.values).any() for one in tracks):
            panels.append((label, tracks))
    if not panels:
        return None
    with saved(path, rows=len(panels), height=2.6) as axes:
        for axis, (label, tracks) in zip(axes, panels, strict=True):
            _figures.tracks(axis, tracks, models={}, ylabel=label, log=label == "gradient norm")
    names = " and ".join(label for label, _ in panels)
    return f"{names[0].upper()}{names[1:]} by step."


def _track(facts: Facts, name: str) -> Track:
    series = facts.evidence.series(name, on="batch")
    family, _, label = name.partition("/")
    words = {"gradient/norm": "before clipping", "gradient/clipped_norm": "after clipping"}
    steps, values = series.steps, series.values
    if family == "rate" and len(steps):
        # Rates are recorded where they change.
        steps, values = np.append(steps, facts.run.steps), np.append(values, values[-1])
    return Track(words.get(name, f"group {label}" if family == "rate" else label), steps, values)


def _typical_n(facts: Facts) -> int | None:
    frame = facts.run.readings("loss/total")
    n = frame["n"][frame["n"] > 0] if len(frame) else []
    if not len(n):
        reading = facts.evidence.series("pairs/margin", on="batch").n
        n = pd.Series(reading[reading > 0])
    return int(n.mode().iloc[0]) if len(n) else None


def _epoch_ends(facts: Facts) -> list[int]:
    return [int(step) for step in facts.run.readings("loss/total.mean")["step"]] if facts.founding else []


TERMS = Section(
    title="Loss components",
    applies=_applies,
    write=_write,
    figures={"loss_terms": _draw_terms, "gradients_and_rates": _draw_rates},
    files={"terms.csv": _rest},
)
