"""The sentences of a report that depend on what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..diagnosis import (
    HEADLINE,
    FindingRow,
    Status,
    agreement,
    attribution,
    choose_checkpoint,
    difference,
    evaluation_records,
    fall_onset,
    last_trained,
    loss_against_retrieval,
    overlaps,
    selection,
)
from ..journal import Run
from ..statistics import PairedDifference
from ._attribution_tables import share
from ._score_tables import PATH_LABELS
from ._text import interval, md, number, percent, score

_GRAVE = (Status.CRITICAL, Status.WARNING)


def in_short(run: Run, findings: Sequence[FindingRow]) -> list[str]:
    """Return the findings that a reader needs first, as Markdown sentences with their numbers."""
    return [
        *_ending(run),
        *_retrieval(run),
        *_predictor(run),
        *_grafts(run),
        *_overlap(run),
        *_residual(run),
        *_scale(run),
        *_selection(run),
        *_critical(findings),
    ]


def reasons(findings: Sequence[FindingRow]) -> list[str]:
    """Return why each warning or critical finding matters and what to do, once for findings that share it."""
    shared: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        if finding.status in _GRAVE and finding.why:
            title = f"{finding.code} {md(finding.title)}"
            shared.setdefault((finding.why, finding.remedy), []).append(title)
    return [f"**{'; '.join(titles)}**: {md(why)}. *{md(remedy)}.*" for (why, remedy), titles in shared.items()]


def counts(findings: Sequence[FindingRow]) -> str:
    """Return how many findings have each status, the gravest first."""
    order = (*_GRAVE, Status.NOT_MEASURED, Status.HEALTHY, Status.NOT_APPLICABLE)
    found = [(sum(f.status is status for f in findings), status.value) for status in order]
    return ", ".join(f"{count} {name}" for count, name in found if count) or "none"


def modules(run: Run) -> str:
    """Return what stands on the encoder: trained or not, and whether the evaluated score goes through it."""
    parts = []
    for name, module in declared_modules(run).items():
        trained = "trained" if module.get("trained", True) else "frozen"
        size = f", {int(module['parameters']):,} parameters" if "parameters" in module else ""
        where = "on" if module.get("on_evaluated_path") else "not on"
        parts.append(f"{md(name)} ({trained}{size}, {where} the evaluated path)")
    return "; ".join(parts) or "none"


def _ending(run: Run) -> list[str]:
    if run.status == "completed":
        return []
    ends = run.records("end")
    message = f": {md(ends[-1]['message'])}" if ends and ends[-1].get("message") else ""
    return [f"**The run is {md(run.status)}**{message}. What follows is what was recorded until then."]


def _retrieval(run: Run) -> list[str]:
    records = evaluation_records(run)
    lines = []
    for collection, path, epoch in last_trained(run):
        now = float(records[(collection, path, epoch)]["metrics"][HEADLINE])
        clauses = [
            _against(run, collection, (path, epoch), label, reference)
            for label, reference in (("the raw encoder", ("raw", 0)), ("step 0", (path, 0)))
        ]
        start = f"On {md(collection)}, nDCG@10 {PATH_LABELS[path]} is {score(now)} after epoch {epoch}."
        n = int(records[(collection, path, epoch)]["n_queries"])
        end = f"Differences are paired over n = {n:,} queries, with 95 % intervals."
        lines.append(" ".join([start, *filter(None, clauses), end]))
    if not lines:
        lines = [
            f"On {md(collection)}, nDCG@10 {'of the ' if path == 'raw' else ''}{PATH_LABELS[path]} is "
            f"{score(float(record['metrics'][HEADLINE]))} (n = {int(record['n_queries']):,} queries)."
            for (collection, path, _), record in records.items()
        ]
    return lines


def _against(run: Run, collection: str, now: tuple[str, int], label: str, reference: tuple[str, int]) -> str | None:
    change = difference(run, collection, reference, now)
    if change is None:
        return None
    start = float(evaluation_records(run)[(collection, *reference)]["metrics"][HEADLINE])
    relative = f", {percent(change.mean / start)}" if start else ""
    onset = fall_onset(run, collection, now[0], reference) if change.high < 0 else None
    since = "" if onset is None else f", in every evaluation from step {onset.step} on"
    return f"It {_verb(change)} against {label} ({score(start)}): {interval(change)}{relative}{since}."


def _verb(change: PairedDifference) -> str:
    if math.isnan(change.high):
        return "differs, without an interval,"
    if change.high < 0:
        return "**fell**"
    return "**rose**" if change.low > 0 else "did not change by more than noise"


def _predictor(run: Run) -> list[str]:
    lines = []
    for collection, _, epoch in last_trained(run):
        gap = agreement(run, collection, epoch)
        if gap is not None:
            lines.append(
                f"On {md(collection)}, scoring with the predictor instead of without changes nDCG@10 by "
                f"{interval(gap)} (n = {gap.n} queries): with- and without-predictor scores agree, so **adding delta "
                "at scoring time is not what changed the scores**; its losses may still act through what they share."
            )
    return lines


def _grafts(run: Run) -> list[str]:
    """Return which module holds the change on the evaluated path, where it was put back to step 0."""
    lines = []
    for collection, path, epoch in last_trained(run):
        found = attribution(run, collection, path, epoch)
        if found is None or not found.total.resolved:
            continue
        parts = ", ".join(
            f"{md(effect.module)} {share(found, effect.module)} ({interval(effect.share)})" for effect in found.effects
        )
        lines.append(
            f"On {md(collection)}, resetting trained modules to their initial weights, without retraining, attributes "
            f"the change of nDCG@10 since step 0, {interval(found.total)}, on the evaluated path to: **{parts}** "
            f"(n = {found.total.n:,} queries)."
        )
    return lines


def _overlap(run: Run) -> list[str]:
    """Return the change against the raw encoder apart by whether a relevant document was trained on."""
    lines = []
    for one in overlaps(run):
        count = one.seen.n + (one.others.n if one.others else 0)
        rest = "" if one.others is None else f"; on the other {one.others.n:,} by {interval(one.others)}"
        lines.append(
            f"{one.seen.n:,} of the {count:,} queries of {md(one.collection)} have a relevant document that was "
            f"trained on. There, nDCG@10 differs from the raw encoder's by {interval(one.seen)}{rest}."
        )
    return lines


def selection_lines(run: Run) -> list[str]:
    """Return which checkpoint the run keeps and why, and how the validation loss orders checkpoints."""
    if not last_epoch_scored(run):
        return []
    lines = [f"The saved model: {md(choose_checkpoint(run).why)}."]
    for collection, _, _ in last_trained(run):
        found, regret = loss_against_retrieval(run, collection), selection(run, collection)
        if found is not None:
            few = "" if not math.isnan(found.p_value) else "; too few for a test"
            p = "" if math.isnan(found.p_value) else f", p = {found.p_value:.3f}"
            lines.append(
                f"On {md(collection)}, validation loss and nDCG@10 have a rank correlation of {found.spearman:+.2f} "
                f"(Spearman; Kendall {found.kendall:+.2f}{p}) over n = {found.n} checkpoints{few}. Healthy is below 0."
            )
        if regret is not None:
            lines.append(
                f"On {md(collection)}, selecting by validation loss loses {score(regret.regret)} nDCG@10 against the "
                f"best of n = {regret.n} checkpoints (it takes epoch {regret.chosen}, the best is epoch {regret.best})."
            )
    return lines


def last_epoch_scored(run: Run) -> bool:
    """Return whether an evaluation after training is there."""
    return any(True for _ in last_trained(run))


def _residual(run: Run) -> list[str]:
    means = run.readings("delta/mean_abs.mean")
    ratios = run.readings("delta_eval/correction_over_residual")
    if not len(means):
        return []
    first, last = (float(means["value"].iloc[i]) for i in (0, -1))
    text = f"Delta's mean absolute entry is {number(first)} over epoch {means['epoch'].iloc[0]}"
    if len(means) > 1:
        text += f" and {number(last)} over epoch {means['epoch'].iloc[-1]}"
    text += f" (n = {int(means['n'].iloc[-1]):,} queries each)"
    if len(ratios):
        start, end = (float(ratios["value"].iloc[i]) for i in (0, -1))
        n = f"n = {int(ratios['n'].iloc[-1]):,}, without dropout"
        text += f"; the applied correction is {number(end)} of ‖d-q‖ at the end, {number(start)} at step 0 ({n})"
    return [text + "."]


def _scale(run: Run) -> list[str]:
    """Return how the documents' embeddings changed: the queries' are in the tables."""
    names = ("std_mean", "participation_ratio", "mean_cosine")
    readings = [run.readings(f"document/{name}") for name in names]
    if any(len(frame) < 2 for frame in readings):
        return []
    pairs = [(float(f["value"].iloc[0]), float(f["value"].iloc[-1])) for f in readings]
    raw = run.readings("raw_document/participation_ratio")
    beside = f" (raw encoder {number(float(raw['value'].iloc[0]))})" if len(raw) else ""
    (s0, s1), (r0, r1), (c0, c1) = pairs
    factor = f", a factor of {number(s1 / s0, digits=3)}" if s0 else ""
    return [
        "Between step 0 and the last epoch, the document embeddings' standard deviation per dimension went from "
        f"{number(s0)} to {number(s1)}{factor}, their participation ratio from {number(r0)} to {number(r1)}"
        f"{beside}, the mean cosine between different texts from {number(c0)} to {number(c1)} "
        f"({size(readings[0])})."
    ]


def _selection(run: Run) -> list[str]:
    lines = []
    for collection, _, _ in last_trained(run):
        found = selection(run, collection)
        if found is None or not found.misleads or found.change is None:
            continue
        lines.append(
            f"On {md(collection)}, selecting by validation loss keeps epoch {found.chosen} where epoch "
            f"{found.best} retrieves best: nDCG@10 {interval(found.change)} "
            f"(n = {found.n_queries} queries, {found.n} checkpoints; the interval is adjusted for choosing the best). "
            "**A lower validation loss is not a better model here.**"
        )
    return lines


def _critical(findings: Sequence[FindingRow]) -> list[str]:
    """Return the readings, not the scores, that their ranges call critical."""
    grave = [f for f in findings if f.status is Status.CRITICAL and f.code.startswith("CP1")]
    finite = [f for f in grave if f.value is not None and math.isfinite(f.value)]
    named = [f"{md(f.subject)} at {number(f.value)} (n = {f.n or 0:,})" for f in finite]
    lines = [f"Critical by their declared ranges: {', '.join(named)}."] if named else []
    others = [md(f.subject) for f in grave if f not in finite]
    if others:
        lines.append(f"Readings that are not finite: {', '.join(others)}.")
    return lines


def size(readings: pd.DataFrame) -> str:
    """Return the sample behind the last of some readings."""
    return f"n = {int(readings['n'].iloc[-1]):,}, D = {int(readings['dimension'].iloc[-1])}"


def declared_modules(run: Run) -> dict[str, dict[str, Any]]:
    """Return what the run says of each module: trained, on the evaluated path."""
    return run.settings.get("modules") or {}
