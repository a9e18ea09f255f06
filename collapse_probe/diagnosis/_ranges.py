"""Readings against the expected ranges that the run's probes declare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from ..journal import Run
from ._finding import Finding, Status

_NOT_FINITE_WHY = "the reading is not finite, so something that it is computed from is not"
_NOT_FINITE_REMEDY = "Find the first step where the loss (CP001) or a tap (CP002) was not finite"


def range_findings(run: Run) -> list[Finding]:
    """Return a finding for every expected range of every watched probe.

    The judged value is the mean over the last epoch where there is one, else the last reading. A range with
    ``relative_to`` is about the ratio to that reading's first value.
    """
    findings = []
    for probe, declared in run.settings.get("probes", {}).items():
        for entry in declared.get("expected", ()):
            findings.append(_judge(run, probe, entry))
    return findings


def _judge(run: Run, probe: str, entry: Mapping[str, Any]) -> Finding:
    name = str(entry["reading"])
    base = Finding(
        code=str(entry.get("code", "CP101")),
        title=_title(probe, entry),
        status=Status.NOT_MEASURED if _can_be_read(run, name) else Status.NOT_APPLICABLE,
        expected=_expected(entry),
        evidence=(name,),
        why=str(entry.get("why", "")),
        remedy=str(entry.get("remedy", "")),
        source=str(entry.get("source", "")),
        subject=name,
    )
    reference = _reference(run, entry)
    series = run.readings(name)
    summary = run.readings(f"{name}.mean")
    judged = summary if len(summary) else series
    if not len(judged) or reference is None:
        return base
    last = judged.iloc[-1]
    value = float(last["value"]) / reference
    status = _status(value, entry)
    if not math.isfinite(value):
        base = replace(base, why=_NOT_FINITE_WHY, remedy=_NOT_FINITE_REMEDY)
    return replace(
        base,
        status=status,
        value=value,
        onset_step=None if status is Status.HEALTHY else _onset(series, reference, entry),
        evidence=tuple(filter(None, (str(last["name"]), entry.get("relative_to")))),
        n=int(last["n"]),
    )


def _title(probe: str, entry: Mapping[str, Any]) -> str:
    relative = f" / {entry['relative_to']}" if entry.get("relative_to") else ""
    return f"{entry['reading']}{relative} ({probe})"


def _can_be_read(run: Run, name: str) -> bool:
    """Return whether the run has what the reading is about: training, and for delta a residual predictor."""
    if name.startswith("delta") and (run.settings.get("recipe") or {}).get("predictor") != "residual":
        return False
    return bool(run.settings.get("pairs"))


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
    """Return the range in words, and where beyond it a collapse begins.

    >>> _expected({"min": -0.5, "max": 0.5, "collapsed_below": -1.0})
    '-0.5 to 0.5; collapsed below -1'
    """
    low, high = entry.get("min"), entry.get("max")
    parts = []
    if low is not None and high is not None:
        parts.append(f"{low:g} to {high:g}")
    elif low is not None or high is not None:
        parts.append(f"at most {high:g}" if low is None else f"at least {low:g}")
    ends = [f"{side} {entry[key]:g}" for side in ("below", "above") if (key := f"collapsed_{side}") in entry]
    if ends:
        parts.append("collapsed " + " or ".join(ends))
    return "; ".join(parts) or "finite"
