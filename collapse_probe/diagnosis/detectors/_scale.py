"""How long embeddings are. Ranks, cosines and CKA cannot see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .._contract import Bounds, Detector, Judgement, Remedy, Subject, Threshold
from .._evidence import EMBEDDINGS, Evidence, Track
from .._onset import crossing
from ._signature import MEASURED, part, ratios, signature

_ANCHOR = (
    Remedy(change={"normalise": True}),
    Remedy(change={"model": "give embeddings unit length", "loss": "or add a term that anchors their scale"}),
)


def _norms(evidence: Evidence, stream: str) -> Track | None:
    """Return the stream's median norm; a run that recorded only the drift of its scale is read by that."""
    track = evidence.track(stream, "norm_median")
    if track is not None:
        return track
    drift = evidence.series(f"{stream}/scale_drift").finite()
    if not len(drift):
        return None
    return Track(drift.reading, replace(drift, values=10.0**drift.values), 1.0, "start")


def _free(evidence: Evidence) -> bool:
    """Return whether the loss cannot see scale."""
    return (evidence.config.trained_by or evidence.config.similarity) == "cosine"


def _collapse(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = _norms(evidence, subject.name)
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/norm_median",))
    steps, norms = track.series.steps, track.series.values
    values = ratios(norms, track.baseline)
    if norms[-1] < cuts["floor"]:
        onset = crossing(steps, norms < cuts["floor"])
        return Judgement(
            value=float(norms[-1]),
            bounds=Bounds(critical=cuts["floor"], above=False),
            conditions=(part(track.reading, float(norms[-1]), cuts["floor"], True),),
            onset=crossing(steps, values < cuts["critical"]) or onset,
            outside=tuple(int(step) for step in steps[steps >= onset.step]) if onset else (),
            before=True,
            evidence=(track.reading,),
            n=int(track.series.n[-1]) if track.series.n[-1] > 0 else None,
        )
    if _free(evidence):
        return _note(track, values, cuts["floor"])
    return signature(track, values, evidence, cut=cuts["critical"], above=False, ratio=True)


def _explosion(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = _norms(evidence, subject.name)
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/norm_median",))
    cut = cuts["cosine"] if _free(evidence) else cuts["critical"]
    return signature(track, ratios(track.series.values, track.baseline), evidence, cut=cut, above=True, ratio=True)


def _note(track: Track, values: np.ndarray, floor: float) -> Judgement:
    """Return a change of scale that no cosine can see: a number, not an alarm."""
    norm = float(track.series.values[-1])
    return Judgement(
        value=float(values[-1]),
        bounds=Bounds(critical=floor, above=False),
        conditions=(part(track.reading, norm, floor, False),),
        evidence=(track.reading,),
        n=int(track.series.n[-1]) if track.series.n[-1] > 0 else None,
    )


SCALE = (
    Detector(
        code="CP411",
        kind="scale_collapse",
        title="scale collapse",
        reads=("STREAM/norm_median",),
        per="stream",
        roles=EMBEDDINGS,
        formula="The median norm over that of the raw encoder, else of step 0, is below the cut, and separation or "
        "retrieval fell; under a cosine it is a note. A median norm below the floor is critical by itself.",
        thresholds={
            "critical": Threshold(0.25, f"{MEASURED}: norms fell to .2 x in the failures"),
            "floor": Threshold(1e-8, "the eps of torch's cosine_similarity, below which a cosine depends on scale"),
        },
        judge=_collapse,
        why="Distances and dot products shrink with the embeddings, and with them every gradient that could tell "
        "texts apart.",
        remedies=_ANCHOR,
        not_this="models that are trained and scored by a cosine, where scale is free",
    ),
    Detector(
        code="CP412",
        kind="scale_explosion",
        title="scale explosion",
        reads=("STREAM/norm_median",),
        per="stream",
        roles=EMBEDDINGS,
        formula="The median norm over that of the raw encoder, else of step 0, is above the cut, and separation or "
        "retrieval fell.",
        thresholds={
            "critical": Threshold(4.0, f"{MEASURED}: norms grew 6 x in the failures"),
            "cosine": Threshold(
                100.0, f"{MEASURED}: Adam with a rate of .03 to .2 gives 3e2 to 3e7 x, healthy runs up to 47 x"
            ),
        },
        judge=_explosion,
        why="Under a cosine, gradients die with one over the norm; under a dot product, length outweighs direction.",
        remedies=(
            Remedy(change={"normalise": True, "learning_rate": 1e-4}),
            Remedy(change={"optimizer": "divide the learning rate by 10", "model": "give embeddings unit length"}),
        ),
        not_this="a healthy run under a cosine whose norms grow 47 x (measured)",
    ),
)
