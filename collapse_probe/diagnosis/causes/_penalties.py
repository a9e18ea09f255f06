"""Terms of the loss, and weight decay, that shrink what they should hold, or what they were not meant for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .._contract import Finding
from .._evidence import EMBEDDINGS, Evidence
from ._contract import Suspicion
from ._readings import decay_done, decay_share, first, last, pulls_alone, vanished

SHRUNK = ("scale_collapse", "complete_collapse", "dimensional_collapse", "one_sided_collapse", "cone")
"""Kinds of embeddings that what shrinks them brings about."""

DECAY = "weight decay"
"""How the place of a penalty begins that an optimiser has."""

OF_UPDATES = "its share of the first updates"

OF_CORRECTIONS = ("delta_collapse", "gate_collapse", "constant_correction")
"""Kinds of a correction or its gate."""


@dataclass(frozen=True, order=True)
class TermForce:
    """What a term does in the first steps: its share of the force, how far it lies along growth, and its name."""

    share: float
    radial: float
    term: str


def forces(evidence: Evidence, at: str = "") -> list[TermForce]:
    """Return the forces of the loss's terms in the first 20 steps, the strongest first; none of a single term.

    Args:
        evidence: The run.
        at: A correction or a gate; the embeddings if empty.
    """
    return _forces(evidence, at, first)


def _forces(evidence: Evidence, at: str, read: Callable[[Evidence, str], float | None]) -> list[TermForce]:
    found = []
    for term in evidence.terms_at(at):
        subject = f"force/{term}@{at}" if at else f"force/{term}"
        share, radial = (read(evidence, f"{subject}/{name}") for name in ("share", "radial"))
        if share is not None and radial is not None:
            found.append(TermForce(share, radial, term))
    # What one term alone reaches is all its own, whether it holds it or is what it is there for.
    return sorted(found, reverse=True) if len(found) > 1 else []


def penalty(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect weight decay, or a term that does nearly nothing but shrink and is most of the force."""
    decayed, share = decay_done(evidence), decay_share(evidence)
    if decayed is not None and decayed[1] > cuts["decay"] and (share is None or share > cuts["of updates"]):
        because = {"rate x weight decay x steps": decayed[1]} | ({} if share is None else {OF_UPDATES: share})
        return Suspicion(because=because, locus=f"{DECAY} of group {decayed[0]}")
    added = kind.kind in OF_CORRECTIONS
    gone = vanished(evidence)
    if gone is not None and (added or (kind.kind in SHRUNK and not pulls_alone(evidence))):
        return Suspicion(because={f"drift/{gone}": 1.0}, locus=f"{DECAY} of group {gone}")
    if not added and kind.kind not in SHRUNK:
        return None
    found = forces(evidence, kind.subject if added else "")
    if added:
        # A penalty may grow until it is the stronger: of what is small in the end, it is most of the force there.
        found += _forces(evidence, kind.subject, last)
    cut = cuts["at_correction" if added else "radial"]
    strong = next((one for one in found if one.share > cuts["share"] and one.radial < cut), None)
    if strong is not None:
        subject = f"force/{strong.term}@{kind.subject}" if added else f"force/{strong.term}"
        because = {f"{subject}/share": strong.share, f"{subject}/radial": strong.radial}
        return Suspicion(because=because, locus=strong.term)
    return _of_weights(evidence, cuts) if added else (_drowned(evidence, kind, found, cuts) or _whole(evidence, cuts))


def _of_weights(evidence: Evidence, cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect a term that has no force at any stream, as what is about weights alone, and was most of the loss.

    Asked of a correction or a gate that vanished. What the term costs fell by more than half.
    """
    heard = {name.partition("@")[0] for one in ("", *_added(evidence)) for name in evidence.terms_at(one)}
    losses = {one.reading.partition("/")[2]: one for one in evidence.groups("loss")}
    total = losses.pop("total", None)
    for term, series in losses.items():
        if not heard or total is None or term in (*heard, "rest"):
            continue
        start, end, whole = float(series.values[0]), float(series.values[-1]), abs(float(total.values[0]))
        if start > cuts["share"] * whole > 0 and end < start / 2:
            return Suspicion(because={f"loss/{term} of the total at first": start / whole}, locus=term)
    return None


def _added(evidence: Evidence) -> list[str]:
    return [one.name for one in evidence.streams if one.role in ("correction", "gate")]


def _drowned(evidence: Evidence, kind: Finding, found: list[TermForce], cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect a term that shrinks embeddings from first to last and is nearly all of the force beside one that pulls.

    Then the pulling term is as it should be, and it is the other one's weight that is not.
    """
    if kind.kind != "scale_collapse":
        return None
    strong = next((one for one in found if one.share > cuts["drowns"] and one.radial < cuts["shrinks"]), None)
    ends = {one.term: one for one in _forces(evidence, "", last)}
    if strong is None or strong.term not in ends or ends[strong.term].radial >= cuts["shrinks"]:
        return None
    pulls = [first(evidence, f"force/{one.term}/pull") for one in found if one is not strong]
    if not any(pull is not None and pull < cuts["pull"] for pull in pulls):
        return None
    subject = f"force/{strong.term}"
    return Suspicion(because={f"{subject}/share": strong.share, f"{subject}/radial": strong.radial}, locus=strong.term)


def _whole(evidence: Evidence, cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect the whole loss: a term that shrinks one side alone, such as a pull to shorter queries, is no penalty."""
    # Every finding asks, and a run may have hundreds of streams whose forces nobody read.
    read = {name for name, _, _ in evidence.run.keys}
    names = [f"{one.name}/radial" for one in evidence.streams if one.role in EMBEDDINGS]
    known = {name: value for name in names if name in read and (value := first(evidence, name)) is not None}
    push = first(evidence, "pairs/push")
    if push is not None and push < cuts["draws"]:
        return None
    return Suspicion(because=known, locus="loss") if known and max(known.values()) < cuts["radial"] else None


def leak(evidence: Evidence, kind: Finding, cuts: Mapping[str, float]) -> Suspicion | None:
    """Suspect a term that holds a correction, and is much of the force at the embeddings, too.

    Not of a gate: along the one direction of a number every term either grows or shrinks it.
    """
    outside = {one.term: one for one in forces(evidence)}
    for stream in (one.name for one in evidence.streams if one.role == "correction"):
        for one in forces(evidence, stream):
            there = outside.get(one.term)
            holds = one.share > cuts["holds"] and one.radial < cuts["radial"]
            if holds and there is not None and there.share > cuts["share"]:
                because = {f"force/{one.term}/share": there.share, f"force/{one.term}@{stream}/radial": one.radial}
                return Suspicion(because=because, locus=one.term)
    return None


def strongest_push(evidence: Evidence) -> tuple[list[str], dict[str, float]]:
    """Return the terms that are not known to push in the last readings, the strongest first, with its push."""
    shares = {term: last(evidence, f"force/{term}/share") for term in evidence.terms_at("")}
    ordered = sorted((term for term, one in shares.items() if one is not None), key=lambda term: -(shares[term] or 0.0))
    push = last(evidence, f"force/{ordered[0]}/push") if ordered else None
    return ordered, {} if push is None else {f"force/{ordered[0]}/push": push}
