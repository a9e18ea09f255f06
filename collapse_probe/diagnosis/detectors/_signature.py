"""What detectors of joint signatures share: a reading held against its baseline, with harm beside it."""

from __future__ import annotations

import numpy as np

from .._contract import Bounds, Condition, Judgement, Onset
from .._evidence import Evidence, Track
from .._onset import FEWEST, change_point, crossing, surest

BEGAN_AT_NOTHING = 1e3
"""Relative update above which a group began at zero."""

MEASURED = (
    "measured on 73 failing and 27 harmless trainings, mostly of heads over frozen MiniLM vectors of MedQuAD's pairs; "
    "a third of them chose the cut"
)
"""Where the cuts of the joint signatures come from."""

NOTHING = 1e-6
"""A baseline below this has nothing left to lose: what is as small is then called gone."""


def part(reading: str, value: float | None, cut: float, holds: bool | None) -> Condition:
    """Return a part of a signature."""
    return Condition(reading=reading, value=value, cut=cut, holds=holds)


def a_fall(evidence: Evidence) -> Condition:
    """Return the part of harm that anything fell; what did not fall says nothing here."""
    fell = any(curve.fell for curve in evidence.curves)
    return Condition(reading="a fall", value=None, cut=0.0, holds=fell or None, harm=True)


def ratios(values: np.ndarray, baseline: float) -> np.ndarray:
    """Return values over their baseline; 0 where both are nothing."""
    if baseline > NOTHING * NOTHING:
        return values / baseline
    return np.where(values <= NOTHING * NOTHING, 0.0, np.inf)


def signature(
    track: Track,
    values: np.ndarray,
    evidence: Evidence,
    *,
    cut: float,
    above: bool,
    others: tuple[Condition, ...] = (),
    harm: bool = True,
    ratio: bool = False,
) -> Judgement:
    """Return the judgement of a reading that is outside a cut while separation or retrieval falls.

    Args:
        track: The reading.
        values: ``[K]`` what is held against the cut, one for each reading of the track.
        evidence: The run.
        cut: Where outside begins.
        above: Whether outside is above.
        others: Further parts of the signature.
        ratio: Whether the values are ratios to the track's baseline.
        harm: Whether it takes a fall of separation or retrieval to be critical.
    """
    value = float(values[-1])
    outside = values > cut if above else values < cut
    onset = crossing(track.series.steps, outside)
    steps = tuple(int(step) for step in track.series.steps[track.series.steps >= onset.step]) if onset else ()
    if onset is not None:
        onset = _since(track, values, onset, evidence, cut=cut, above=above, harm=harm)
    known = int(track.series.n[-1])
    own = Condition(
        reading=track.reading,
        value=value,
        cut=cut,
        holds=bool(outside[-1]),
        against=track.against if ratio else "",
    )
    return Judgement(
        value=value,
        bounds=Bounds(warning=cut, critical=cut, above=above),
        conditions=(own, *others, *(evidence.harm if harm else ())),
        onset=onset,
        outside=steps,
        before=bool(outside.any()),
        evidence=(track.reading, *(one.reading for one in others)),
        n=known if known > 0 else None,
    )


def _since(
    track: Track, values: np.ndarray, crossed: Onset, evidence: Evidence, *, cut: float, above: bool, harm: bool
) -> Onset | None:
    """Return since when a reading is outside: by separation where it fell, else by where the reading itself moved."""
    separation = evidence.separation_onset if harm else None
    if separation is None and crossed.step == track.series.steps[0]:
        return crossed
    own = None
    if len(values) >= FEWEST:
        bounded = np.minimum(values, cut * 100) if above else np.maximum(values, cut / 100)
        bounded = np.maximum(bounded, np.finfo(float).tiny)  # a cut of 0 bounds nothing
        own = change_point(track.series.steps, np.log(bounded), falls=not above)
    return surest((separation, own, evidence.moved(track), crossed), evidence.run.steps)
