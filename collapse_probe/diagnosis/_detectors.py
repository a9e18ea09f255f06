"""The detectors: from a run alone to findings."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..journal import Run
from . import _scores
from ._finding import Finding, Status
from ._ranges import range_findings

FALL_COLLAPSED = 0.05
"""Relative fall of nDCG@10 from step 0 above which a resolved fall is a collapse (own choice)."""

AGREEMENT = 0.1
"""Share of the fall below which the paths with and without predictor are said to agree (own choice)."""

TIES = 0.01
"""Share of tied places in the top 10 above which scores partly measure document ids (own choice)."""


def finite_loss(run: Run) -> list[Finding]:
    """CP001: every loss was finite."""
    bad = [event for event in run.records("event") if event["name"] == "nan_loss"]
    readings = run.readings("loss/total")
    if bad:
        status, onset = Status.COLLAPSED, int(bad[0]["step"])
    elif len(readings):
        status, onset = Status.HEALTHY, None
    elif not run.config.get("pairs"):
        status, onset = Status.NOT_APPLICABLE, None
    else:
        status, onset = Status.NOT_MEASURED, None
    return [
        Finding(
            code="CP001",
            title="loss is finite",
            status=status,
            expected="finite at every step",
            onset_step=onset,
            evidence=("loss/total",),
            why="after a loss that is not finite every weight is lost",
            remedy="Lower --learning-rate, or train in fp32; the last checkpoint before the step is kept",
            source="collapse-probe",
        )
    ]


def coverage(run: Run) -> list[Finding]:
    """CP002: every tap that was watched heard finite values."""
    records = run.records("coverage")
    if not records:
        watched = "coverage" in run.config.get("watch", ())
        status = Status.NOT_MEASURED if watched and run.config.get("pairs") else Status.NOT_APPLICABLE
        return [_coverage_finding("coverage of the taps", status, None, None, ())]
    findings = []
    for tap in dict.fromkeys(record["tap"] for record in records):
        of_tap = [record for record in records if record["tap"] == tap]
        calls = sum(record["calls"] for record in of_tap)
        shares = [record["finite_share"] for record in of_tap if record["finite_share"] is not None]
        if calls == 0:
            status = Status.NOT_MEASURED
        else:
            status = Status.WARNING if any(share < 1 for share in shares) else Status.HEALTHY
        n = sum(record["n"] for record in of_tap)
        value = min(shares) if shares else None
        findings.append(_coverage_finding(f"tap {tap}: share of finite values", status, value, n, (tap,)))
    return findings


def retrieval_change(run: Run) -> list[Finding]:
    """CP201: nDCG@10 after the last epoch against step 0 of the same path, and against the raw encoder."""
    findings = []
    for collection, path, epoch in _scores.last_trained(run):
        for title, reference in (("step 0", (path, 0)), ("the raw encoder", ("raw", 0))):
            change = _scores.difference(run, collection, reference, (path, epoch))
            records = _scores.evaluation_records(run)
            status, expected = Status.NOT_MEASURED, "no fall"
            if change is not None:
                start = float(records[(collection, *reference)]["metrics"][_scores.HEADLINE])
                expected = f"no fall; 95 % interval {change.low:+.4f} to {change.high:+.4f}"
                fell = change.high < 0
                deep = fell and start > 0 and -change.mean / start > FALL_COLLAPSED
                status = Status.COLLAPSED if deep else Status.WARNING if fell else Status.HEALTHY
                if not change.resolved:
                    expected += ", not resolved at this n"
            findings.append(
                Finding(
                    code="CP201",
                    title=f"{collection}: change of nDCG@10 against {title}, epoch {epoch}",
                    status=status,
                    value=None if change is None else change.mean,
                    expected=expected,
                    onset_step=_fall_onset(run, collection, path, reference) if status is not Status.HEALTHY else None,
                    evidence=(f"{collection}/{_scores.HEADLINE}",),
                    why="this is what the model is for; a falling loss says nothing about it",
                    remedy="Keep step 0 or the raw encoder among the candidates, and select by development nDCG",
                    source="paired over queries; 5 % of step 0 is collapse-probe's own cut",
                    n=None if change is None else change.n,
                )
            )
    return findings


def predictor_share(run: Run) -> list[Finding]:
    """CP202: whether the predictor can be what changed the scores.

    A warning says that it is not: retrieval fell, and scoring with the predictor gives the same.
    """
    findings = []
    if run.config.get("recipe", {}).get("predictor", "none") != "residual":
        return findings
    for collection, _, epoch in _scores.last_trained(run):
        fall = _scores.difference(run, collection, ("no_predictor", 0), ("no_predictor", epoch))
        gap = _scores.difference(run, collection, ("no_predictor", epoch), ("predictor", epoch))
        if fall is None or gap is None:
            continue
        agrees = fall.high < 0 and max(abs(gap.low), abs(gap.high)) < abs(fall.mean) and abs(
            gap.mean
        ) < AGREEMENT * abs(fall.mean)
        findings.append(
            Finding(
                code="CP202",
                title=f"{collection}: nDCG@10 with predictor minus without, epoch {epoch}",
                status=Status.WARNING if agrees else Status.HEALTHY,
                value=gap.mean,
                expected=f"95 % interval {gap.low:+.4f} to {gap.high:+.4f}, beside a change of {fall.mean:+.4f} without",
                evidence=(f"{collection}/{_scores.HEADLINE}",),
                why=(
                    "the scores with and without predictor agree, so the predictor is not what changed them"
                    if agrees
                    else "the difference is what the predictor itself does to the scores"
                ),
                remedy="Look at the modules on the evaluated path: re-run with --freeze-projection",
                source="paired over queries; agreement is a gap below a tenth of the fall (own cut)",
                n=gap.n,
            )
        )
    return findings


def validation_against_retrieval(run: Run) -> list[Finding]:
    """CP203: whether selecting by validation loss would keep a bad checkpoint."""
    losses = run.readings("validation/total").drop_duplicates("epoch", keep="last").set_index("epoch")["value"]
    findings = []
    for collection, path, _ in _scores.last_trained(run):
        records = _scores.evaluation_records(run)
        scores = {e: float(records[(collection, path, e)]["metrics"][_scores.HEADLINE]) for e in losses.index
                  if (collection, path, e) in records}
        if len(scores) < 2:
            continue
        chosen = min(scores, key=lambda epoch: float(losses[epoch]))
        best = max(scores, key=lambda epoch: scores[epoch])
        regret = scores[best] - scores[chosen]
        opposed = chosen != best and scores[chosen] == min(scores.values())
        findings.append(
            Finding(
                code="CP203",
                title=f"{collection}: nDCG@10 lost by selecting on validation loss",
                status=Status.WARNING if opposed and regret > 0 else Status.HEALTHY,
                value=regret,
                expected=f"0: it picks epoch {chosen}, the best is epoch {best}, of {len(scores)} checkpoints",
                evidence=("validation/total", f"{collection}/{_scores.HEADLINE}"),
                why="the validation loss is smallest where retrieval is worst",
                remedy="Select by nDCG on a development split, with step 0 and the raw encoder as candidates",
                source="selection regret; with few checkpoints this is a description, not a test",
                n=len(scores),
            )
        )
    return findings


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
            )
        )
    return findings


Detector = Callable[[Run], list[Finding]]

ALL_DETECTORS: tuple[Detector, ...] = (
    finite_loss,
    coverage,
    range_findings,
    retrieval_change,
    predictor_share,
    validation_against_retrieval,
    tied_scores,
)
"""Every detector, in the order in which findings are listed."""


def findings(run: Run) -> list[Finding]:
    """Return what every detector says of a run."""
    return [finding for detector in ALL_DETECTORS for finding in detector(run)]


def _coverage_finding(
    title: str, status: Status, value: float | None, n: int | None, evidence: tuple[str, ...]
) -> Finding:
    return Finding(
        code="CP002",
        title=title,
        status=status,
        value=value,
        expected="1",
        evidence=evidence,
        why="a tap that heard nothing, or values that are not finite, make every reading of it void",
        remedy="Check that the tapped module is in the model and in training mode",
        source="collapse-probe",
        n=n,
    )


def _fall_onset(run: Run, collection: str, path: str, reference: tuple[str, int]) -> int | None:
    """Return the step of the first epoch from which every later one is resolved below the reference."""
    onset = None
    for epoch in _scores.epochs(run, collection, path):
        if (path, epoch) == reference:
            continue
        change = _scores.difference(run, collection, reference, (path, epoch))
        if change is None or math.isnan(change.high) or change.high >= 0:
            onset = None
        elif onset is None:
            onset = int(_scores.evaluation_records(run)[(collection, path, epoch)]["step"])
    return onset
