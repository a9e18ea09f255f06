"""Mechanisms that lie in what the loss does to the embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..._contract import Finding
from ..._evidence import EMBEDDINGS, Evidence
from ...detectors._mismatched import common_shares
from ...detectors._temperature import LOUD, loss_over_chance, signs
from .._contract import Suspicion
from .._penalties import strongest_push
from .._readings import first, last, numbers_of, pulls_alone, scaled_by
from ._beginnings import OWN_LENGTH, opening_of, replaced, starts_of, ways_of

_FIRST, _ONE = 3, 0.999
"""Batches of the start, and the common share above which their vectors are one but for rounding (own choice)."""

_FEWEST = 5
"""Readings of a force below which nothing is said of its mean (own choice)."""

FAR_FROM_BOUND = 0.5
"""Pass-through of embeddings far from a bound (own choice)."""


def dead(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind != "constant_correction":
        return Suspicion(because=numbers_of(kind), locus=kind.subject)
    reading = f"{kind.subject}/dead_dimensions"
    shares = evidence.series(reading, on="batch").finite().values
    share, moves = last(evidence, reading), [float(np.median(one.values)) for one in evidence.groups("update")]
    # One vector for every row: what is before the last layer has nothing to learn from, if there is anything.
    blind = len(shares) > 3 and float(shares.min()) >= cuts["all"]
    behind = len(moves) > 1 and min(moves) < cuts["beside" if blind else "behind"] * max(moves)
    return Suspicion(because={reading: share}, locus=kind.subject) if behind and (share or 0) > cuts["dead"] else None


def drives_apart(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    pull, push, auc = (first(evidence, f"pairs/{name}") for name in ("pull", "push", "auc"))
    if pull is None or push is None or auc is None:
        return None
    # What pushes everything apart, such as a sigmoid over all pairs, moves own documents away with the others at first.
    to_the_end = evidence.driven_apart
    pushes = max(push, opening_of(evidence, "pairs/push") or push) > cuts["push"]
    if pull < cuts["pull"] or (pushes and not to_the_end) or auc < cuts["auc"]:
        return None
    if replaced(evidence, cuts["whole"]):
        return None  # after such a step the readings are of other weights, and the steps are to blame
    return Suspicion(because={"pairs/pull": pull, "pairs/push": push, "pairs/auc": auc}, locus="loss")


def never_pulls(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    pull = evidence.series("pairs/pull", on="batch").finite().values
    if len(pull) < _FEWEST or not pull.any() or float(pull.mean()) <= cuts["pull"]:
        return None
    return Suspicion(because={"pairs/pull": float(pull.mean())}, locus="loss")


def no_floor(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    loss = evidence.series("loss/total", on="batch").finite()
    if len(loss) < 3:
        return None
    start, end = (float(np.median(part)) for part in (loss.values[:3], loss.values[-3:]))
    norms = (evidence.series(f"{one.name}/norm_median", on="batch").finite() for one in evidence.streams)
    grew = max((float(one.values[-1] / one.values[0]) for one in norms if len(one) and one.values[0] > 0), default=0.0)
    if end > -cuts["below"] * max(abs(start), 1.0) or grew < cuts["norm"]:
        return None
    return Suspicion(because={"loss at the end": end, "norm changed": grew}, locus="loss")


def no_anchor(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if (evidence.config.trained_by or evidence.config.similarity) == "cosine":
        return None
    spreads = last(evidence, "pairs/push_all")
    if kind.kind == "scale_collapse" and spreads is not None and spreads < 0 and pulls_alone(evidence):
        return None
    if kind.kind == "scale_explosion":
        sides = [one.name for one in evidence.streams if one.role in EMBEDDINGS]
        outward = {f"{name}/radial": one for name in sides if (one := last(evidence, f"{name}/radial")) is not None}
        grew = kind.judgement.value if kind.judgement else None
        if outward and min(outward.values()) > cuts["outward"] and (grew or 0.0) > cuts["norm"]:
            return Suspicion(because={"norm changed": grew or 0.0, **outward}, locus="loss")
    found = scaled_by(evidence, kind.subject)
    if found is None or found[0] < cuts["norm"] or found[1] < cuts["degree"]:
        return None
    return Suspicion(because={"norm changed": found[0], "degree of the loss": found[1]}, locus="loss")


def temperature(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind == "cold_softmax":
        return Suspicion(because=numbers_of(kind), locus="loss")
    ends = loss_over_chance(evidence)
    loud = ends is not None and ends[0] > cuts["loud"] and abs(ends[1] - 1) < cuts["at chance"]
    if ends is not None and loud and all(one.holds for one in signs(evidence, cuts)):
        return Suspicion(because={LOUD: ends[0], "loss over log n at the end": ends[1]}, locus="loss")
    batch, loss = (evidence.series(name, on="batch").finite() for name in ("pairs/auc", "loss/total"))
    if len(batch) < 3:
        return None
    auc = float(np.median(batch.values[-8:]))
    if kind.kind == "saturation" and (found := multiplied(evidence, kind)) is not None:
        return Suspicion(because=found, locus="what multiplies embeddings before their bound")
    pull, push = opening_of(evidence, "pairs/pull"), opening_of(evidence, "pairs/push")
    pushed = pull is not None and push is not None and min(pull, push) > cuts["apart"]
    if pushed and auc > cuts["auc"] and not evidence.driven_apart:
        return Suspicion(because={"pairs/pull": pull, "pairs/push": push}, locus="loss")
    teaching = _teaching(evidence, kind)
    if teaching is not None and teaching < cuts["teaching"] and batch.n[-1] >= cuts["rows"]:
        return Suspicion(because={"share of the batch that teaches": teaching}, locus="loss")
    near, spreads = last(evidence, "pairs/push"), last(evidence, "pairs/push_all")
    turns = [abs(found) for one in evidence.streams if (found := last(evidence, f"{one.name}/radial")) is not None]
    # A softmax of cosines turns embeddings; what stretches them spreads them in another way.
    turned = max(turns, default=0.0) < cuts["turns"]
    if turned and near is not None and spreads is not None and spreads > cuts["all"] and near <= cuts["near"]:
        return Suspicion(because={"pairs/push_all": spreads, "pairs/push": near}, locus="loss")
    if not len(loss) or batch.n[-1] < 4:
        return None
    chance = math.log(float(batch.n[-1]))
    # A loss of another kind may pass by: one that cannot teach stays near chance from the first step on.
    shares = [float(np.median(part)) / chance for part in np.array_split(loss.values, 4)]
    share = shares[-1]
    if min(shares) < cuts["share"] or max(shares) > 1.05 or auc < cuts["auc"]:
        return None
    return Suspicion(because={"loss over log n": share, "pairs/auc": auc}, locus="loss")


def multiplied(evidence: Evidence, kind: Finding) -> dict[str, float] | None:
    """Return why what multiplies embeddings drove them to their bound: weights went no farther than their length.

    Or they were there before the first step, and retrieved no worse than the raw encoder: no random weights do.
    """
    track = evidence.track(kind.subject, "pass_through")
    ways = ways_of(evidence)
    cut = kind.judgement.bounds.critical if kind.judgement else None
    if track is not None and cut is not None and float(track.series.values[0]) < cut:
        kept = [change for one, change in starts_of(evidence) if one.inside and change[1].high >= 0]
        return {f"{kind.subject}/pass_through at first": float(track.series.values[0])} if kept else None
    if track is None or not ways or max(ways) > OWN_LENGTH or float(track.series.values[0]) < FAR_FROM_BOUND:
        return None
    return {f"{kind.subject}/pass_through at first": float(track.series.values[0]), "way of the weights": max(ways)}


def _teaching(evidence: Evidence, kind: Finding) -> float | None:
    """Return which share of the batch's rows teaches in the first steps, of the stream where most do."""
    known = [first(evidence, f"{one.name}/teaching") for one in evidence.streams if one.role in EMBEDDINGS]
    return max((one for one in known if one is not None), default=None)


def no_push(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    push, spreads = last(evidence, "pairs/push"), last(evidence, "pairs/push_all")
    # What pushes all others alike, and hardly the nearest, is too warm.
    if push is None or push > cuts["push"] or (spreads is not None and spreads > cuts["all"]):
        return None
    because = {"pairs/push": push}
    pull = last(evidence, "pairs/pull")
    if (push == 0 and pull == 0) or _one_vector(evidence):
        return None  # no force at all, or rounding, as where all vectors are one from the first batch on
    if pull is not None:
        because["pairs/pull"] = pull
    terms, strongest = strongest_push(evidence)
    return Suspicion(because=because | strongest, locus=", ".join(terms) or "loss")


def _one_vector(evidence: Evidence) -> bool:
    """Return whether all vectors of a side were one in the first batches, so that nothing could be pushed apart."""
    return any(float(one.values[:_FIRST].min()) > _ONE for one in common_shares(evidence) if len(one))


def never_pushes(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    start, opening = first(evidence, "pairs/push"), opening_of(evidence, "pairs/push")
    if start is None or opening is None or max(start, opening) > cuts["push"]:
        return None
    if not _opened_before_any_update(evidence) and replaced(evidence, OWN_LENGTH):
        return None  # what is read is a loss at weights that the first step has made
    return no_push(evidence, kind, cuts)


def _opened_before_any_update(evidence: Evidence) -> bool:
    series = evidence.series("pairs/push", on="batch").finite()
    return len(series) > 0 and int(series.steps[0]) <= 1
