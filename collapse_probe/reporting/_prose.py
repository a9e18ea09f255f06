"""The sentences of a report that depend on what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnosis import (
    HEADLINE,
    Finding,
    Status,
    difference,
    evaluated_path,
    evaluation_records,
    last_trained,
)
from ..journal import Run
from ._tables import PATH_LABELS
from ._text import interval, md, number, percent, score, signed


def in_short(run: Run, findings: Sequence[Finding]) -> list[str]:
    """Return the findings that a reader needs first, as Markdown sentences with their numbers."""
    return [
        *_ending(run),
        *_retrieval(run),
        *_predictor(run, findings),
        *_residual(run),
        *_scale(run),
        *_selection(findings),
    ]


def limits(run: Run, findings: Sequence[Finding]) -> list[str]:
    """Return what the run does and does not show."""
    lines = []
    if any(f.code == "CP202" and f.status is Status.WARNING for f in findings):
        trained = [name for name, m in _modules(run).items() if m.get("trained") and m.get("on_evaluated_path")]
        modules = ", ".join(md(name) for name in trained) or "none of the trained ones"
        lines.append(
            "The scores with and without predictor agree while nDCG fell, so **the predictor is not what changed the "
            f"scores**. Trained modules on the evaluated path: {modules}. That the fall comes through them follows from "
            "where the predictor is; which of their losses drives it does not. An intervention decides: run again with "
            "one field changed (`--freeze-projection`, `--detach-delta`, `--lambda-residual 0`)."
        )
    off_path = [name for name, module in _modules(run).items() if not module.get("on_evaluated_path")]
    if off_path:
        names = ", ".join(md(name) for name in off_path)
        lines.append(f"Not on the evaluated path ({PATH_LABELS[evaluated_path(run)]}): {names}.")
    if "founding_monitor" in run.config.get("probes", {}):
        lines.append(
            "The founding document's monitor ranges are absolute. An untrained predictor passes or fails them whatever it "
            "is worth; the ratio ‖αδ‖ / ‖d−q‖ and the identity gain are free of scale."
        )
    lines.append(
        "Ranks and cosines cannot see scale, and ranks at different n or of different texts cannot be compared: read "
        "them beside norm and standard deviation, and against the raw encoder's on the same texts."
    )
    lines.append(
        "One run is one seed. Intervals are over queries; the spread over seeds comes on top. Everything here describes "
        "this run; no cause is confirmed without an intervention."
    )
    return lines


def _ending(run: Run) -> list[str]:
    if run.status == "completed":
        return []
    ends = run.records("end")
    message = f": {md(ends[-1]['message'])}" if ends and ends[-1].get("message") else ""
    return [f"**The run is {run.status}**{message}. What follows is what was recorded until then."]


def _retrieval(run: Run) -> list[str]:
    lines = []
    records = evaluation_records(run)
    for collection, path, epoch in last_trained(run):
        now = float(records[(collection, path, epoch)]["metrics"][HEADLINE])
        for label, reference in (("the raw encoder", ("raw", 0)), ("step 0", (path, 0))):
            change = difference(run, collection, reference, (path, epoch))
            if change is None:
                continue
            start = float(records[(collection, *reference)]["metrics"][HEADLINE])
            verb = "fell" if change.high < 0 else "rose" if change.low > 0 else "did not change by more than noise"
            relative = f", {percent(change.mean / start)}" if start else ""
            lines.append(
                f"On {md(collection)}, nDCG@10 {PATH_LABELS[path]} **{verb}** against {label}: {score(start)} to "
                f"{score(now)} after epoch {epoch} ({interval(change)}{relative}, paired over n = {change.n} queries)."
            )
    if not lines and records:
        for (collection, path, _), record in records.items():
            lines.append(
                f"On {md(collection)}, the {PATH_LABELS[path]} scores nDCG@10 {score(float(record['metrics'][HEADLINE]))} "
                f"(n = {record['n_queries']} queries)."
            )
    return lines


def _predictor(run: Run, findings: Sequence[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        if finding.code == "CP202" and finding.status is Status.WARNING:
            collection = finding.title.split(":")[0]
            lines.append(
                f"On {md(collection)}, scoring with the predictor instead of without changes nDCG@10 by "
                f"{signed(finding.value or 0.0)} (n = {finding.n} queries; {md(finding.expected)}). "
                "**The predictor is not what changed the scores.**"
            )
    return lines


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
        n = int(ratios["n"].iloc[-1])
        text += f"; the applied correction is {number(end)} of ‖d−q‖ at the end, {number(start)} at step 0 (n = {n:,}, without dropout)"
    return [text + "."]


def _scale(run: Run) -> list[str]:
    lines = []
    for tap, name in (("document", "document"), ("query", "query")):
        std = run.readings(f"{tap}/std_mean")
        rank = run.readings(f"{tap}/participation_ratio")
        cosine = run.readings(f"{tap}/mean_cosine")
        if len(std) < 2 or len(rank) < 2 or len(cosine) < 2:
            continue
        pairs = [(float(f["value"].iloc[0]), float(f["value"].iloc[-1])) for f in (std, rank, cosine)]
        raw = run.readings(f"raw_{tap}/participation_ratio")
        beside = f" (raw encoder {number(float(raw['value'].iloc[0]))})" if len(raw) else ""
        (s0, s1), (r0, r1), (c0, c1) = pairs
        factor = f", a factor of {number(s1 / s0, digits=3)}" if s0 else ""
        lines.append(
            f"Between step 0 and the last epoch, the {name} embeddings' standard deviation per dimension went from "
            f"{number(s0)} to {number(s1)}{factor}, the participation ratio from {number(r0)} to {number(r1)}{beside}, "
            f"the mean cosine between different texts from {number(c0)} to {number(c1)} "
            f"(n = {int(std['n'].iloc[-1]):,}, D = {int(std['dimension'].iloc[-1])})."
        )
    return lines


def _selection(findings: Sequence[Finding]) -> list[str]:
    return [
        f"Selecting the checkpoint by validation loss would lose **{number(f.value)}** nDCG@10 on "
        f"{md(f.title.split(':')[0])}: it {md(f.expected.partition('it ')[2])}."
        for f in findings
        if f.code == "CP203" and f.status is Status.WARNING
    ]


def _modules(run: Run) -> dict[str, dict[str, bool]]:
    return run.config.get("modules", {})
