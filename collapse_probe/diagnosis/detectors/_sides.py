"""One side of the pairs alone, the gap between the sides, and documents that answer everybody."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Remedy, Subject, Threshold
from .._evidence import Evidence, Track
from .._onset import crossing
from .._separation import equal_n
from ._geometry import PUSH, centring
from ._signature import MEASURED, part, ratios

_OTHER = {"query": "document", "document": "query", "left": "right", "right": "left"}
"""The side across."""

_SIDES = tuple(_OTHER)


def _left(track: Track | None, measure: str) -> np.ndarray | None:
    """Return what is left of a side by step, relative to the raw encoder or step 0."""
    if track is None:
        return None
    if measure == "common_share":
        return ratios(1 - track.series.values, 1 - track.baseline)
    if measure == "dead_dimensions":
        return 1 - track.series.values
    return ratios(track.series.values, track.baseline)


def _one_sided(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    other = next((one.name for one in evidence.streams if one.role == _OTHER[str(subject.role)]), None)
    if other is None:
        raise NotApplicable("there is no other side")
    names = {name: cuts[name] for name in ("common_share", "participation_ratio_corrected", "norm_median")}
    found = []
    for measure, cut in {**names, "dead_dimensions": 1 - cuts["dead_dimensions"]}.items():
        mine, theirs = (evidence.track(name, measure) for name in (subject.name, other))
        here, there = _left(mine, measure), _left(theirs, measure)
        if mine is None or here is None or there is None or mine.series.on != theirs.series.on:  # type: ignore[union-attr]
            continue
        last, across = float(here[-1]), float(there[-1])
        apart = across / last if last > 0 else np.inf
        found.append((last / cut, measure, mine, here, cut, across, float(min(apart, 1e9))))
    if not found:
        return Judgement(value=None, evidence=(f"{subject.name}/norm_median",))
    holding = [one for one in found if one[0] < 1 and one[5] >= one[4] and one[6] > cuts["apart"]]
    _, measure, track, here, cut, across, apart = min(holding or found, key=lambda one: one[0])
    # Of a side whose rows are one vector, the other measures read its rounding.
    least = min(found, key=lambda one: one[5] / one[4])
    onset = crossing(track.series.steps, here < cut)
    if onset is not None:
        onset = evidence.narrowed(evidence.separation_onset or onset)
    return Judgement(
        value=float(here[-1]),
        bounds=Bounds(warning=cut, critical=cut, above=False),
        conditions=(
            Condition(
                reading=track.reading,
                value=float(here[-1]),
                cut=cut,
                holds=bool(here[-1] < cut),
                against="" if measure == "dead_dimensions" else track.against,
            ),
            part(f"{other}/{measure}, the same", across, cut, across >= cut),
            *(
                []
                if least[1] == measure
                else [part(f"{other}/{least[1]}, the same", least[5], least[4], least[5] >= least[4])]
            ),
            part(f"{other}/{measure} over it", apart, cuts["apart"], apart > cuts["apart"]),
            *evidence.harm,
        ),
        onset=onset,
        outside=_from(track, here < cut),
        before=bool((here < cut).any()),
        evidence=(track.reading, f"{other}/{measure}"),
        n=int(track.series.n[-1]) if track.series.n[-1] > 0 else None,
    )


def _from(track: Track, outside: np.ndarray) -> tuple[int, ...]:
    onset = crossing(track.series.steps, outside)
    return tuple(int(step) for step in track.series.steps if onset is not None and step >= onset.step)


def _gap(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track("pairs", "side_gap")
    if track is None:
        return Judgement(value=None, evidence=("pairs/side_gap",))
    values = track.series.values
    outside = values > cuts["warning"]
    found = centring(evidence)
    restored = () if found is None else (part("pairs/mrr_centred", *found, found[0] >= found[1]),)
    return Judgement(
        value=float(values[-1]),
        bounds=Bounds(warning=cuts["warning"], critical=cuts["warning"]),
        conditions=(
            part("pairs/side_gap", float(values[-1]), cuts["warning"], bool(outside[-1])),
            *restored,
            *evidence.harm,
        ),
        onset=evidence.narrowed(crossing(track.series.steps, outside)),
        outside=_from(track, outside),
        before=bool(outside.any()),
        evidence=("pairs/side_gap", "pairs/mrr_centred"),
        n=int(track.series.n[-1]) if track.series.n[-1] > 0 else None,
    )


def _hubs(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    reading = "pairs/hub_occurrence"
    series = equal_n(evidence.series(reading, on="reference").finite())
    raw = evidence.series(reading, on="raw").finite()
    if not len(series) or (len(series) < 2 and not len(raw)) or evidence.reference_still:
        return Judgement(value=None, evidence=(reading,))
    baseline = float((raw if len(raw) else series).values[0])
    values = series.values
    outside = (values > cuts["critical"]) & (values > cuts["times"] * baseline)
    outside |= (values > cuts["many"]) & (values > 2 * cuts["times"] * baseline)
    value = float(values[-1])
    onset = crossing(series.steps, outside)
    if onset is not None:
        onset = evidence.narrowed(evidence.separation_onset or onset)
    times = value / baseline if baseline else np.inf
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["critical"], critical=cuts["critical"]),
        conditions=(
            part(reading, value, cuts["critical"], bool(outside[-1])),
            Condition(
                reading=f"{reading} ratio",
                value=float(times),
                cut=cuts["times"],
                holds=bool(times > cuts["times"]),
                against="raw" if len(raw) else "start",
            ),
            *evidence.harm,
        ),
        onset=onset,
        outside=tuple(int(step) for step in series.steps[outside]) if outside[-1] else (),
        before=bool(outside.any()),
        evidence=(reading,),
        n=int(series.n[-1]) if series.n[-1] > 0 else None,
    )


SIDES = (
    Detector(
        code="CP430",
        kind="one_sided_collapse",
        title="a collapse of one side",
        reads=(
            "STREAM/common_share",
            "STREAM/participation_ratio_corrected",
            "STREAM/norm_median",
            "STREAM/dead_dimensions",
        ),
        per="stream",
        roles=_SIDES,
        formula="What is left of one side, of (1 - common share), the corrected participation ratio or the median norm "
        "relative to the raw encoder, else to step 0, or of its living dimensions, is below a cut; what is left of the "
        "other side is below none of them, and is three times as much; and separation or retrieval fell.",
        thresholds={
            "common_share": Threshold(0.5, f"{MEASURED}, as of a cone"),
            "participation_ratio_corrected": Threshold(0.35, MEASURED),
            "norm_median": Threshold(0.25, f"{MEASURED}: norms x .1 and x 1.1"),
            "dead_dimensions": Threshold(0.3, f"{MEASURED}, as of dead dimensions"),
            "apart": Threshold(3.0, MEASURED),
        },
        judge=_one_sided,
        why="One side of the pairs lost what tells its texts apart, and the other cannot make up for it.",
        remedies=(
            Remedy(
                change={
                    "optimizer": "give both towers the same rate and weight decay",
                    "loss": "let no penalty reach one side alone",
                }
            ),
        ),
        not_this="documents that are frozen by design",
    ),
    Detector(
        code="CP431",
        kind="side_gap",
        title="a gap between queries and documents",
        reads=("pairs/side_gap", "pairs/mrr_centred"),
        per="run",
        formula="The means of the two sides lie further apart than a row from its mean, taking each side's mean off "
        "brings back half of the lost reciprocal rank, and separation or retrieval fell.",
        thresholds={"warning": Threshold(1.0, "the gap is as large as the spread of a side (own choice)")},
        judge=_gap,
        why="Part of every score is the same for all pairs, and hides what differs.",
        remedies=(
            Remedy(change={"model": "take each side's mean off before scoring", "loss": "compare both sides alike"}),
        ),
        not_this="two encoders that never met and retrieve well: order counts, not distance",
        confirm=2,
    ),
    Detector(
        code="CP450",
        kind="hubness",
        title="hubs: documents that answer everybody",
        reads=("pairs/hub_occurrence",),
        per="run",
        formula="The share of the top-10 places of the reference queries that documents with twice the average number "
        "of places take is above the cut and above 1.5 times the raw encoder's, else step 0's; and separation or "
        "retrieval fell.",
        thresholds={
            "critical": Threshold(0.55, f"{MEASURED}: .56 to .96 in the failures, at most .53 in the rest"),
            "many": Threshold(0.4, "where it is three times the encoder's (own choice)"),
            "times": Threshold(1.5, f"{MEASURED}: small collections have hubs by themselves"),
        },
        judge=_hubs,
        why="A few documents take the places of the right ones for many queries.",
        remedies=PUSH,
        not_this="a small collection; equal documents, which are merged first",
        confirm=2,
    ),
)
