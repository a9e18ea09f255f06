"""From a run to its diagnosis."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..journal import Event, LiveRun, Run
from ..journal.vocabulary import at_dimension
from ._contract import Finding, Status
from ._curves import Curve
from ._delivered import delivered_of
from ._evaluations import REFERENCE
from ._evidence import Evidence
from ._fallen import Fallen, who_fell
from ._findings import examined, ignored_codes
from ._forecast import with_forecast
from ._kinds import kinds, of_cut, place
from ._measured import Heard, NotMeasured, heard, not_measured
from ._nearest import with_nearest
from ._rows import FindingRow, rows_of
from .causes import VERDICTS, Cause, Decisions, causes_of

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a run is: its findings in numbers, and the first screen.

    Attributes:
        run: Its folder, or its name where it is kept in memory only.
        status: ``healthy``, ``warning``, ``critical`` or ``not measured``.
        summary: The first screen: plain text, at most 24 lines of 100 columns and 2 kB.
        steps: Optimiser steps done.
        findings: What every detector says, the gravest first; healthy, cleared and ignored ones too.
        kinds: What is raised or confirmed now, in the order of what explains what.
        causes: Causes that concern a kind, the most certain first.
        retrieval: Every collection, and the pairs: raw, start, end, change. Of batches the start and the end are the
            means of several readings, which the change is between.
        heard: The streams that were heard.
        not_measured: What was not measured, the essential first.
        errors: Faults of ours that were contained.
        who_fell: Queries that lost and what took their places, by collection; empty while the run goes on.
        delivered: Whose weights the training left: ``step`` (0 for the start, None where it is not known), ``last``,
            the last step, and ``said``, a sentence; None where they are those of the last step.
    """

    run: str
    status: Status
    summary: str
    steps: int
    findings: tuple[Finding, ...]
    kinds: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    retrieval: tuple[dict[str, Any], ...]
    heard: tuple[Heard, ...]
    not_measured: tuple[NotMeasured, ...]
    errors: tuple[dict[str, Any], ...]
    who_fell: tuple[Fallen, ...] = ()
    delivered: dict[str, Any] | None = None

    @property
    def exit_code(self) -> int:
        """0 for healthy and warning, 1 for critical and not measured."""
        return 1 if self.status in (Status.CRITICAL, Status.NOT_MEASURED) else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON has it; numbers that are absent or not finite are None."""
        plain = {
            "schema": SCHEMA,
            "run": self.run,
            "status": self.status.value,
            "exit_code": self.exit_code,
            "summary": self.summary,
            "steps": self.steps,
            "errors": list(self.errors),
            "heard": [asdict(one) for one in self.heard],
            "retrieval": list(self.retrieval),
            "kinds": [_as_dict(one) for one in self.kinds],
            "causes": [one.to_dict() for one in self.causes],
            "findings": [{**_as_dict(one), **_more(one)} for one in self.findings],
            "not_measured": [asdict(one) for one in self.not_measured],
            "who_fell": [one.to_dict() for one in self.who_fell],
            "delivered": self.delivered,
        }
        return _finite(plain)

    def _repr_html_(self) -> str:
        """Return the first screen, and the claims of the report's page, for a notebook."""
        from .screen import screen_html

        return screen_html(self.summary, self.kinds)

    def __str__(self) -> str:
        return self.summary


def diagnose(run: Any, *, ablation: Any = None, ignore: tuple[str, ...] | list[str] = ()) -> Diagnosis:
    """Say whether a run is healthy, what happened, since when, and what was not measured. Reads its journal.

    Args:
        run: A run folder's path, a ``Run``, a ``LiveRun``, or whatever has one of them as ``live`` or ``run``.
        ablation: An ``Ablation`` or its folder, of a training like this run's: what its interventions showed decides
            the causes. None for the verdicts that ``ablate`` left beside the run, where there are any.
        ignore: Codes that do not count, ``CODE`` or ``CODE=reason``; they are listed all the same.

    Raises:
        InputError: no such run or ablation, one that cannot be read, or a code that no detector has.
    """
    decisions = None if ablation is None else Decisions.of_ablation(ablation)
    return diagnosed(as_run(run), ignore=tuple(ignore), decisions=decisions)[1]


def diagnosed(
    run: LiveRun, *, ignore: tuple[str, ...] = (), width: int = 100, decisions: Decisions | None = None
) -> tuple[Evidence, Diagnosis, list[FindingRow]]:
    """Return a run's diagnosis with what it rests on: the evidence, and its findings as rows of a table.

    Args:
        run: The run.
        ignore: As in :func:`diagnose`.
        width: Columns of the summary; 60 at least.
        decisions: What interventions showed; None for what lies beside the run.
    """
    from .screen import first_screen

    evidence = Evidence(run)
    ignored = ignored_codes(evidence.config.probes, ignore)
    everything = with_nearest(list(examined(evidence, ignored=ignored)))
    found = with_forecast(evidence, sorted((one for _, _, one in everything), key=place))
    missing = not_measured(evidence, found)
    status = status_by(found, missing, ended=evidence.ended)
    now = kinds(found)
    decisions = Decisions.beside(run) if decisions is None else decisions
    # Mechanisms are read of whole embeddings: what became of their first columns alone they do not explain.
    why = causes_of(evidence, [one for one in now if not of_cut(one)], decisions)
    rows = tuple(_row(evidence, curve) for curve in evidence.curves) + _unpaired(evidence) + _of_cuts(evidence)
    folder, lost = evidence.run.folder, who_fell(evidence)
    diagnosis = Diagnosis(
        run=str(folder) if folder is not None else evidence.run.name,
        status=status,
        summary=first_screen(
            evidence,
            width=width,
            status=status,
            kinds=now,
            causes=why,
            missing=missing,
            rows=rows,
            findings=found,
            lost=lost,
        ),
        steps=evidence.run.steps,
        findings=found,
        kinds=now,
        causes=why,
        retrieval=rows,
        heard=heard(evidence),
        not_measured=missing,
        errors=tuple(
            {"what": one.subject, "message": one.message, "step": one.step}
            for one in evidence.run.of(Event)
            if one.name == "error"
        )
        + (({"what": VERDICTS, "message": decisions.fault, "step": None},) if decisions.fault else ()),
        who_fell=lost,
        delivered=delivered_of(evidence),
    )
    return evidence, diagnosis, rows_of(everything, start=evidence.config.start)


def as_run(run: Any) -> LiveRun:
    """Return the run that a path, a run, or something that has one stands for.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(run, LiveRun):
        return run
    if isinstance(run, str | Path):
        return Run.load(run)
    for name in ("live", "run"):
        inner = getattr(run, name, None)
        if isinstance(inner, LiveRun | str | Path):
            return as_run(inner)
    raise InputError(f"cannot read a run from a {type(run).__name__}: give a run folder's path, a Run or a Watch")


def status_by(found: tuple[Finding, ...], missing: tuple[NotMeasured, ...], *, ended: bool) -> Status:
    """Return the status of all: critical where a finding is, and sure; else by what is essential and missing."""
    grave = [one for one in found if one.grave]
    if any(one.status is Status.CRITICAL and (ended or one.state == "confirmed") for one in grave):
        return Status.CRITICAL
    if any(one.essential for one in missing):
        return Status.NOT_MEASURED
    return Status.WARNING if grave else Status.HEALTHY


def _row(evidence: Evidence, curve: Curve) -> dict[str, Any]:
    by = {one.against: one for one in curve.changes}
    shown = by.get("start") or by.get("raw")
    interval = shown.interval if shown else None
    change = None
    if shown is not None:
        absolute = shown.after - shown.before
        scale = absolute / shown.value if shown.value and curve.metric == "d_prime" else 1.0
        change = {
            "value": absolute if interval is None else shown.value * scale,
            "low": None if interval is None else interval.low * scale,
            "high": None if interval is None else interval.high * scale,
            "p": None if interval is None else interval.p,
        }
    inside = {True: "in", False: "out", None: None}[curve.inside]
    return {
        "collection": curve.name,
        "domain": inside,
        "metric": curve.metric,
        "n": interval.n if interval is not None else None,
        "raw": by["raw"].before if "raw" in by else None,
        "start": by["start"].before if "start" in by else None,
        "end": shown.after if shown else curve.values[-1],
        "change": change,
    }


def _of_cuts(evidence: Evidence) -> tuple[dict[str, Any], ...]:
    """Return the rows of embeddings' first columns."""
    return tuple(
        {**_row(cut, curve), "collection": at_dimension(curve.name, dimension)}
        for dimension, cut in evidence.cuts.items()
        for curve in cut.curves
    )


def _unpaired(evidence: Evidence) -> tuple[dict[str, Any], ...]:
    """Return a row for every collection and variant that was scored and has no change."""
    known, rows = {curve.name for curve in evidence.curves}, []
    for name, collection, variant in evidence.evaluations.subjects:
        metric, raw = evidence.evaluations.metric(collection, variant), evidence.evaluations.raw(collection)
        scored = evidence.evaluations.of(collection, variant)
        last = scored[-1] if scored else None
        if name in known or metric is None or (last or raw) is None:
            continue
        rows.append(
            {
                "collection": name,
                "domain": "in" if collection == REFERENCE else (last or raw).domain,  # type: ignore[union-attr]
                "metric": metric,
                "n": (last or raw).n_queries,  # type: ignore[union-attr]
                "raw": raw.metrics.get(metric) if raw else None,
                "start": scored[0].metrics.get(metric) if len(scored) > 1 else None,
                "end": last.metrics.get(metric) if last else None,
                "change": None,
            }
        )
    return tuple(rows)


def _as_dict(finding: Finding) -> dict[str, Any]:
    judgement = finding.judgement
    onset = judgement.onset if judgement and finding.state else None
    bounds = judgement.bounds if judgement else None
    forecast = judgement.forecast if judgement else None
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "code": finding.code,
        "status": finding.status.value,
        "state": finding.state,
        "raised": judgement.outside[0] if judgement and judgement.outside and finding.state else None,
        "onset": asdict(onset) if onset else None,
        "forecast": asdict(forecast) if forecast else None,
        "value": judgement.value if judgement else None,
        "bounds": {name: getattr(bounds, name, None) for name in ("warning", "critical")},
    }


def _more(finding: Finding) -> dict[str, Any]:
    conditions = finding.judgement.conditions if finding.judgement else ()
    return {
        "evidence": list(finding.evidence),
        "conditions": [
            {"reading": one.reading, "value": one.value, "cut": one.cut, "holds": one.holds, "harm": one.harm}
            for one in conditions
        ],
        "causes": list(finding.causes),
        "ignored": finding.ignored,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
