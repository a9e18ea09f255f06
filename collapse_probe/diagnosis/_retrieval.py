"""Detectors of what training did to retrieval: the verdicts that a user asks for."""

from __future__ import annotations

import math
from dataclasses import replace

from ..journal import Run
from ..statistics import Onset, PairedDifference, bracket
from . import _scores
from ._finding import Finding, Status

FALL_COLLAPSED = 0.05
"""Relative fall of nDCG@10 above which a resolved fall is a collapse (own choice)."""

AGREEMENT = 0.1
"""Share of the fall below which the paths with and without predictor are said to agree (own choice)."""

TIES = 0.01
"""Share of tied places in the top 10 above which scores partly measure document ids (own choice)."""


def fall_onset(run: Run, collection: str, path: str, reference: tuple[str, int]) -> Onset | None:
    """Return since when every evaluation is resolved below the reference: from the last good to the first bad one.

    Args:
        run: The run.
        collection: Label of the collection.
        path: Which scoring path.
        reference: (path, epoch) to compare with.
    """
    records = _scores.evaluation_records(run)
    steps, bad = [], []
    for epoch in _scores.epochs(run, collection, path):
        change = _scores.difference(run, collection, reference, (path, epoch))
        steps.append(int(records[(collection, path, epoch)]["step"]))
        bad.append(change is not None and change.high < 0)
    return bracket(steps, bad)


def retrieval_change(run: Run) -> list[Finding]:
    """CP201: nDCG@10 after the last epoch against step 0 of the same path, and against the raw encoder."""
    return [
        _change(run, collection, (path, epoch), title, reference)
        for collection, path, epoch in _scores.last_trained(run)
        for title, reference in (("step 0", (path, 0)), ("the raw encoder", ("raw", 0)))
    ]


def predictor_share(run: Run) -> list[Finding]:
    """CP202: whether the predictor can be what changed the scores.

    A warning says that it is not: retrieval fell, and scoring with the predictor gives the same.
    """
    if (run.settings.get("recipe") or {}).get("predictor", "none") != "residual":
        return []
    return [_agreement(run, collection, epoch) for collection, _, epoch in _scores.last_trained(run)]


def tied_scores(run: Run) -> list[Finding]:
    """CP204: whether ties let the metric measure document ids."""
    findings = []
    for collection in _scores.collections(run):
        records = [r for (label, _, _), r in _scores.evaluation_records(run).items() if label == collection]
        worst = max(records, key=lambda record: record["tied_share"])
        value = float(worst["tied_share"])
        findings.append(
            Finding(
                code="CP204",
                title=f"{collection}: largest share of tied scores in the top 10",
                status=Status.WARNING if value > TIES else Status.HEALTHY,
                value=value,
                expected=f"at most {TIES:g}",
                evidence=(f"{collection}/tied_share",),
                why="equal scores are ordered by document id, so the metric partly measures names",
                remedy="Look at the embeddings' scale and mean cosine; score in a higher precision",
                source="trec_eval's tie rule; the cut is collapse-probe's own",
                n=int(worst["n_queries"]),
                subject=collection,
            )
        )
    return findings


def exact_scores(run: Run) -> list[Finding]:
    """CP511: whether the raw encoder finds everything or nothing, which says more of the ids than of the encoder."""
    findings = []
    for (collection, path, _), record in _scores.evaluation_records(run).items():
        value = float(record["metrics"].get(_scores.HEADLINE, math.nan))
        if path != "raw" or value not in (0.0, 1.0):
            continue
        nothing = value == 0.0
        findings.append(
            Finding(
                code="CP511",
                title=f"{collection}: nDCG@10 of the raw encoder is exactly {value:g}",
                status=Status.COLLAPSED if nothing else Status.WARNING,
                value=value,
                expected="between 0 and 1",
                evidence=(f"{collection}/{_scores.HEADLINE}",),
                why=(
                    "an encoder that finds nothing at all is rarer than ids or judgements that do not fit"
                    if nothing
                    else "a collection on which everything is found cannot show a gain, and a fall only late"
                ),
                remedy=(
                    "Look at the ids of queries and documents, and at documents with their query's id"
                    if nothing
                    else "Score a larger collection, or one with more documents that are not relevant"
                ),
                source="own choice",
                n=int(record["n_queries"]),
                subject=collection,
            )
        )
    return findings


def unverified_vectors(run: Run) -> list[Finding]:
    """CP512: whether the vectors come from a store that could not be compared with the encoder."""
    encoder = run.settings.get("encoder") or {}
    later = [label for (label, _, _), r in _scores.evaluation_records(run).items() if r.get("verified") is False]
    if encoder.get("verified") is not False and not later:
        return []
    where = "" if encoder.get("verified") is False else f" for {', '.join(dict.fromkeys(later))}"
    return [
        Finding(
            code="CP512",
            title=f"stored vectors were used unverified{where}",
            status=Status.WARNING,
            value=None,
            expected="an encoder that gives the stored vectors again",
            evidence=("run.json/encoder",),
            why=f"{encoder.get('name')} was not on the machine, so that no text could be encoded again to compare",
            remedy="Run again where the encoder is; its path or name is enough",
            source="a few texts of each store are encoded again",
            subject=str(encoder.get("name")),
        )
    ]


def _change(run: Run, collection: str, now: tuple[str, int], title: str, reference: tuple[str, int]) -> Finding:
    change = _scores.difference(run, collection, reference, now)
    status = _fall_status(run, collection, reference, change)
    fell = status in (Status.WARNING, Status.COLLAPSED)
    onset = fall_onset(run, collection, now[0], reference) if fell else None
    return Finding(
        code="CP201",
        title=f"{collection}: change of nDCG@10 against {title}, epoch {now[1]}",
        status=status,
        value=None if change is None else change.mean,
        expected="no fall" + _interval_in_words(change),
        onset_step=None if onset is None else onset.step,
        evidence=(f"{collection}/{_scores.HEADLINE}",),
        why="this is what the model is for; a falling loss says nothing about it",
        remedy="Keep step 0 and the raw encoder among the candidates, and select by development nDCG",
        source="paired over queries; collapsed: a resolved fall of more than 5 % (own cut)",
        n=None if change is None else change.n,
        subject=collection,
    )


def _fall_status(run: Run, collection: str, reference: tuple[str, int], change: PairedDifference | None) -> Status:
    if change is None or math.isnan(change.high):
        return Status.NOT_MEASURED
    if change.high >= 0:
        return Status.HEALTHY
    record = _scores.evaluation_records(run)[(collection, *reference)]
    start = float(record["metrics"][_scores.HEADLINE])
    return Status.COLLAPSED if start > 0 and -change.mean / start > FALL_COLLAPSED else Status.WARNING


def _interval_in_words(change: PairedDifference | None) -> str:
    if change is None:
        return ""
    if math.isnan(change.high):
        return f"; no interval from n = {change.n} queries"
    resolved = "" if change.resolved else f", not resolved at this n (would resolve {change.smallest_resolvable:.3f})"
    p_values = f"p = {change.p_value:.2g} (t test), {change.randomisation_p:.2g} (sign flips)"
    return f"; 95 % interval {change.low:+.4f} to {change.high:+.4f}{resolved}; {p_values}"


def _agreement(run: Run, collection: str, epoch: int) -> Finding:
    fall = _scores.difference(run, collection, ("no_predictor", 0), ("no_predictor", epoch))
    gap = _scores.difference(run, collection, ("no_predictor", epoch), ("predictor", epoch))
    base = Finding(
        code="CP202",
        title=f"{collection}: nDCG@10 with predictor minus without, epoch {epoch}",
        status=Status.NOT_MEASURED,
        evidence=(f"{collection}/{_scores.HEADLINE}",),
        why="one of the two paths was not scored, or on fewer than two queries",
        remedy="Look at the modules on the evaluated path: re-run with --freeze-projection",
        source="paired over queries; agreement is a gap below a tenth of the fall (own cut)",
        subject=collection,
    )
    if fall is None or gap is None or math.isnan(fall.high) or math.isnan(gap.high):
        return base
    agrees = fall.high < 0 and _agrees(fall, gap)
    return replace(
        base,
        status=Status.WARNING if agrees else Status.HEALTHY,
        value=gap.mean,
        expected=f"95 % interval {gap.low:+.4f} to {gap.high:+.4f}, beside {fall.mean:+.4f} since step 0",
        why=(
            "the scores with and without predictor agree, so the predictor is not what changed them"
            if agrees
            else "the difference is what the predictor itself does to the scores"
        ),
        n=gap.n,
    )


def _agrees(fall: PairedDifference, gap: PairedDifference) -> bool:
    """Return whether the gap is small beside the fall, and its whole interval smaller than the fall."""
    widest = max(abs(gap.low), abs(gap.high))
    return abs(gap.mean) < AGREEMENT * abs(fall.mean) and widest < abs(fall.mean)
