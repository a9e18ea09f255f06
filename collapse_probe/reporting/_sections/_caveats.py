"""What a run does and does not show: the caveats, with this run's numbers."""

from __future__ import annotations

from ...diagnosis import agreement, evaluated_path, last_trained
from .._facts import Facts, Section
from .._moments import beginning, variant
from .._text import bullets, md, number


def _write(facts: Facts) -> list[str]:
    return [bullets(_lines(facts))]


def _lines(facts: Facts) -> list[str]:
    run, lines = facts.run, []
    if facts.founding and any(agreement(run, name, epoch) is not None for name, _, epoch in last_trained(run)):
        lines.append(_through_what(facts))
    off_path = [one.name for one in run.modules if one.scored is False]
    if off_path:
        through = variant(evaluated_path(run))
        on = f" ({through})" if through else ""
        lines.append(f"Not on the evaluated path{on}: {', '.join(md(name) for name in off_path[:20])}.")
    if "founding_monitor" in run.config.probes and len(run.readings("delta/mean_abs")):
        lines.append(
            "The founding document's monitor ranges are absolute. An untrained predictor passes or fails them "
            "whatever it is worth; the ratio ‖αδ‖ / ‖d-q‖ and the identity gain are free of scale."
        )
    lines += _rank_floor(facts)
    first = "the raw encoder" if run.config.trains else beginning(facts)
    lines.append(
        "Ranks and cosines cannot see scale, and ranks at different n or of different texts cannot be compared: "
        f"read them beside norm and standard deviation, and against {first}'s on the same texts."
    )
    lines.append(
        f"One {'run' if run.config.trains else 'model'} is one seed: another seed gives another model. Intervals are "
        "95 %, over the queries of this run, not adjusted for multiple comparisons. To confirm a cause, run the "
        "experiment."
    )
    return lines


def _through_what(facts: Facts) -> str:
    trained = [one.name for one in facts.run.modules if one.trained is not False and one.scored]
    names = ", ".join(md(name) for name in trained) or "none of the trained ones"
    return (
        "The scores with and without predictor agree while nDCG fell, so **adding delta at scoring time is not what "
        f"changed the scores**; its losses may still act through what they share. "
        f"Trained modules on the evaluated path: {names}. That the fall comes through them follows from "
        "where the predictor is; which of their losses drives it does not. An intervention decides: run again "
        "with one field changed (`freeze_projection`, `detach_delta`, `lambda_residual` at 0)."
    )


def _rank_floor(facts: Facts) -> list[str]:
    """Return what an uncorrected rank would read for ideal embeddings of this run's n and dimension."""
    names = [one.name for one in facts.evidence.streams if one.role in ("query", "document", "embedding")]
    found = [facts.evidence.series(f"{name}/participation_ratio_corrected", on="reference") for name in names]
    series = next((one for one in found if len(one) and one.n[-1] > 0 and one.dimension[-1] > 0), None)
    if series is None:
        return []
    n, dimension = int(series.n[-1]), int(series.dimension[-1])
    ceiling = number(n * dimension / (n + dimension), digits=3)
    return [
        f"A rank from few texts reads low: ideal Gaussian embeddings at n = {n:,}, D = {dimension} have an uncorrected "
        f"participation ratio of about nD / (n + D) = {ceiling}, not {dimension}. The centred one is corrected."
    ]


CAVEATS = Section(title="What this does and does not show", applies=lambda facts: True, write=_write)
