"""What a run does and does not show: the caveats, with this run's numbers."""

from __future__ import annotations

from ..diagnosis import agreement, evaluated_path, last_trained
from ..journal import Run
from ._prose import declared_modules, size
from ._score_tables import PATH_LABELS
from ._text import md, number


def limits(run: Run) -> list[str]:
    """Return what the run does and does not show."""
    lines = []
    if any(agreement(run, collection, epoch) is not None for collection, _, epoch in last_trained(run)):
        lines.append(_through_what(run))
    off_path = [name for name, module in declared_modules(run).items() if not module.get("on_evaluated_path")]
    if off_path:
        names = ", ".join(md(name) for name in off_path)
        lines.append(f"Not on the evaluated path ({PATH_LABELS[evaluated_path(run)]}): {names}.")
    if "founding_monitor" in (run.settings.get("probes") or {}) and len(run.readings("delta/mean_abs")):
        lines.append(
            "The founding document's monitor ranges are absolute. An untrained predictor passes or fails them "
            "whatever it is worth; the ratio ‖αδ‖ / ‖d-q‖ and the identity gain are free of scale."
        )
    lines += _rank_floor(run)
    lines.append(
        "Ranks and cosines cannot see scale, and ranks at different n or of different texts cannot be compared: "
        "read them beside norm and standard deviation, and against the raw encoder's on the same texts."
    )
    lines.append(
        "One run is one seed: another seed gives another model. Intervals are 95 %, over the queries of this run, not "
        "adjusted for multiple comparisons. To confirm a cause, run the experiment."
    )
    return lines


def _through_what(run: Run) -> str:
    trained = [n for n, m in declared_modules(run).items() if m.get("trained", True) and m.get("on_evaluated_path")]
    names = ", ".join(md(name) for name in trained) or "none of the trained ones"
    return (
        "The scores with and without predictor agree while nDCG fell, so **adding delta at scoring time is not what "
        f"changed the scores**; its losses may still act through what they share. "
        f"Trained modules on the evaluated path: {names}. That the fall comes through them follows from "
        "where the predictor is; which of their losses drives it does not. An intervention decides: run again "
        "with one field changed (`--freeze-projection`, `--detach-delta`, `--lambda-residual 0`)."
    )


def _rank_floor(run: Run) -> list[str]:
    """Return what an uncorrected rank would read for ideal embeddings of this run's n and dimension."""
    readings = run.readings("query/participation_ratio")
    if not len(readings):
        return []
    n, dimension = (int(readings[column].iloc[-1]) for column in ("n", "dimension"))
    ceiling = number(n * dimension / (n + dimension), digits=3)
    return [
        f"A rank from few texts reads low: ideal Gaussian embeddings at {size(readings)} have an uncorrected "
        f"participation ratio of about nD / (n + D) = {ceiling}, not {dimension}. The centred one is corrected."
    ]
