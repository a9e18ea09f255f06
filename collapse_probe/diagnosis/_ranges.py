"""Readings against the expected ranges that the run's probes declare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..journal import Run
from ._finding import Finding, Status


def range_findings(run: Run) -> list[Finding]:
    """Return a finding for every expected range of every watched probe.

    The judged value is the mean over the last epoch where there is one, else the last reading. A range with
    ``relative_to`` is about the ratio to that reading's first value.
    """
    findings = []
    for probe, declared in run.config.get("probes", {}).items():
        for entry in declared.get("expected", ()):
            findings.append(_judge(run, probe, entry))
    return findings


def _judge(run: Run, probe: str, entry: Mapping[str, Any]) -> Finding:
    name = entry["reading"]
    code = str(entry.get("code", "CP101"))
    common = {
        "code": code,
        "title": _title(probe, entry),
        "expected": _expected(entry),
        "why": str(entry.get("why", "")),
        "remedy": str(entry.get("remedy", "")),
        "source": str(entry.get("source", "")),
    }
    if name.startswith("delta") and not _has_residual_predictor(run):
        return Finding(status=Status.NOT_APPLICABLE, evidence=(name,), **common)
    reference = _reference(run, entry)
    series = run.readings(name)
    summary = run.readings(f"{name}.mean")
    judged = summary if len(summary) else series
    if not len(judged) or reference is None:
        return Finding(status=Status.NOT_MEASURED, evidence=(name,), **common)
    last = judged.iloc[-1]
    value = float(last["value"]) / reference
    return Finding(
        status=_status(value, entry),
        value=value,
        onset_step=_onset(series, reference, entry) if _status(value, entry) is not Status.HEALTHY else None,
        evidence=tuple(filter(None, (str(last["name"]), entry.get("relative_to")))),
        n=int(last["n"]),
        **common,
    )


def _title(probe: str, entry: Mapping[str, Any]) -> str:
    relative = f" / {entry['relative_to']}" if entry.get("relative_to") else ""
    return f"{entry['reading']}{relative} ({probe})"


def _has_residual_predictor(run: Run) -> bool:
    return run.config.get("recipe", {}).get("predictor") == "residual"


def _reference(run: Run, entry: Mapping[str, Any]) -> float | None:
    if not entry.get("relative_to"):
        return 1.0
    first = run.readings(entry["relative_to"])
    if not len(first):
        return None
    value = float(first["value"].iloc[0])
    return value if value != 0 and math.isfinite(value) else None


def _status(value: float, entry: Mapping[str, Any]) -> Status:
    if not math.isfinite(value):
        return Status.COLLAPSED
    if value < entry.get("collapsed_below", -math.inf) or value > entry.get("collapsed_above", math.inf):
        return Status.COLLAPSED
    if value < entry.get("min", -math.inf) or value > entry.get("max", math.inf):
        return Status.WARNING
    return Status.HEALTHY


def _onset(series: pd.DataFrame, reference: float, entry: Mapping[str, Any]) -> int | None:
    """Return the first step from which every later reading is outside the range."""
    onset = None
    for step, value in zip(series["step"], series["value"], strict=True):
        if _status(float(value) / reference, entry) is Status.HEALTHY:
            onset = None
        elif onset is None:
            onset = int(step)
    return onset


def _expected(entry: Mapping[str, Any]) -> str:
    low, high = entry.get("min", entry.get("collapsed_below")), entry.get("max", entry.get("collapsed_above"))
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"
