"""Whether numbers stayed finite, whether streams were heard, and whether the run came to its end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...journal import Event, Run
from ...journal.vocabulary import NOT_STREAMS
from .._contract import (
    Bounds,
    Detector,
    Judgement,
    NotApplicable,
    Onset,
    Remedy,
    Status,
    Subject,
    Threshold,
)
from .._evidence import Evidence

_OWN = "collapse-probe's own choice"
_OF_WEIGHTS = ("lost", "zeros")
"""Shares of weights, which of no weights at all were no number in journals written before."""

_WATCHED = ("finite_share", "norm_mean", "norm_median", "std_mean")
"""Readings that are numbers for all finite values: one that is not finite has an input that is not."""


def _divergence(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    found = [*_series(evidence), *_events(evidence), *_streams(evidence)]
    if not found:
        looked = any(reading.startswith(("loss/", "gradient/")) for reading, _, _ in evidence.run.keys)
        heard = any(one.finite_share is not None for records in evidence.heard.values() for one in records)
        if not looked and not heard and not evidence.config.trains:
            raise NotApplicable("nothing is trained")
        value = 0.0 if looked or heard else None
        return Judgement(value=value, bounds=_bounds(cuts), evidence=("loss/total", "gradient/norm"))
    first = min(step for _, step, _, _ in found)
    at_once = [one for one in found if one[1] == first]
    share = max(share for _, _, share, _ in found)
    # The loss is computed from the streams, and the gradient from the loss.
    ordered = sorted(at_once, key=lambda one: (one[0].partition("/")[0] in NOT_STREAMS, -one[2]))
    names = tuple(dict.fromkeys(name for name, *_ in ordered))
    low = max(low for _, _, _, low in at_once)
    return Judgement(
        value=share,
        bounds=_bounds(cuts),
        onset=Onset(step=first, low=low, high=first),
        outside=(first,),
        before=True,
        evidence=names,
    )


def _bounds(cuts: Mapping[str, float]) -> Bounds:
    return Bounds(warning=cuts["warning"], critical=cuts["critical"])


_Bad = tuple[str, int, float, int]
"""A name, its first step that is not finite, the share of readings since then that are not, the last good step."""


def _series(evidence: Evidence) -> list[_Bad]:
    found = []
    for reading in dict.fromkeys(key[0] for key in evidence.run.keys):
        stream, _, measure = reading.partition("/")
        scalar = stream in ("loss", "gradient") and "." not in measure
        if not scalar and (stream in NOT_STREAMS or measure not in _WATCHED):
            continue
        for on in ("batch",) if scalar else ("batch", "reference"):
            series = evidence.series(reading, on=on)
            bad = ~np.isfinite(series.values)
            if measure == "finite_share":
                bad |= series.values < 1
            if bad.any():
                at = int(np.flatnonzero(bad)[0])
                low = int(series.steps[at - 1]) if at else 0
                found.append((reading, int(series.steps[at]), float(bad[at:].mean()), low))
    return found


def _events(evidence: Evidence) -> list[_Bad]:
    found = []
    for event in evidence.run.of(Event):
        if event.name == "not_finite" and event.subject.partition("/")[0] not in _OF_WEIGHTS:
            name = event.subject or "loss/total"
            later = evidence.series(name).where(evidence.series(name).steps >= event.step) if "/" in name else ()
            share = float((~np.isfinite(later.values)).mean()) if len(later) else 1.0
            found.append((name, event.step, share, max(event.step - 1, 0)))
    return found


def _streams(evidence: Evidence) -> list[_Bad]:
    found = []
    for name, records in evidence.heard.items():
        shares = [(one.step, one.finite_share) for one in records if one.finite_share is not None]
        bad = [share is not None and not share >= 1 for _, share in shares]
        if any(bad):
            at = bad.index(True)
            low = shares[at - 1][0] if at else 0
            found.append((name, shares[at][0], sum(bad[at:]) / len(bad[at:]), low))
    return found


def _heard(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    records = evidence.heard.get(subject.name, [])
    bounds = Bounds(warning=cuts["warning"], above=False)
    if not records:
        if not evidence.heard:
            raise NotApplicable("no coverage was recorded")
        return Judgement(value=None, bounds=bounds, evidence=(subject.name,))
    shares = [one.finite_share for one in records if one.finite_share is not None]
    nothing = not shares or (sum(one.calls for one in records) == 0 and records[-1].steps == 0)
    bad = tuple(one.step for one in records if one.finite_share is not None and one.finite_share < 1)
    said = [one.step for one in evidence.run.of(Event) if one.name == "not_finite" and one.subject == subject.name]
    first = min([*bad[:1], *said[:1]], default=None)
    good = [one.step for one in records if one.finite_share == 1 and one.calls and first and one.step < first]
    return Judgement(
        value=None if nothing else min(shares),
        bounds=bounds,
        onset=Onset(step=first, low=max(good, default=0), high=first) if bad and first is not None else None,
        outside=bad,
        evidence=(subject.name,),
        n=sum(one.n for one in records) or None,
    )


def _ended(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    status = evidence.run.status
    if status == "unfinished" and not isinstance(evidence.run, Run):
        raise NotApplicable("the run is still being written")
    value = 1.0 if status in ("unfinished", "failed") else 0.0
    at = (evidence.run.steps,) if value else ()
    return Judgement(value=value, bounds=Bounds(warning=cuts["warning"]), outside=at, evidence=(f"end/{status}",))


NUMBERS = (
    Detector(
        code="CP001",
        kind="divergence",
        title="divergence",
        reads=("loss/*", "gradient/norm", "STREAM/finite_share"),
        per="run",
        formula="The first step at which a loss, a gradient norm or a stream is not finite; the value is the share of "
        "the readings since then that are not. A logged loss of 0.0 beside a gradient norm that is no number is one.",
        thresholds={
            "warning": Threshold(0.0, f"any reading at all ({_OWN})"),
            "critical": Threshold(0.1, f"more than a scaler's skipped steps ({_OWN})"),
        },
        judge=_divergence,
        why="After an update with a value that is not finite, every weight that it reached is lost.",
        remedies=(
            Remedy(change={"learning_rate": 1e-4, "precision": "fp32"}, reading="loss/total"),
            Remedy(
                change={
                    "data": "look at the batch of that step for inputs that are not finite",
                    "model": "look for a logarithm, a root or a division in it that can reach zero",
                },
                reading="STREAM/finite_share",
                part="STREAM",
            ),
            Remedy(
                change={
                    "data": "look at the batch of that step for inputs that are not finite",
                    "optimizer": "lower the learning rate, and clip the gradient norm",
                    "loss": "look for a logarithm, a square root or a division by a norm that can reach zero",
                },
                reading="loss/total",
            ),
        ),
        not_this="a gradient scaler that skips a step now and then",
        confirm=1,
    ),
    Detector(
        code="CP002",
        kind="coverage",
        title="values that are not finite",
        reads=("coverage",),
        per="stream",
        formula="The smallest share of finite values that a stream had; without a call it was not heard.",
        thresholds={"warning": Threshold(1.0, f"every value is finite ({_OWN})")},
        judge=_heard,
        why="A stream that was not heard, or whose values are not finite, makes every reading of it void.",
        remedies=(
            Remedy(
                change={
                    "data": "look at the batch of that step for inputs that are not finite",
                    "model": "check that the watched module runs in training",
                },
                reading="coverage",
            ),
        ),
        gravest=Status.WARNING,
        confirm=1,
    ),
    Detector(
        code="CP003",
        kind="unfinished",
        title="interrupted or failed before its end",
        reads=("end",),
        per="run",
        formula="1 where the journal has no end record, or one that says that the run failed.",
        thresholds={"warning": Threshold(0.5, _OWN)},
        judge=_ended,
        why="The run was killed, failed, is still being written, or its journal lost its end: later steps are unknown.",
        remedies=(
            Remedy(change={"model": "mend what ended it, then train again"}, reading="end", part="end/failed"),
            Remedy(
                change={"model": "close the watch at the end of training, or resume the run"},
                reading="end",
                part="end/unfinished",
            ),
        ),
        gravest=Status.WARNING,
        confirm=1,
    ),
)
