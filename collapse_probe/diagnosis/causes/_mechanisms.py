"""Every mechanism, in the order in which they are asked: what would look like a later one stands before it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .._contract import Finding, Remedy, Threshold
from .._evidence import EMBEDDINGS, Evidence
from ..detectors import BY_CODE
from ..detectors._data import NEAR_COPIES, first_copies
from ..detectors._geometry import PUSH
from ..detectors._learning import CANDIDATES, DETACHED, LEFT_OUT
from ._contract import Mechanism, Suspicion
from ._penalties import OF_CORRECTIONS, leak, penalty, strongest_push
from ._readings import first, group_of, last, leap, numbers_of, scaled_by

MEASURED = "measured on 73 failing and 27 harmless trainings of heads over frozen vectors"

WEIGHTS_OF_NOTHING = 1e-12
"""What the updates of a group that begins at zero are held against."""

HALVES = ("fp16", "float16")
"""Names of the half type that overflows."""

_GEOMETRY = ("one_sided_collapse", "complete_collapse", "cone", "dead_dimensions", "dimensional_collapse")
_COLLAPSES = (*_GEOMETRY, "scale_collapse", "scale_explosion")
_FALLS = (*_COLLAPSES, "saturation", "hubness", "loss_against_retrieval", "harmful_correction", "side_gap")


def _wrong_pairs(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because=numbers_of(kind), locus="training pairs")


def _false_negatives(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    copies = first_copies(evidence).values
    if not len(copies) or not float(np.median(copies)) > cuts["copies"]:
        return None
    return Suspicion(because={NEAR_COPIES: float(np.median(copies))}, locus="training pairs")


def _leak(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because=numbers_of(kind), locus="reference pairs")


def _half(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind == "divergence" and evidence.config.precision not in HALVES:
        return None
    return Suspicion(because=numbers_of(kind), locus=kind.evidence[0].partition("/")[2] if kind.evidence else "")


def _path(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.kind != "ties":
        return Suspicion(because=numbers_of(kind))
    batch = last(evidence, "pairs/tied_share")
    if batch is None or batch > cuts["tied"]:
        return None
    return Suspicion(because={**numbers_of(kind), "pairs/tied_share of batches": batch})


def _one_candidate(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    because = numbers_of(kind)
    return Suspicion(because={CANDIDATES: because[CANDIDATES]}, locus="batch") if CANDIDATES in because else None


def _not_trained(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
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


def _small_steps(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    sizes = [float(np.median(one.values)) for one in evidence.groups("update")]
    if not sizes or not 0 < max(sizes) < cuts["update"]:
        return None
    return Suspicion(because={"largest median update": max(sizes)}, locus="optimizer")


def _large_steps(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    found = []
    drifts = [one for one in evidence.groups("drift") if float(one.values[0]) > cuts["from_zero"]]
    from_zero = {group_of(one): one for one in drifts}
    for series in evidence.groups("update"):
        way = from_zero.get(group_of(series))
        if way is not None:
            # Every step is a large share of what it began with: its own size counts, against a vector of length 1.
            size = float(way.values[0]) * WEIGHTS_OF_NOTHING
            if int(way.steps[0]) <= 1 and size > 1.0:
                found.append((size, int(way.steps[0]), group_of(way)))
            continue
        leapt = leap(series, early=20, times=cuts["times"], least=cuts["least"])
        if leapt is not None and leapt[0] > (cuts["early"] if leapt[1] <= 20 else cuts["least"]):
            found.append((*leapt, group_of(series)))
    if not found:
        return None
    size, step, group = max(found)
    return Suspicion(because={f"update/{group}": size, "at step": float(step)}, locus=group)


def _inside_the_loss(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect the loss where embeddings are finite and of their usual size, and the gradient is no number."""
    onset = kind.judgement.onset if kind.judgement else None
    gradient = evidence.series("gradient/norm")
    bad = gradient.steps[~np.isfinite(gradient.values)] if len(gradient) else gradient.steps
    if onset is None or not len(bad) or int(bad[0]) != onset.step or evidence.config.precision in HALVES:
        return None
    before = gradient.where(gradient.steps < onset.step).finite().values
    if len(before) and before[-1] > cuts["grew"] * float(np.median(before)):
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


def _dead(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because=numbers_of(kind), locus=kind.subject)


def _no_anchor(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if (evidence.config.trained_by or evidence.config.similarity) == "cosine":
        return None
    if kind.kind == "scale_explosion":
        radial = last(evidence, f"{kind.subject}/radial")
        grew = kind.judgement.value if kind.judgement else None
        if radial is not None and radial > cuts["outward"] and (grew or 0.0) > cuts["norm"]:
            return Suspicion(because={"norm changed": grew or 0.0, f"{kind.subject}/radial": radial}, locus="loss")
    found = scaled_by(evidence, kind.subject)
    if found is None or found[0] < cuts["norm"] or found[1] < cuts["degree"]:
        return None
    return Suspicion(because={"norm changed": found[0], "degree of the loss": found[1]}, locus="loss")


def _temperature(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    batch, loss = evidence.series("pairs/auc", on="batch").finite(), evidence.series("loss/total", on="batch").finite()
    if len(batch) < 3 or not len(loss) or batch.n[-1] < 4:
        return None
    chance = math.log(float(batch.n[-1]))
    auc = float(np.median(batch.values[-8:]))
    # A loss of another kind may pass by: one that cannot teach stays near chance from the first step on.
    shares = [float(np.median(part)) / chance for part in np.array_split(loss.values, 4)]
    share = shares[-1]
    if min(shares) < cuts["share"] or max(shares) > 1.05 or auc < cuts["auc"]:
        return None
    return Suspicion(because={"loss over log n": share, "pairs/auc": auc}, locus="loss")


def _no_push(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    push = last(evidence, "pairs/push")
    if push is None or push > cuts["push"]:
        return None
    because = {"pairs/push": push}
    pull = last(evidence, "pairs/pull")
    if pull is not None:
        because["pairs/pull"] = pull
    terms, strongest = strongest_push(evidence)
    return Suspicion(because=because | strongest, locus=", ".join(terms) or "loss")


def _never_pushes(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    start = first(evidence, "pairs/push")
    return _no_push(evidence, kind, cuts) if start is not None and start <= cuts["push"] else None


def _few(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    examples = evidence.config.examples
    if examples is None or examples > cuts["examples"]:
        return None
    return Suspicion(because={"training pairs": float(examples)}, locus="training pairs")


def _random_head(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    overlap = evidence.series("pairs/neighbour_overlap", on="reference").finite()
    start = float(overlap.values[0]) if len(overlap) and int(overlap.steps[0]) == 0 else None
    if start is None or start > cuts["overlap"]:
        return None
    found = evidence.evaluations
    for curve in evidence.curves:
        raw, scored = found.raw(curve.name), found.of(curve.name, found.judged(curve.name))
        if raw is None or not scored or scored[0].step != 0:
            continue
        change = found.change(raw, scored[0], curve.metric)
        if change is not None and change[1].high < 0:
            because = {
                f"{curve.name}/{curve.metric} of step 0 minus raw": change[0],
                "neighbours kept at step 0": start,
            }
            return Suspicion(because=because, locus="the head's first weights")
    return None


def _narrow(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    rising = next((one for one in evidence.curves if one.inside and one.rose and not one.fell), None)
    if rising is None or rising.worst is None:
        return None
    start = next(one for one in rising.changes if one.against == "start")
    return Suspicion(because={f"{rising.name}/{rising.metric}": start.value}, locus="training pairs")


_NO_REPULSION = Mechanism(
    cause="no_repulsion",
    title="nothing pushes different texts apart",
    explains=_FALLS,
    suspects=_no_push,
    formula="The loss's descent does not move the five nearest others of the batch apart, on unit vectors, in the "
    "last readings. A push from outside the batch, such as a queue, is not seen.",
    thresholds={"push": Threshold(0.02, f"{MEASURED}: an in-batch softmax .01 to .4, what only pulls below -.02")},
    remedies=PUSH,
    decides="add a contrastive term, or take the pulling one away",
)

MECHANISMS = (
    Mechanism(
        cause="wrong_pairs",
        title="queries are paired with documents that are not theirs",
        explains=("mismatched_pairs",),
        suspects=_wrong_pairs,
        formula="The kind itself: the first batches' pairs are at chance where held-out pairs are told apart.",
        remedies=(Remedy(change={"data": "look at ten pairs: a shifted row, a wrong column, a shuffled side"}),),
        decides="pair them again, and read the AUC of the first batches",
    ),
    Mechanism(
        cause="false_negatives",
        title="near-copies of a query's own document are its negatives",
        explains=("false_negatives", "hubness", "loss_against_retrieval", "overfitting", "forgetting"),
        suspects=_false_negatives,
        formula="In the first batch a query has more near-copies of its own document than the cut.",
        thresholds={"copies": BY_CODE["CP514"].thresholds["copies"]},
        remedies=BY_CODE["CP514"].remedies,
        decides="batches without near-copies, or near-copies masked in the loss",
    ),
    Mechanism(
        cause="leak",
        title="the answer is in the question, or the question in the answer",
        explains=("too_good",),
        suspects=_leak,
        formula="The kind itself: nearly every own document is the first before anything is trained.",
        remedies=(Remedy(change={"data": "take the query out of its document"}),),
        decides="the same pairs without what queries and documents share word for word",
    ),
    Mechanism(
        cause="half_precision",
        title="half precision loses what training adds",
        explains=("underflow", "divergence"),
        suspects=_half,
        formula="Updates are lost in groups of a half type; or a run under float16 is not finite.",
        remedies=(
            Remedy(change={"optimizer": "keep weights in float32, and compute under autocast"}, reading="lost/GROUP"),
        ),
        decides="the same run in float32",
    ),
    Mechanism(
        cause="training_and_scoring_differ",
        title="what is trained is not what is scored",
        explains=("path_mismatch", "ties"),
        suspects=_path,
        formula="Scored vectors equal bit for bit while weights moved; or scored vectors tie, and those of the batches "
        "do not.",
        thresholds={"tied": Threshold(0.02, "equal documents in a batch are rare (own choice)")},
        remedies=(Remedy(change={"model": "score with the module that is trained"}),),
        decides="score with the module that is trained",
    ),
    Mechanism(
        cause="nothing_left_to_learn_from",
        title="there is nothing left to learn from",
        explains=("no_learning",),
        suspects=_one_candidate,
        formula="No gradient arrived, and a batch has one candidate.",
        remedies=tuple(one for one in BY_CODE["CP501"].remedies if one.part == CANDIDATES),
        decides="batches of more than one pair",
    ),
    Mechanism(
        cause="not_trained",
        title="weights that should learn do not",
        explains=("no_learning", "identity", "gate_never_opened", "gate_collapse", "delta_collapse"),
        suspects=_not_trained,
        formula="Every learning rate is 0, no gradient arrived, or a group did not move by a bit.",
        remedies=(
            Remedy(
                change={
                    "optimizer": "give the optimiser the parameters, and a rate above 0",
                    "model": "look for a detached output, or a module that is frozen",
                },
                reading="update/GROUP",
            ),
        ),
        decides="put the parameters in an optimiser with a rate above 0, and look whether a gradient arrives",
    ),
    Mechanism(
        cause="steps_too_small",
        title="steps are too small to learn from",
        explains=("no_learning",),
        suspects=_small_steps,
        formula="The largest group's median relative update is above 0 and below the cut.",
        thresholds={"update": Threshold(1e-5, f"{MEASURED}: 7e-5 in a whole run was none")},
        remedies=(Remedy(change={"optimizer": "multiply the learning rate by 10, then by 100"}, reading="pairs/mrr"),),
        decides="the learning rate times 10, and times 100",
    ),
    Mechanism(
        cause="penalty_too_strong",
        title="a penalty is stronger than what it should hold",
        explains=(*OF_CORRECTIONS, *_COLLAPSES),
        suspects=penalty,
        formula="Rate x weight decay x steps of a group is above the cut; or in the first steps a term that is more "
        "than half of the force, or the whole loss, does nearly nothing but shrink; of a correction or a gate: there.",
        thresholds={
            "decay": Threshold(0.5, f"{MEASURED}: 3 to 16 in the failures, usually .005"),
            "radial": Threshold(-0.7, MEASURED),
            "at_correction": Threshold(
                -0.5, "the same at a correction, whose rows differ in length: a squared norm reads -.70 there (measured)"
            ),
            "share": Threshold(0.5, "more than all other terms together; .92 to .97 in three planted failures"),
        },
        remedies=(Remedy(change={"optimizer": "lower the weight decay", "loss": "lower the penalty's weight"}),),
        decides="the penalty times 0",
    ),
    Mechanism(
        cause="no_scale_anchor",
        title="nothing holds the scale",
        explains=("scale_collapse", "scale_explosion", "dimensional_collapse"),
        suspects=_no_anchor,
        formula="Norms changed by more than the cut, and the loss followed them as a power at all readings; or they "
        "grew, and the loss's descent still makes them grow in the last readings.",
        thresholds={
            "norm": Threshold(4.0, f"{MEASURED}, as of scale explosion"),
            "degree": Threshold(0.7, "an L1 loss has degree 1, a squared error 2, a cosine 0"),
            "outward": Threshold(0.05, "under a cosine it is 0, whatever size the steps have (own choice)"),
        },
        remedies=(
            Remedy(change={"normalise": True}),
            Remedy(change={"model": "give embeddings unit length", "loss": "or add a term that anchors their scale"}),
        ),
        decides="unit length, or an anchored term",
    ),
    replace(
        _NO_REPULSION,
        suspects=_never_pushes,
        formula="The loss's descent moves the five nearest others of the batch apart neither in the first 20 steps nor "
        "in the last readings, on unit vectors: then no size of steps is to blame.",
    ),
    Mechanism(
        cause="penalty_leak",
        title="a penalty reaches what it was not meant for",
        explains=_FALLS,
        suspects=leak,
        formula="In the first steps a term that holds a correction, and does nearly nothing but shrink it, "
        "has more than the cut of the force at the embeddings, too. Of a shared module its embeddings are asked.",
        thresholds={
            "share": Threshold(0.3, "of its force on the shared module (design)"),
            "holds": Threshold(0.5, "more than all other terms together at the correction"),
            "radial": Threshold(-0.7, f"{MEASURED}, as of a penalty too strong"),
        },
        remedies=(
            Remedy(change={"detach_delta": True}),
            Remedy(change={"model": "detach the input of what the penalty is about"}),
        ),
        decides="the input of what the penalty is about, detached",
    ),
    Mechanism(
        cause="steps_too_large",
        title="steps are too large",
        explains=(*_FALLS, "forgetting", "divergence"),
        suspects=_large_steps,
        formula="A group's relative update is above the cut in one of the first 20 steps, or above ten times the "
        "median of its own past; of a group that begins at zero, the first step is longer than 1.",
        thresholds={
            "early": Threshold(0.1, f"{MEASURED}: .19 to 7.8; at most .10 in the rest"),
            "times": Threshold(10.0, MEASURED),
            "least": Threshold(0.02, "a leap from nothing to little is none (own choice)"),
            "from_zero": Threshold(1e3, "a group that goes so many times its own size at first began at zero"),
        },
        remedies=(
            Remedy(change={"learning_rate": 1e-4}),
            Remedy(change={"optimizer": "divide the learning rate by 10, or warm it up"}),
        ),
        decides="the learning rate divided by 10",
    ),
    Mechanism(
        cause="loss_computed_wrongly",
        title="the loss's own gradient is no number",
        explains=("divergence",),
        suspects=_inside_the_loss,
        formula="At the first step that is not finite the gradient is none, while embeddings are finite and of their "
        "usual size, and the gradients before were: a root of 0, a logarithm of 0, a division by a norm of 0.",
        thresholds={"grew": Threshold(10.0, "a run that diverges by its steps grows first (own choice)")},
        remedies=(
            Remedy(
                change={
                    "loss": "add a constant under the root or the logarithm, or mask entries of distance 0",
                    "data": "look for two equal texts in that batch",
                },
                reading="gradient/norm",
            ),
        ),
        decides="the same loss from a reference implementation, on the batch of that step",
    ),
    Mechanism(
        cause="dead_units",
        title="units that never fire",
        explains=("dead_dimensions",),
        suspects=_dead,
        formula="The kind itself, where neither steps nor a penalty explain it.",
        remedies=(
            Remedy(change={"projection": "linear"}),
            Remedy(change={"model": "look at the last layer: a rectifier and its bias"}),
        ),
        decides="the last layer without its rectifier, or with a bias of 0",
    ),
    Mechanism(
        cause="temperature_or_margin",
        title="the temperature is too high for the loss to teach",
        explains=(*_FALLS, "no_learning"),
        suspects=_temperature,
        formula="The loss stays near log n, its value by chance, while the batch's pairs are told apart.",
        thresholds={
            "share": Threshold(0.9, MEASURED),
            "auc": Threshold(0.9, MEASURED),
        },
        remedies=(
            Remedy(change={"temperature": 0.05}),
            Remedy(change={"loss": "lower the temperature: multiply cosines by 20"}),
        ),
        decides="the temperature x 2 and x .5",
    ),
    _NO_REPULSION,
    Mechanism(
        cause="too_few_pairs",
        title="too few pairs",
        explains=("overfitting", "forgetting"),
        suspects=_few,
        formula="There are fewer distinct training examples than the cut.",
        thresholds={"examples": Threshold(1000, "96 pairs cost SciFact .07 (measured); own choice")},
        remedies=(Remedy(change={"data": "train on more pairs", "optimizer": "take fewer or smaller steps"}),),
        decides="the same number of steps on ten times the pairs",
    ),
    Mechanism(
        cause="random_head",
        title="a head of random weights over an encoder that was good",
        explains=("forgetting",),
        suspects=_random_head,
        formula="Step 0 is below the raw encoder, resolved, and keeps less than the cut of each document's neighbours.",
        thresholds={"overlap": Threshold(0.8, f"{MEASURED}; true of every random head, so asked last")},
        remedies=(
            Remedy(change={"projection": "linear"}),
            Remedy(change={"model": "let the head start at the identity, or leave it out"}),
        ),
        decides="a head that starts at the identity",
    ),
    Mechanism(
        cause="narrow_data",
        title="the training pairs are of one domain",
        explains=("forgetting",),
        suspects=_narrow,
        formula="The trained domain rises, resolved, while another falls, and nothing else explains it.",
        remedies=(
            Remedy(
                change={
                    "optimizer": "take smaller steps",
                    "data": "mix in pairs of other domains",
                    "model": "interpolate back towards the raw encoder",
                }
            ),
        ),
        decides="mixed data, or an interpolation of the weights",
    ),
)
"""Every mechanism: ``explain`` and the table of causes are made from it."""
