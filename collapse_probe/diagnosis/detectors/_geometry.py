"""What became of the embeddings' shape: a point, a cone, few dimensions, dead dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .._contract import Condition, Detector, Judgement, NotApplicable, Remedy, Subject, Threshold
from .._evidence import EMBEDDINGS, Evidence, Track
from .._kept import GONE, may_be_gone
from .._separation import SATURATED, equal_n
from ._signature import MEASURED, NOTHING, part, ratios, signature

PUSH = (
    Remedy(change={"lambda_contrastive": 1.0, "projection": "linear", "learning_rate": 1e-4}),
    Remedy(
        change={
            "loss": "add a term that pushes different texts apart, such as an in-batch softmax",
            "model": "let the head start at the identity",
            "optimizer": "divide the learning rate by 10",
        }
    ),
)


_POOLED = 5
"""Batches whose ranks are pooled."""


def _spread(subject: Subject, evidence: Evidence, cut: float, others: tuple[Condition, ...]) -> Judgement:
    track = evidence.track(subject.name, "common_share")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/common_share",))
    # What single precision rounds to nothing is nothing.
    left = np.array([1 - track.baseline, *(1 - track.series.values)])
    left[left < NOTHING] = 0.0
    values = ratios(left[1:], left[0])
    return signature(track, values, evidence, cut=cut, above=False, others=others, ratio=True)


def centring(evidence: Evidence) -> tuple[float, float] | None:
    """Return what centring adds to the reciprocal rank, and half of what was lost; None where it was not read."""
    for on in ("batch",) if evidence.reference_still else ("reference", "batch"):
        centred, scored = (evidence.series(f"pairs/{name}", on=on).finite() for name in ("mrr_centred", "mrr"))
        if on == "reference":
            centred, scored = equal_n(centred), equal_n(scored)
        else:
            # Centred ranks are read more seldom: both of the same batches.
            scored = scored.where(np.isin(scored.steps, centred.steps))
        if len(centred) and len(scored):
            last = 1 if on == "reference" else max(1, min(20, len(scored) // 10))
            now = float(scored.values[-last:].mean())
            start = evidence.baseline("pairs/mrr") if on == "reference" else float(scored.values[:3].mean())
            lost = max(0.0, (start if start is not None else float(scored.values[0])) - now)
            return float(centred.values[-last:].mean()) - now, max(lost / 2, 0.01)
    return None


def _complete(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    found = centring(evidence)
    gain, half = found if found else (None, 0.0)
    # Of few dimensions at one point centring brings back what a gap between the sides hid, not what is gone.
    few = _few_dimensions(subject, evidence, cuts["dimensions"])
    restored = part("pairs/mrr_centred", gain, half, few or (None if gain is None else gain < half))
    cut = cuts["critical"]
    track = evidence.track(subject.name, "common_share")
    if track is not None and track.against == "start" and 1 - track.baseline > NOTHING:
        # A head of random weights begins in a cone: what is left of that says less than what is left at all.
        cut = max(cut, cuts["left"] / (1 - track.baseline))
    # Of finished models that were scored, what told texts apart is not gone where half of every score is left.
    lost = may_be_gone(evidence.curves) if evidence.config.examined else None
    others = (restored,) if lost is None else (restored, part("scores lost", None, GONE, lost))
    found = _spread(subject, evidence, cut, others)
    bounds = replace(found.bounds, warning=cuts["critical"], critical=cuts["critical"])
    return replace(found, bounds=bounds, extreme=_gone(found, evidence, cuts))


def _cone(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    found = centring(evidence) if _few_dimensions(subject, evidence, cuts["dimensions"]) else None
    others = () if found is None else (part("pairs/mrr_centred", found[0], found[1], found[0] >= found[1]),)
    judged = _spread(subject, evidence, cuts["critical"], others)
    return replace(judged, extreme=_gone(judged, evidence, cuts))


def _gone(judged: Judgement, evidence: Evidence, cuts: Mapping[str, float]) -> bool:
    """Return whether so little is left of the spread that it warns even while scores rise, as from random weights.

    Not where nearly every own document is the first: what is left tells the texts apart.
    """
    if any(one.metric == "mrr" and one.values[-1] > SATURATED for one in evidence.curves if one.values):
        return False
    return judged.value is not None and judged.value < cuts["gone"] and evidence.config.similarity == "cosine"


def _few_dimensions(subject: Subject, evidence: Evidence, cut: float) -> bool:
    """Return whether the rank collapsed, too: then centring decides which of the two it is."""
    track = evidence.track(subject.name, "participation_ratio_corrected")
    if track is None or track.series.on != "reference":
        return False
    left = ratios(equal_n(track.series).values, track.baseline)
    return bool(left[-1] < cut)


def _dimensions(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "participation_ratio_corrected")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/participation_ratio_corrected",))
    if track.series.on != "reference":
        return _of_batches(subject, track, evidence, cuts)
    raw = evidence.series(track.reading, on="raw")
    n = int(raw.n[0] if track.against == "raw" else track.series.n[0])
    series = track.series.where(track.series.n == n)
    if not len(series):
        raise NotApplicable("ranks at different n are never compared")
    track = replace(track, series=series)
    return signature(
        track, ratios(series.values, track.baseline), evidence, cut=cuts["critical"], above=False, ratio=True
    )


def _of_batches(subject: Subject, track: Track, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    """Return the same of batches of one size, each reading the median of five, where no reference pair was read."""
    sizes, counts = np.unique(track.series.n, return_counts=True)
    series = track.series.where(track.series.n == sizes[np.argmax(counts)])
    if len(series) < _POOLED or int(series.n[0]) < cuts["rows"]:
        if subject.role == "hidden":
            raise NotApplicable("ranks are read of reference pairs, and these are queries and documents")
        return Judgement(value=None, evidence=(track.reading,))
    padded = np.pad(series.values, _POOLED // 2, mode="edge")
    pooled = np.median(np.lib.stride_tricks.sliding_window_view(padded, _POOLED), axis=1)
    track = replace(track, series=replace(series, values=pooled), baseline=float(np.median(series.values[:3])))
    return signature(track, ratios(pooled, track.baseline), evidence, cut=cuts["critical"], above=False, ratio=True)


def _dead(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    track = evidence.track(subject.name, "dead_dimensions")
    if track is None:
        return Judgement(value=None, evidence=(f"{subject.name}/dead_dimensions",))
    return signature(track, np.asarray(track.series.values), evidence, cut=cuts["critical"], above=True)


GEOMETRY = (
    Detector(
        code="CP410",
        kind="complete_collapse",
        title="complete collapse",
        reads=("STREAM/common_share", "pairs/mrr_centred", "pairs/mrr"),
        per="stream",
        roles=EMBEDDINGS,
        formula="(1 - common share) over that of the raw encoder, else of step 0, is below the cut; separation or "
        "retrieval fell; and taking each role's mean off brings back less than half of the lost reciprocal rank, or "
        "few dimensions are left as well. Of finished models that were scored, half of a score or more may be lost. "
        "Where next to nothing is left, it warns even while scores rise.",
        thresholds={
            "critical": Threshold(0.1, f"{MEASURED}: .02 to .06 in the failures"),
            "dimensions": Threshold(0.2, f"{MEASURED}, as of a dimensional collapse"),
            "gone": Threshold(0.01, "a hundredth of what was there, of vectors that cosines compare (own choice)"),
            "left": Threshold(0.03, "(1 - common share) itself, where no raw encoder is known (own choice)"),
        },
        judge=_complete,
        why="All texts have nearly the same embedding: what told them apart is gone.",
        remedies=PUSH,
        not_this="a small scale with separation intact (scale collapse); a cone, which centring restores; a "
        "cone of a finished model whose scores are kept",
    ),
    Detector(
        code="CP421",
        kind="cone",
        title="cone",
        reads=("STREAM/common_share", "pairs/mrr_centred", "pairs/mrr"),
        per="stream",
        roles=EMBEDDINGS,
        formula="(1 - common share) over that of the raw encoder, else of step 0, is below the cut; separation or "
        "retrieval fell, or the loss was solved without separating. Where few dimensions are left as well, taking each "
        "role's mean off has to bring back half of the lost reciprocal rank. Where next to nothing is left, it warns "
        "even while scores rise, as they do from random weights.",
        thresholds={
            "gone": Threshold(0.01, "a hundredth of what was there, of vectors that cosines compare (own choice)"),
            "critical": Threshold(0.5, f"{MEASURED}; healthy runs went as low where separation rose"),
            "dimensions": Threshold(0.2, f"{MEASURED}, as of a dimensional collapse"),
        },
        judge=_cone,
        why="All texts share one direction, and what is left to tell them apart is small beside it.",
        remedies=PUSH,
        not_this="encoders whose cosines are all above .7 by temperature or bias, while separation rises",
    ),
    Detector(
        code="CP422",
        kind="dimensional_collapse",
        title="dimensional collapse",
        reads=("STREAM/participation_ratio_corrected",),
        per="stream",
        roles=EMBEDDINGS,
        formula="The corrected participation ratio over that of the raw encoder at the same n, else of step 0, is "
        "below the cut, and separation or retrieval fell. Of batches only where no reference pairs were read.",
        thresholds={
            "critical": Threshold(0.2, f"{MEASURED}: .01 to .18 in the failures"),
            "rows": Threshold(32, "rows of a batch below which its rank is noise (own choice)"),
        },
        judge=_dimensions,
        why="Few directions carry all the variance, so many texts look alike.",
        remedies=PUSH,
        not_this="a rank that is halved with retrieval intact: half of the dimensions of most encoders are nearly free",
    ),
    Detector(
        code="CP423",
        kind="dead_dimensions",
        title="dead dimensions",
        reads=("STREAM/dead_dimensions",),
        per="stream",
        roles=EMBEDDINGS,
        formula="The share of dimensions with a spread below 1 % of the median is above the cut, and separation or "
        "retrieval fell.",
        thresholds={"critical": Threshold(0.3, f"{MEASURED}: .49 to .68 in the failures, .29 in a healthy one")},
        judge=_dead,
        why="Dimensions that carry no variance cannot tell texts apart.",
        remedies=(
            Remedy(change={"projection": "linear", "weight_decay": 0.0}),
            Remedy(
                change={"model": "look at the last layer: ReLU and its bias", "optimizer": "lower the weight decay"}
            ),
        ),
        not_this="ReLU-sparse heads that retrieve well (.29 dead, measured)",
    ),
)
