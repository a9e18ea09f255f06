"""Mechanisms that lie in what is trained on, and in how its texts are read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....journal import Event
from ..._contract import Finding
from ..._evidence import Evidence
from ...detectors._data import NEAR_COPIES, OWN_AGAIN, first_copies
from ...detectors._facts import SOFTMAX_TWICE
from ...detectors._forgetting import epochs
from ...detectors._mismatched import SEEN_AGAIN, SWAPPED
from ...detectors._paths import BATCH_LENGTHS, BATCH_MEANS
from ...detectors._pooling import how
from .._contract import Suspicion
from .._readings import last, numbers_of

FIRST_AUC = "pairs/auc of the first batches"
"""How the reading begins by which first batches are told apart and scored pairs are not."""


def swapped(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return wrong_pairs(evidence, kind, cuts) if SWAPPED in numbers_of(kind) else None


def learnt_one_by_one(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return wrong_pairs(evidence, kind, cuts) if SEEN_AGAIN in numbers_of(kind) else None


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


def softmax_twice(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because={}, locus="loss") if evidence.said(SOFTMAX_TWICE) else None


def one_text(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because={}, locus="data")


def padding(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    said, share = how(evidence), evidence.series("padding/share").last
    return Suspicion(because={f"padding/share, {said}": share}) if said and share is not None else None


def by_heart(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    return Suspicion(because=numbers_of(kind), locus="training pairs")


def few(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    examples, seen = evidence.config.examples, epochs(evidence)
    if examples is None or examples > cuts["examples"] or (seen is not None and seen < cuts["epochs"]):
        return None
    times = {} if seen is None else {"times that each was seen": seen}
    return Suspicion(because={"training pairs": float(examples), **times}, locus="training pairs")
