"""Mechanisms that are suspected before the first step: most are the kind itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .._contract import Finding, Remedy
from ._contract import Mechanism, Suspicion
from ._mechanisms import MECHANISMS
from ._readings import numbers_of

if TYPE_CHECKING:
    from .._audited import Audited

_KNOWN = {one.cause: one for one in MECHANISMS}


def _itself(locus: str) -> Callable[[Audited, Finding, Mapping[str, float]], Suspicion]:
    def suspects(found: Audited, kind: Finding, cuts: Mapping[str, float]) -> Suspicion:
        return Suspicion(because=numbers_of(kind), locus=locus)

    return suspects


def _no_push(found: Audited, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    if kind.subject == "shuffled pairs":
        return None
    push = found.readings.get("forces/total/push")
    return Suspicion(because={**numbers_of(kind), **({} if push is None else {"push": push})}, locus="loss")


def _nothing_left(found: Audited, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    """A loss that depends on the embeddings and has no gradient there: every margin is met."""
    met = found.readings.get("forces/total/gradient") == 0 and found.readings.get("forces/total/depends", 0.0) > 0
    return Suspicion(because={"gradient": 0.0, "loss": found.readings["loss/raw"]}, locus="loss") if met else None


def _not_trained(found: Audited, kind: Finding, cuts: Mapping[str, float]) -> Suspicion:
    return Suspicion(because=numbers_of(kind), locus=", ".join(found.names.get("left out", ())[:3]) or "loss")


def _unsteady(found: Audited, kind: Finding, cuts: Mapping[str, float]) -> Suspicion:
    return Suspicion(because=numbers_of(kind), locus=", ".join(found.names.get("training", ())[:3]) or "model")


AUDITED_MECHANISMS = (
    replace(
        _KNOWN["no_repulsion"],
        explains=("degenerate_solution", "no_push"),
        suspects=_no_push,
        formula="Before training: one vector for all texts, or fewer dimensions, is as low as a perfect solution.",
        thresholds={},
    ),
    replace(
        _KNOWN["no_scale_anchor"],
        explains=("no_scale_anchor",),
        suspects=_itself("loss"),
        formula="Before training: the kind itself.",
        thresholds={},
    ),
    replace(
        _KNOWN["temperature_or_margin"],
        explains=("loss_at_chance",),
        suspects=_itself("loss"),
        formula="Before training: the kind itself.",
        thresholds={},
    ),
    replace(
        _KNOWN["nothing_left_to_learn_from"],
        explains=("no_learning",),
        suspects=_nothing_left,
        formula="Before training: the loss depends on the embeddings, and has no gradient at the given pairs.",
        remedies=(Remedy(change={"loss": "raise the margin, or mine harder negatives"}),),
        decides="a larger margin, or a softmax over the batch",
    ),
    replace(
        _KNOWN["not_trained"],
        explains=("no_learning",),
        suspects=_not_trained,
        formula="Before training: no gradient arrives at the embeddings, or at parameters that vectors depend on.",
    ),
    replace(_KNOWN["wrong_pairs"], suspects=_itself("training pairs"), formula="Before training: the kind itself."),
    replace(
        _KNOWN["false_negatives"],
        explains=("false_negatives", "repeated_texts"),
        suspects=_itself("training pairs"),
        formula="Before training: the kind itself.",
        thresholds={},
    ),
    replace(_KNOWN["leak"], suspects=_itself("training pairs"), formula="Before training: the kind itself."),
    Mechanism(
        cause="batch_dependent_vectors",
        title="a vector depends on its batch",
        explains=("unsteady_vectors",),
        suspects=_unsteady,
        formula="Before training: the kind itself; modules in training mode are named.",
        remedies=(Remedy(change={"model": "score in evaluation mode, and mask padding in the pooling"}),),
        decides="evaluation mode, and a mask in the pooling",
    ),
)
"""Every mechanism that an audit can suspect, in the order in which they are asked."""
