"""Mechanisms that lie in how the weights are moved."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ....journal import Series
from ....journal.vocabulary import OUTSIDE
from ..._contract import Finding
from ..._evidence import EMBEDDINGS, Evidence
from ...detectors._gradients import undone_shares
from ...detectors._learning import CANDIDATES, DETACHED, LEFT_OUT
from ...detectors._signature import BEGAN_AT_NOTHING
from .._contract import Suspicion
from .._readings import group_of, last, leap, numbers_of
from ._beginnings import SOON, WEIGHTS_OF_NOTHING, makers_of, ways_of
from ._forces import multiplied, never_pushes

FEWEST = 8
"""Readings of a loss from which on it can be the same for every batch (own choice)."""

_TEACHER = re.compile(r"teacher|target_|_target|momentum|(?<![a-z])(ema|slow)(?![a-z])", re.IGNORECASE)
"""What people call the slow copy of what they train."""

HALVES = ("fp16", "float16")
"""Names of the half type that overflows."""


def half(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind == "scale_collapse":
        return _half_lengths(evidence, kind)
    if kind.kind == "divergence" and evidence.config.precision not in HALVES:
        return _half_weights(evidence, kind)
    return Suspicion(because=numbers_of(kind), locus=kind.evidence[0].partition("/")[2] if kind.evidence else "")


def _half_lengths(evidence: Evidence, kind: Finding) -> Suspicion | None:
    """Suspect a norm that overflowed where vectors of float16 are zeros from the first batch on."""
    name = f"{kind.subject}/norm_median"
    norms = evidence.series(name, on="batch").finite()
    if not len(norms) or norms.dtype != "float16" or float(norms.values[:3].min()) > 0:
        return None
    return Suspicion(because={f"{name} at first": 0.0}, locus=f"{kind.subject}: a squared length above 65,504")


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


def itself(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect the optimiser's use where the kind says it all."""
    return Suspicion(because=numbers_of(kind), locus="optimizer")


def overwritten(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    found = {name: share for name, share in undone_shares(evidence).items() if share > cuts["undone"]}
    if not found:
        return None
    return Suspicion(because=found, locus=", ".join(name.partition("/")[2] for name in found))


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
    ways = evidence.groups("drift")
    still = [one for one in ways if float(one.values[-1]) == 0.0]
    if kind.kind == "no_learning" and len(still) < len(ways):
        # Where others move, a part that nobody calls, such as a pooler, is none that should.
        still = [one for one in still if one.reading in numbers_of(kind)]
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
    ways = ways_of(evidence)
    gradient = evidence.series("gradient/norm").finite().values
    if not ways or not 0 < max(ways) < cuts["way"] or not len(gradient) or float(np.median(gradient)) == 0:
        return None
    return Suspicion(because={"way of the farthest group": max(ways)}, locus="optimizer")


def large_steps(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    found = []
    drifts = [one for one in evidence.groups("drift") if float(one.values[0]) > cuts["from_zero"]]
    from_zero = {group_of(one): one for one in drifts}
    for series in makers_of(evidence) or evidence.groups("update"):
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
    found = found or _overshot(evidence, cuts) or _left_behind(evidence, cuts)
    if not found or _not_by_steps(evidence, kind, max(found)[1]):
        return None
    size, step, group = max(found)
    return Suspicion(because={f"update/{group}": size, "at step": float(step)}, locus=group)


def _overshot(evidence: Evidence, cuts: Mapping[str, float]) -> list[tuple[float, int, str]]:
    """Return the largest first update of weights, where the loss jumps up after it: none would, were it smaller."""
    loss = evidence.series("loss/total", on="batch").finite()
    soon = loss.values[(loss.steps > 1) & (loss.steps <= 20)] if len(loss) else loss.values
    if len(soon) < FEWEST or int(loss.steps[0]) > 1 or not 0 < loss.values[0] * cuts["jump"] < float(np.median(soon)):
        return []
    firsts = [(float(one.values[0]), int(one.steps[0]), group_of(one)) for one in makers_of(evidence)]
    return [max(firsts)] if firsts and cuts["overshoots"] < max(firsts)[0] < BEGAN_AT_NOTHING else []


def _left_behind(evidence: Evidence, cuts: Mapping[str, float]) -> list[tuple[float, int, str]]:
    """Return the largest update of pretrained weights, where all that moved went far: little is left of what they knew.

    A new head goes as far as it likes; then the others have not.
    """
    moved = [one for one in evidence.groups("drift") if float(one.values[-1]) > 0 and group_of(one) != OUTSIDE]
    if not evidence.said("pretrained") or not moved:
        return []
    if min(float(one.values[-1]) for one in moved) < cuts["way"]:
        return []
    sizes = [
        (float(one.values.max()), int(one.steps[one.values.argmax()]), group_of(one)) for one in makers_of(evidence)
    ]
    return [max(sizes)] if sizes else []


def _not_by_steps(evidence: Evidence, kind: Finding, step: int) -> bool:
    """Return whether a large step cannot have done it: a gate that closed at another time, a bound not reached so."""
    onset = kind.judgement.onset if kind.judgement else None
    if kind.kind in ("gate_collapse", "delta_collapse"):
        return onset is None or not onset.low - SOON <= step <= onset.high + SOON
    return kind.kind == "saturation" and multiplied(evidence, kind) is not None


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
