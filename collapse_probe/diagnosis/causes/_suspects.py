"""Whether a mechanism is suspected: from a run's readings and one of its kinds to why it is, or None."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ...journal import Event, Series
from ...journal.vocabulary import OUTSIDE
from .._contract import Finding, Interval
from .._curves import Curve
from .._evidence import EMBEDDINGS, Evidence
from ..detectors._data import NEAR_COPIES, OWN_AGAIN, first_copies
from ..detectors._forgetting import epochs
from ..detectors._learning import CANDIDATES, DETACHED, LEFT_OUT
from ..detectors._paths import BATCH_LENGTHS, BATCH_MEANS
from ._contract import Suspicion
from ._penalties import strongest_push
from ._readings import first, group_of, last, leap, numbers_of, scaled_by, there_before

WEIGHTS_OF_NOTHING = 1e-12
"""What the updates of a group that begins at zero are held against."""

SOON = 5
"""Steps within which what a large step broke is broken (own choice)."""

OWN_LENGTH, FAR_FROM_BOUND = 1.0, 0.5
"""Way of weights that multiplies nothing by 10, and pass-through of embeddings far from a bound (own choice)."""

FEWEST = 8
"""Readings of a loss from which on it can be the same for every batch (own choice)."""

BEGAN_AT_NOTHING = 1e3
"""Relative update above which a group began at zero."""

FIRST_AUC = "pairs/auc of the first batches"
"""How the reading begins by which first batches are told apart and scored pairs are not."""

_TEACHER = re.compile(r"teacher|target_|_target|momentum|(?<![a-z])(ema|slow)(?![a-z])", re.IGNORECASE)
"""What people call the slow copy of what they train."""

HALVES = ("fp16", "float16")
"""Names of the half type that overflows."""


def wrong_pairs(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because=numbers_of(kind), locus="training pairs")


def false_negatives(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    copies, again = first_copies(evidence).values, numbers_of(kind).get(OWN_AGAIN)
    if again is not None:
        return Suspicion(because={OWN_AGAIN: again}, locus="training pairs")
    if not len(copies) or not float(np.median(copies)) > cuts["copies"]:
        return None
    return Suspicion(because={NEAR_COPIES: float(np.median(copies))}, locus="training pairs")


def evaluator(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    because = numbers_of(kind)
    scored = next((name for name in because if name.endswith(" at every evaluation")), None)
    return None if scored is None else Suspicion(because=because, locus=scored.partition("/")[0])


def leaked(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because=numbers_of(kind), locus="reference pairs")


def half(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind == "divergence" and evidence.config.precision not in HALVES:
        return _half_weights(evidence, kind)
    return Suspicion(because=numbers_of(kind), locus=kind.evidence[0].partition("/")[2] if kind.evidence else "")


def _half_weights(evidence: Evidence, kind: Finding) -> Suspicion | None:
    """Suspect weights of a half type that were no numbers after a step whose gradient was one."""
    onset = kind.judgement.onset if kind.judgement else None
    gradient = evidence.series("gradient/norm").finite()
    if onset is None or not (gradient.steps <= onset.step).any():
        return None
    if _finite_at(evidence, "gradient/norm", onset.step) is False:
        return None
    halves = [group_of(one) for one in evidence.groups("lost")]
    broken = [group for group in halves if _finite_at(evidence, f"drift/{group}", onset.step) is False]
    return Suspicion(because=numbers_of(kind), locus=", ".join(broken)) if broken else None


def _finite_at(evidence: Evidence, reading: str, step: int) -> bool | None:
    """Return whether a reading is a number at a step; None where it was not read then."""
    series = evidence.series(reading)
    values = series.values[series.steps == step] if len(series) else series.values
    return bool(np.isfinite(values).all()) if len(values) else None


def path(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind != "ties":
        return Suspicion(because=numbers_of(kind))
    batch = last(evidence, "pairs/tied_share")
    if batch is None or batch > cuts["tied"]:
        return None
    return Suspicion(because={**numbers_of(kind), "pairs/tied_share of batches": batch})


def of_its_batch(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    said = next((one for one in evidence.run.of(Event) if one.name == "batch_norm"), None)
    because = numbers_of(kind)
    told = any(name in (BATCH_MEANS, BATCH_LENGTHS) or name.startswith(FIRST_AUC) for name in because)
    return Suspicion(because=because, locus=said.subject) if said is not None and told else None


def nothing_left(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    because = numbers_of(kind)
    if CANDIDATES in because:
        return Suspicion(because={CANDIDATES: because[CANDIDATES]}, locus="batch")
    loss, gradient = (evidence.series(name).finite().values for name in ("loss/total", "gradient/norm"))
    if len(loss) and len(gradient) and float(np.median(np.abs(loss))) == float(np.median(gradient)) == 0.0:
        return Suspicion(because={"loss/total": 0.0}, locus="loss")
    if len(loss) < FEWEST or not len(gradient):
        return None
    # What is the same for every batch does not look at its texts, and its gradient is what rounding leaves of it.
    size = float(np.abs(loss).max())
    spread, left = float(np.ptp(loss)), float(np.median(gradient))
    if size == 0 or spread > cuts["constant"] * size or left > cuts["constant"] * size:
        return None
    return Suspicion(because={"loss/total": float(loss[-1]), "gradient/norm": left}, locus="loss")


def own_teacher(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    for stream in evidence.run.coverage.values():
        pushed = last(evidence, f"{stream.stream}/radial") is not None
        if pushed and _TEACHER.search(stream.where) and (found := never_pushes(evidence, kind, cuts)) is not None:
            return Suspicion(because=found.because, locus=stream.where)
    return None


def not_trained(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    rates = evidence.groups("rate")
    if rates and all(float(np.abs(one.values).max()) == 0.0 for one in rates):
        return Suspicion(because={"learning rate": 0.0}, locus="optimizer")
    gradient = evidence.series("gradient/norm").finite()
    if len(gradient) and float(gradient.values.max()) == 0.0:
        return Suspicion(because={"gradient/norm": 0.0}, locus="loss")
    if DETACHED in numbers_of(kind):
        return Suspicion(because={DETACHED: 0.0}, locus="model")
    if evidence.left_out:
        return Suspicion(because={LEFT_OUT: float(len(evidence.left_out))}, locus=", ".join([*evidence.left_out][:3]))
    still = [one for one in evidence.groups("drift") if float(one.values[-1]) == 0.0]
    if still:
        return Suspicion(because={still[0].reading: 0.0}, locus=", ".join(group_of(one) for one in still))
    return None


def small_steps(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    sizes = [float(np.median(one.values)) for one in evidence.groups("update")]
    if sizes and 0 < max(sizes) < cuts["update"]:
        return Suspicion(because={"largest median update": max(sizes)}, locus="optimizer")
    if kind.kind != "identity":
        return None
    # What began at nothing has gone many times its own length after one step: the rest says how far steps carry.
    ways = _ways(evidence)
    gradient = evidence.series("gradient/norm").finite().values
    if not ways or not 0 < max(ways) < cuts["way"] or not len(gradient) or float(np.median(gradient)) == 0:
        return None
    return Suspicion(because={"way of the farthest group": max(ways)}, locus="optimizer")


def _ways(evidence: Evidence) -> list[float]:
    """Return how far each group has gone in all, over its length at first; not those that began at nothing."""
    return [float(one.values[-1]) for one in evidence.groups("drift") if float(one.values[0]) < BEGAN_AT_NOTHING]


def _makers(evidence: Evidence) -> list[Series]:
    """Return the updates of what makes embeddings: no part outside the model, no bias, which may begin at nothing."""
    groups = evidence.groups("update")
    return [one for one in groups if group_of(one) != OUTSIDE and group_of(one).rpartition(".")[2] != "bias"]


def large_steps(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    found = []
    drifts = [one for one in evidence.groups("drift") if float(one.values[0]) > cuts["from_zero"]]
    from_zero = {group_of(one): one for one in drifts}
    for series in _makers(evidence) or evidence.groups("update"):
        way = from_zero.get(group_of(series))
        if way is not None:
            # Every step is a large share of what it began with: its own size counts, against a vector of length 1.
            size = float(way.values[0]) * WEIGHTS_OF_NOTHING
            if int(way.steps[0]) <= 1 and size > 1.0:
                found.append((size, int(way.steps[0]), group_of(way)))
            continue
        lasting = max(_usual(series, kind), _grown(series, times=cuts["times"]))
        if lasting > cuts["lasting"]:
            found.append((lasting, int(series.steps[len(series) // 2]), group_of(series)))
        leapt = leap(series, early=20, times=cuts["times"], least=cuts["least"])
        if leapt is not None and leapt[1] > 20 and _vanishing(evidence, group_of(series), leapt[1]):
            continue
        if leapt is not None and leapt[0] > (cuts["early"] if leapt[1] <= 20 else cuts["least"]):
            found.append((*leapt, group_of(series)))
    if not found or _not_by_steps(evidence, kind, max(found)[1]):
        return None
    size, step, group = max(found)
    return Suspicion(because={f"update/{group}": size, "at step": float(step)}, locus=group)


def _not_by_steps(evidence: Evidence, kind: Finding, step: int) -> bool:
    """Return whether a large step cannot have done it: a gate that closed at another time, a bound not reached so."""
    onset = kind.judgement.onset if kind.judgement else None
    if kind.kind in ("gate_collapse", "delta_collapse"):
        return onset is None or not onset.low - SOON <= step <= onset.high + SOON
    return kind.kind == "saturation" and _multiplied(evidence, kind) is not None


def _usual(series: Series, kind: Finding) -> float:
    """Return the median over all steps; of forgetting over readings, most of which are of the first steps.

    Those carry weights away from what they knew. What falls with the trained domain falls by steps that last.
    """
    if kind.kind == "forgetting":
        return float(np.median(series.values))
    return float(np.median(np.interp(np.arange(series.steps[0], series.steps[-1] + 1), series.steps, series.values)))


def _grown(series: Series, *, times: float) -> float:
    """Return the updates of the last tenth of a run, where they are many times those of its first steps; 0 else."""
    values = series.values[np.isfinite(series.values)]
    if len(values) < 20:
        return 0.0
    first, last_ = float(np.median(values[:5])), float(np.median(values[-len(values) // 10 :]))
    return last_ if first > 0 and last_ > times * first else 0.0


def _vanishing(evidence: Evidence, group: str, step: int) -> bool:
    """Return whether a group's weights are near nothing then: every step is a large share of what is left of them."""
    drift = evidence.series(f"drift/{group}").finite()
    return len(drift) > 0 and 0.9 < float(drift.values[np.argmin(np.abs(drift.steps - step))]) < 1.1


def inside_the_loss(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect the loss where embeddings are finite and of their usual size, and the gradient is no number."""
    onset = kind.judgement.onset if kind.judgement else None
    gradient = evidence.series("gradient/norm")
    bad = gradient.steps[~np.isfinite(gradient.values)] if len(gradient) else gradient.steps
    if onset is None or not len(bad) or int(bad[0]) != onset.step or evidence.config.precision in HALVES:
        return None
    before = gradient.where(gradient.steps < onset.step).finite().values
    if len(before) and before[-1] > cuts["grew"] * float(np.median(before)) and _longer(evidence, onset.step, cuts):
        return None
    separation = evidence.series("pairs/d_prime", on="batch")
    if not np.isfinite(separation.values[separation.steps <= onset.step]).all():
        return None
    found = {}
    for one in evidence.streams:
        norms = evidence.series(f"{one.name}/norm_median", on="batch")
        known = norms.where(norms.steps <= onset.step) if one.role in EMBEDDINGS else norms.where(norms.steps < 0)
        if len(known):
            if not np.isfinite(known.values[-1]) or known.values[-1] > cuts["grew"] * known.values[0]:
                return None
            found[f"{one.name}/norm_median at that step"] = float(known.values[-1])
    return Suspicion(because={"gradient/norm": math.nan, **found}, locus="loss") if found else None


def _longer(evidence: Evidence, step: int, cuts: Mapping[str, float]) -> bool:
    """Return whether updates grew too before a step, or were not read: then the steps may have broken the weights."""
    groups = [one.values[one.steps < step] for one in evidence.groups("update")]
    groups = [one for one in groups if len(one)]
    return not groups or any(one[-1] > cuts["grew"] * float(np.median(one)) for one in groups)


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
    pushes = max(push, _opening(evidence, "pairs/push") or push) > cuts["push"]
    if pull < cuts["pull"] or (pushes and not to_the_end) or auc < cuts["auc"]:
        return None
    if _replaced(evidence, cuts["whole"]):
        return None  # after such a step the readings are of other weights, and the steps are to blame
    return Suspicion(because={"pairs/pull": pull, "pairs/push": push, "pairs/auc": auc}, locus="loss")


def _opening(evidence: Evidence, reading: str) -> float | None:
    """Return a reading's very first value of the batches, before any update where step 1 was read; None without one."""
    series = evidence.series(reading, on="batch").finite()
    return float(series.values[0]) if len(series) else None


def _replaced(evidence: Evidence, whole: float) -> bool:
    """Return whether one of the first steps moved a group, and no bias, farther than its own length."""
    firsts = [one.values[one.steps <= SOON] for one in _makers(evidence)]
    return any(len(one) > 0 and whole < float(one.max()) < BEGAN_AT_NOTHING for one in firsts)


def no_anchor(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if (evidence.config.trained_by or evidence.config.similarity) == "cosine":
        return None
    spreads = last(evidence, "pairs/push_all")
    if kind.kind == "scale_collapse" and spreads is not None and spreads < 0 and _pulls_alone(evidence):
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
    batch, loss = (evidence.series(name, on="batch").finite() for name in ("pairs/auc", "loss/total"))
    if len(batch) < 3:
        return None
    auc = float(np.median(batch.values[-8:]))
    if kind.kind == "saturation" and (found := _multiplied(evidence, kind)) is not None:
        return Suspicion(because=found, locus="what multiplies embeddings before their bound")
    pull, push = _opening(evidence, "pairs/pull"), _opening(evidence, "pairs/push")
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


def _multiplied(evidence: Evidence, kind: Finding) -> dict[str, float] | None:
    """Return why what multiplies embeddings drove them to their bound: weights went no farther than their length.

    Or they were there before the first step, and retrieved no worse than the raw encoder: no random weights do.
    """
    track = evidence.track(kind.subject, "pass_through")
    ways = _ways(evidence)
    cut = kind.judgement.bounds.critical if kind.judgement else None
    if track is not None and cut is not None and float(track.series.values[0]) < cut:
        kept = [change for one, change in _begun(evidence) if one.inside and change[1].high >= 0]
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
    if push == 0 and pull == 0:
        return None  # no force at all, as where all vectors are one from the first batch on
    if pull is not None:
        because["pairs/pull"] = pull
    terms, strongest = strongest_push(evidence)
    return Suspicion(because=because | strongest, locus=", ".join(terms) or "loss")


def _pulls_alone(evidence: Evidence) -> bool:
    """Return whether nothing pushes from the first readings to the last: what shrinks then is drawn together."""
    pushes = first(evidence, "pairs/push"), last(evidence, "pairs/push")
    return all(one is not None and one < 0 for one in pushes)


def never_pushes(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    start, opening = first(evidence, "pairs/push"), _opening(evidence, "pairs/push")
    if start is None or opening is None or max(start, opening) > cuts["push"]:
        return None
    return no_push(evidence, kind, cuts)


def by_heart(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because=numbers_of(kind), locus="training pairs")


def few(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    examples, seen = evidence.config.examples, epochs(evidence)
    if examples is None or examples > cuts["examples"] or (seen is not None and seen < cuts["epochs"]):
        return None
    times = {} if seen is None else {"times that each was seen": seen}
    return Suspicion(because={"training pairs": float(examples), **times}, locus="training pairs")


def random_head(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind == "saturation":
        track = evidence.track(kind.subject, "pass_through")
        cut = kind.judgement.bounds.critical if kind.judgement else None
        stuck = track is not None and cut is not None and float(track.series.values[0]) < cut
        because = {f"{kind.subject}/pass_through at first": float(track.series.values[0])} if stuck and track else {}
        return Suspicion(because=because, locus="the first weights") if because else None
    if kind.kind != "forgetting" and not there_before(evidence, kind):
        return None
    if kind.kind == "harmful_correction":
        return _random_correction(evidence)
    overlap = evidence.series("pairs/neighbour_overlap", on="reference").finite()
    start = float(overlap.values[0]) if len(overlap) and int(overlap.steps[0]) == 0 else None
    if start is None or start > cuts["overlap"]:
        return None
    for curve, change in _begun(evidence):
        if change[1].high < 0:
            because = {
                f"{curve.name}/{curve.metric} of step 0 minus raw": change[0],
                "neighbours kept at step 0": start,
            }
            return Suspicion(because=because, locus="the head's first weights")
    return None


def _begun(evidence: Evidence) -> list[tuple[Curve, tuple[float, Interval]]]:
    """Return what step 0 is beside the raw encoder, on every collection where both were scored."""
    found, changes = evidence.evaluations, []
    for curve in evidence.curves:
        raw, scored = found.raw(curve.name), found.of(curve.name, found.judged(curve.name))
        if raw is not None and scored and scored[0].step == 0:
            change = found.change(raw, scored[0], curve.metric)
            changes += [] if change is None else [(curve, change)]
    return changes


def _random_correction(evidence: Evidence) -> Suspicion | None:
    """Suspect a correction that was as long as what it corrects before any step, where all that is lost was lost."""
    for stream in (one.name for one in evidence.streams if one.role == "correction"):
        reading = f"{stream}/correction_over_query"
        start = _opening(evidence, reading)
        if start is not None and start > OWN_LENGTH / 2:
            return Suspicion(because={f"{reading} at first": start}, locus=f"the first weights of {stream}")
    return None


def narrow(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    inside = [one for one in evidence.curves if one.inside and one.fell is False]
    starts = [(one, change) for one in inside if (change := one.against("start")) is not None]
    held = next(((one, change) for one, change in starts if one.rose or change.value >= 0), None)
    if held is None:
        return None
    curve, change = held
    return Suspicion(because={f"{curve.name}/{curve.metric}": change.value}, locus="training pairs")
