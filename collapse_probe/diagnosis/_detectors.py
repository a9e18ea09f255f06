"""The detectors: from a run alone to findings."""

from __future__ import annotations

from collections.abc import Callable

from ..journal import Run
from ._finding import Finding, Status
from ._overlap import trained_documents
from ._ranges import range_findings
from ._retrieval import exact_scores, predictor_share, retrieval_change, tied_scores, unverified_vectors
from ._selection import loss_rank_correlation, validation_against_retrieval


def finite_loss(run: Run) -> list[Finding]:
    """CP001: every loss was finite."""
    bad = [event for event in run.records("event") if event["name"] == "not_finite"]
    readings = run.readings("loss/total")
    if bad:
        status, onset = Status.COLLAPSED, int(bad[0]["step"])
    elif len(readings):
        status, onset = Status.HEALTHY, None
    elif not run.settings.get("pairs"):
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
        watched = "coverage" in run.settings.get("watch", ())
        status = Status.NOT_MEASURED if watched and run.settings.get("pairs") else Status.NOT_APPLICABLE
        return [_coverage_finding("coverage of the taps", status, None, None, ())]
    findings = []
    for tap in dict.fromkeys(record["tap"] for record in records):
        of_tap = [record for record in records if record["tap"] == tap]
        calls = sum(record["calls"] for record in of_tap)
        shares = [record["finite_share"] for record in of_tap if record["finite_share"] is not None]
        if calls == 0 or not shares:
            status = Status.NOT_MEASURED
        else:
            status = Status.WARNING if any(share < 1 for share in shares) else Status.HEALTHY
        n = sum(record["n"] for record in of_tap)
        value = min(shares) if shares else None
        findings.append(_coverage_finding(f"tap {tap}: share of finite values", status, value, n, (tap,)))
    return findings


Detector = Callable[[Run], list[Finding]]

ALL_DETECTORS: tuple[Detector, ...] = (
    finite_loss,
    coverage,
    range_findings,
    retrieval_change,
    predictor_share,
    validation_against_retrieval,
    loss_rank_correlation,
    trained_documents,
    tied_scores,
    exact_scores,
    unverified_vectors,
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
