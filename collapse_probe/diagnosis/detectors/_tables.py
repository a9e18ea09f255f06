"""Whether scores can be believed: ties, exact scores, vectors that nobody could check."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._contract import Bounds, Detector, Judgement, NotApplicable, Remedy, Status, Subject, Threshold
from .._evaluations import REFERENCE
from .._evidence import Evidence
from .._onset import crossing
from ._signature import a_fall, part

_OWN = "own choice"
_EXACT = 1e-12


def _ties(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    if subject.name == REFERENCE:
        return _tied_pairs(evidence, cuts)
    found = [
        (one.tied_share, one)
        for (label, _, _), one in evidence.evaluations.records.items()
        if label == subject.name and one.tied_share is not None and math.isfinite(one.tied_share)
    ]
    if not found:
        raise NotApplicable("ties were not counted")
    share, worst = max(found, key=lambda pair: pair[0])
    return Judgement(
        value=float(share),
        bounds=Bounds(warning=cuts["warning"]),
        outside=(worst.step,) if share > cuts["warning"] else (),
        evidence=(f"{subject.name}/tied_share",),
        n=worst.n_queries,
    )


def _tied_pairs(evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    """Return whether the reference queries' own documents tie with others; grave where a collection is worse."""
    series = evidence.series("pairs/tied_share", on="reference").finite()
    if not len(series):
        raise NotApplicable("ties were not counted")
    value = float(series.values[-1])
    outside = series.values > cuts["pairs"]
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["pairs"]),
        conditions=(
            part("pairs/tied_share", value, cuts["pairs"], value > cuts["pairs"]),
            a_fall(evidence),
        ),
        onset=crossing(series.steps, outside),
        outside=tuple(int(step) for step in series.steps[outside]) if outside[-1] else (),
        evidence=("pairs/tied_share",),
        n=int(series.n[-1]) if series.n[-1] > 0 else None,
    )


def _exact(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    raw, metric = evidence.evaluations.raw(subject.name), evidence.evaluations.metric(subject.name)
    if raw is None or metric is None or metric not in raw.metrics or subject.name == REFERENCE:
        raise NotApplicable("the raw encoder was not scored")
    value = float(raw.metrics[metric])
    nothing = value < 0.5
    bounds = Bounds(critical=cuts["critical"], above=False) if nothing else Bounds(warning=cuts["warning"])
    outside = (raw.step,) if value < cuts["critical"] or value > cuts["warning"] else ()
    return Judgement(
        value=value, bounds=bounds, outside=outside, evidence=(f"{subject.name}/{metric}",), n=raw.n_queries
    )


def _unverified(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    encoder = evidence.config.session.get("encoder")
    known = isinstance(encoder, Mapping) and encoder.get("verified") is False
    later = sum(not one.verified for one in evidence.evaluations.records.values())
    if not known and not later:
        raise NotApplicable("no stored vectors were taken at their word")
    return Judgement(
        value=float(later or 1), bounds=Bounds(warning=cuts["warning"]), outside=(0,), evidence=("run.json/encoder",)
    )


TABLES = (
    Detector(
        code="CP204",
        kind="ties",
        title="ties",
        reads=("COLLECTION/tied_share", "pairs/tied_share"),
        per="collection",
        formula="The largest share of tied places among the first ten; of the reference pairs, the share of queries "
        "whose own document scores as another one does, critical where a collection fell.",
        thresholds={
            "warning": Threshold(0.01, "trec_eval orders ties by document id; the cut is our own"),
            "pairs": Threshold(0.2, "equal documents tie fewer (own choice)"),
        },
        judge=_ties,
        why="Equal scores are ordered by document id, so the metric partly measures names.",
        remedies=(
            Remedy(change={"model": "score in a higher precision, and look at scale and common share"}, reading="ties"),
        ),
        not_this="duplicates in the corpus",
        confirm=1,
    ),
    Detector(
        code="CP511",
        kind="exact_scores",
        title="a raw encoder that finds nothing, or everything",
        reads=("COLLECTION/METRIC",),
        per="collection",
        formula="The raw encoder's score is exactly 0 or exactly 1.",
        thresholds={
            "critical": Threshold(_EXACT, f"finds nothing ({_OWN})"),
            "warning": Threshold(1 - _EXACT, f"finds everything ({_OWN})"),
        },
        judge=_exact,
        why="An encoder that finds nothing at all is rarer than ids or judgements that do not fit; a collection on "
        "which everything is found cannot show a gain.",
        remedies=(
            Remedy(
                change={"data": "look at the ids of queries and documents; score a larger collection"},
                reading="ndcg@10",
            ),
        ),
        confirm=1,
    ),
    Detector(
        code="CP512",
        kind="unverified_vectors",
        title="stored vectors that were used unverified",
        reads=("run.json", "evaluation"),
        per="run",
        formula="How many evaluations used stored vectors that could not be compared with their encoder.",
        thresholds={"warning": Threshold(0.0, "a few texts of each store are encoded again")},
        judge=_unverified,
        why="The encoder was not on the machine, so no text could be encoded again to compare.",
        remedies=(Remedy(change={"data": "run again where the encoder is"}, reading="ndcg@10"),),
        gravest=Status.WARNING,
        confirm=1,
    ),
)
