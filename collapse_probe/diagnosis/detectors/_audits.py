"""Before the first step: what a loss allows, what the pairs are like, what the model leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .._contract import Bounds, Condition, Detector, Judgement, NotApplicable, Remedy, Status, Subject, Threshold
from ._data import DATA
from ._geometry import PUSH
from ._learning import LEARNING
from ._signature import MEASURED, part

if TYPE_CHECKING:
    from .._audited import Audited

_RUN = {one.code: one for one in (*DATA, *LEARNING)}


_WHERE = {
    "zero": "where all embeddings are zero",
    "constant": "where all texts are one vector",
    "shuffled pairs": "with shuffled pairs",
}


def _scale(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    raw, half, eighth, double = (found.get(f"loss/{name}") for name in ("raw", "half", "an eighth", "double"))
    size = abs(raw) or 1.0
    parts = (
        _above("share of the loss that halving all embeddings gains", (raw - half) / size, cuts["shrinks"]),
        part("the loss at an eighth of their scale", eighth, half, eighth < half),
    )
    if raw < 0 and double < raw < half:
        parts = (_above("share of a negative loss that doubling them gains", (raw - double) / size, cuts["grows"]),)
    return Judgement(
        value=parts[0].value,
        bounds=Bounds(warning=parts[0].cut),
        conditions=parts,
        evidence=("loss/raw", "loss/half", "loss/an eighth", "loss/double", "forces/total/degree"),
        n=found.n,
    )


def _degenerate(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    raw = found.get("loss/raw")
    value = found.get(f"loss/{subject.name or 'constant'}")
    margin = cuts["margin"] * abs(raw)
    if subject.name == "shuffled pairs":
        if found.get("pairs/auc") < cuts["told apart"]:
            raise NotApplicable("the pairs are not told apart as they are")
        blind = abs(value - raw) <= 1e-3 * margin or value < raw
        parts = (part(f"the loss {_WHERE[subject.name]}", value, raw, blind),)
    else:
        best, where = found.get("loss/own pairs equal"), _WHERE.get(subject.name, f"at {subject.name}")
        parts = (
            part(f"the loss {where}", value, raw, value <= raw + margin),
            part("and above that where own pairs are equal by", value - best, margin, value <= best + margin),
        )
    return Judgement(
        value=value,
        bounds=Bounds(warning=raw, above=False),
        conditions=parts,
        evidence=(f"loss/{subject.name}", "loss/raw", "loss/own pairs equal"),
        n=found.n,
    )


def _push(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    term = subject.name or "total"
    push, pull = (found.get(f"forces/{term}/{name}") for name in ("push", "pull"))
    evidence = tuple(f"forces/{term}/{name}" for name in ("push", "pull", "radial"))
    if subject.name:
        # A term alone need not push: beside the number nothing is judged.
        return Judgement(value=push, evidence=evidence, n=found.n)
    apart = found.get("loss/constant") - found.get("loss/own pairs equal")
    raw = abs(found.get("loss/raw"))
    share = apart / raw if raw else 0.0
    return Judgement(
        value=push,
        bounds=Bounds(warning=cuts["push"], above=False),
        conditions=(
            part("push", push, cuts["push"], push <= cuts["push"]),
            part("pull", pull, 0.0, pull < 0),
            part("share of the loss that one vector for all texts costs", share, cuts["apart"], share <= cuts["apart"]),
        ),
        evidence=evidence,
        n=found.n,
    )


def _chance(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    share = found.get("loss/raw") / found.get("loss/chance")
    auc = found.get("pairs/auc")
    return Judgement(
        value=share,
        bounds=Bounds(warning=cuts["share"]),
        conditions=(
            part(
                f"the loss over {found.names['chance'][0]}, its value by chance",
                share,
                cuts["share"],
                share > cuts["share"],
            ),
            _above("pairs/auc", auc, cuts["auc"]),
        ),
        evidence=("loss/raw", "loss/chance", "pairs/auc"),
        n=found.n,
    )


def _gradient(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    if found.get("forces/total/gradient") == 0:
        return Judgement(
            value=0.0,
            conditions=(part("gradient of the loss at the embeddings", 0.0, 0.0, True),),
            evidence=("forces/total/gradient",),
            n=found.n,
        )
    left, all_of = (found.get(f"model/{name}") for name in ("left_out", "parameters"))
    return Judgement(
        value=left,
        bounds=Bounds(warning=0.0),
        conditions=(
            _above(f"parameters without a gradient, of {all_of:.0f} to be trained", left, 0.0),
            # Some may be left out on purpose.
            *(() if left == all_of else (Condition(reading="gradient", value=None, cut=0.0, holds=None, harm=True),)),
        ),
        evidence=("model/left_out",),
        n=found.n,
    )


def _mismatched(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    auc, equal = found.get("pairs/auc"), found.get("pairs/equal_documents")
    wrong = auc < cuts["critical"]
    cut = cuts["critical"] if wrong else cuts["warning"]
    parts = (part("pairs/auc", auc, cut, auc < cut),)
    if not wrong:
        parts = (
            *parts,
            part("pairs/equal_documents", equal, 0.01, equal < 0.01),
            part("share of the pairs that is wrong, about", 2 * (1 - auc), 2 * (1 - cut), auc < cut),
        )
    return Judgement(
        value=auc,
        bounds=Bounds(warning=cuts["warning"], critical=cuts["critical"], above=False),
        conditions=parts,
        evidence=("pairs/auc", "pairs/equal_documents"),
        n=found.n,
    )


def _near(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    value = found.get("pairs/near_own")
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["copies"]),
        conditions=(
            part("near-copies of the own document in a batch of 64", value, cuts["copies"], value > cuts["copies"]),
        ),
        evidence=("pairs/near_own",),
        n=found.n,
    )


def _repeated(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    sides = {f"pairs/equal_{name}": found.get(f"pairs/equal_{name}") for name in ("documents", "queries")}
    name, value = max(sides.items(), key=lambda one: one[1])
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["share"]),
        conditions=(_above(f"{name}, those that another equals", value, cuts["share"]),),
        evidence=tuple(sides),
        n=found.n,
    )


def _leak(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    value = found.get("pairs/own_equal")
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["share"]),
        conditions=(_above("share of the queries that are their own document", value, cuts["share"]),),
        evidence=("pairs/own_equal",),
        n=found.n,
    )


def _steady(subject: Subject, found: Audited, cuts: Mapping[str, float]) -> Judgement:
    alone, twice = found.get("model/alone"), found.get("model/twice")
    what, value = ("made twice", twice) if twice > cuts["apart"] else ("of a text alone and in a batch", alone)
    return Judgement(
        value=value,
        bounds=Bounds(warning=cuts["apart"]),
        conditions=(_above(f"difference of a vector {what}", value, cuts["apart"]),),
        evidence=("model/alone", "model/twice"),
        n=found.n,
    )


def _above(words: str, value: float, cut: float) -> Condition:
    return part(words, value, cut, value > cut)


AUDITS = (
    Detector(
        code="CP303",
        kind="no_scale_anchor",
        title="nothing in the loss holds the scale",
        reads=("loss/raw", "loss/half", "loss/an eighth"),
        per="run",
        formula="Halving all embeddings lowers the loss, and an eighth lowers it further; or the loss is negative, and "
        "doubling them lowers it by the cut. Not asked where the model gives unit length.",
        thresholds={
            "shrinks": Threshold(1e-5, "a loss without scale changes by rounding alone"),
            "grows": Threshold(0.5, "dot products double it or more, and a loss with a floor less (own choice)"),
        },
        judge=_scale,
        why="Shrinking or growing is the first thing that is learnt, it has no end, and it retrieves nothing.",
        remedies=(
            Remedy(change={"normalise": True}),
            Remedy(change={"model": "give embeddings unit length", "loss": "or add a term that anchors their scale"}),
        ),
        not_this="a softmax over dot products, which is lower at half the scale only where it is too sure",
        gravest=Status.WARNING,
        confirm=1,
    ),
    Detector(
        code="CP304",
        kind="degenerate_solution",
        title="the loss does not forbid a solution that retrieves nothing",
        reads=("loss/SOLUTION", "loss/raw", "loss/own pairs equal"),
        per="solution",
        formula="At embeddings that are all zero, one vector for all texts, of rank 1 or of rank 8, the loss is as low "
        "as at the pairs as they are and as where own pairs are equal and all else is kept; or it is as low with "
        "shuffled pairs.",
        thresholds={
            "margin": Threshold(0.001, "share of the loss that counts as equal (own choice)"),
            "told apart": Threshold(0.6, "AUC below which shuffled pairs are no worse (own choice)"),
        },
        judge=_degenerate,
        why="What the loss does not forbid is where training goes if it is easier to reach.",
        remedies=PUSH,
        not_this="a term that is 0 where all texts are one vector, beside one that is not",
        gravest=Status.WARNING,
        confirm=1,
    ),
    Detector(
        code="CP308",
        kind="no_push",
        title="the loss pulls and does not push",
        reads=("forces/TERM/push", "forces/TERM/pull", "loss/constant"),
        per="term",
        formula="The loss's descent at the given pairs draws own pairs together and does not move the five nearest "
        "others apart, on unit vectors, and one vector for all texts costs next to nothing.",
        thresholds={
            "push": Threshold(0.02, f"{MEASURED}: an in-batch softmax .01 to .4, what only pulls below -.02"),
            "apart": Threshold(0.1, "share of the loss (own choice)"),
        },
        judge=_push,
        why="What training loses is what tells documents apart.",
        remedies=PUSH,
        not_this="a triplet loss, a variance term or a queue, which forbid one vector for all texts in another way",
        gravest=Status.WARNING,
        confirm=1,
    ),
    Detector(
        code="CP309",
        kind="loss_at_chance",
        title="the loss is at chance for pairs that are told apart",
        reads=("loss/raw", "loss/constant", "pairs/auc"),
        per="run",
        formula="The loss at the given pairs is above the cut of its value by chance (log n of an in-batch softmax, "
        "the margin of a triplet loss: what it has where all texts are one vector), and their AUC is above .9.",
        thresholds={"share": Threshold(0.9, MEASURED), "auc": Threshold(0.9, MEASURED)},
        judge=_chance,
        why="A temperature that is too high hardly teaches, and lets embeddings spread as far as they can.",
        remedies=(Remedy(change={"temperature": 0.05}), Remedy(change={"loss": "multiply cosines by 20"})),
        not_this="hard pairs, which a loss is right to be unsure of",
        gravest=Status.WARNING,
        confirm=1,
    ),
    replace(_RUN["CP501"], judge=_gradient, confirm=1),
    replace(_RUN["CP513"], judge=_mismatched, gravest=Status.WARNING),
    replace(_RUN["CP514"], judge=_near, gravest=Status.WARNING),
    Detector(
        code="CP515",
        kind="repeated_texts",
        title="texts that are there more than once",
        reads=("pairs/equal_documents", "pairs/equal_queries"),
        per="run",
        formula="The share of documents, or of queries, that another equals bit for bit is above the cut.",
        thresholds={"share": Threshold(0.5, "24 distinct documents did no harm (measured); own choice")},
        judge=_repeated,
        why="Equal texts in a batch are each other's negatives; a softmax stands it, a loss of pairs may not.",
        remedies=(Remedy(change={"data": "draw batches without repeated texts, or mask equal ones"}),),
        not_this="few distinct documents, as of classes",
        gravest=Status.WARNING,
        confirm=1,
    ),
    replace(_RUN["CP516"], judge=_leak),
    Detector(
        code="CP517",
        kind="unsteady_vectors",
        title="a text has more than one vector",
        reads=("model/alone", "model/twice"),
        per="run",
        formula="In evaluation mode, or in the modes of a model that was given in evaluation mode, the vector of a "
        "text alone and in a batch, or of the same batch twice, differs by more than the cut of its norm.",
        thresholds={"apart": Threshold(1e-4, "rounding is 1e-6, and what depends on a batch 1e-2")},
        judge=_steady,
        why="Scores depend then on which texts are encoded together, or on chance.",
        remedies=(Remedy(change={"model": "score in evaluation mode, and mask padding in the pooling"}),),
        not_this="rounding in half precision, which the cut is too small for",
        gravest=Status.WARNING,
        confirm=1,
    ),
)
"""Every audit. Those that ask what a detector of runs asks have its code."""
