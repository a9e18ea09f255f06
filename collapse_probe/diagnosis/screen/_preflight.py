"""The first screen of what was read before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._contract import Finding, Remedy, Status
from .._measured import NotMeasured
from ..causes import Cause
from ._paper import Page
from ._screen import FIRST, headline, labelled, measured, seen, why
from ._words import WIDTH, clean, number

if TYPE_CHECKING:
    from .._audited import Audited

_SOLUTIONS = ("zero", "constant", "rank 1", "rank 8", "shuffled pairs", "own pairs equal")
_ONE_VECTOR = {"zero", "constant"}


def preflight_screen(
    audited: Audited,
    *,
    status: Status,
    kinds: Sequence[Finding],
    causes: Sequence[Cause],
    missing: Sequence[NotMeasured],
    findings: Sequence[Finding],
) -> str:
    """Return what was read and judged before the first step, as plain text of at most 24 lines."""
    page = Page(WIDTH)
    lines = [
        *_verdict(page, status, kinds, missing),
        *seen(page, kinds),
        *why(page, causes),
        *_loss(page, audited.readings, kinds),
        *_scale(page, audited),
        *_forces(audited),
        *_pairs(page, audited),
        *_do(page, kinds, causes),
        *measured(page, findings, missing),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _verdict(page: Page, status: Status, kinds: Sequence[Finding], missing: Sequence[NotMeasured]) -> list[str]:
    text = headline(kinds) if kinds else "nothing speaks against the first step"
    if status is Status.NOT_MEASURED:
        text = next(f"{clean(one.what, length=60)}: {clean(one.why, length=200)}" for one in missing if one.essential)
    return page.wrapped(FIRST[status], text, indent=max(11, len(FIRST[status]) + 2))


def _loss(page: Page, readings: Mapping[str, float], kinds: Sequence[Finding]) -> list[str]:
    if "loss/raw" not in readings:
        return []
    found = [f"{number(readings['loss/raw'])} at the pairs"]
    found += [f"{name} {number(readings[f'loss/{name}'])}" for name in _SOLUTIONS if f"loss/{name}" in readings]
    if "loss/chance" in readings:
        found.append(f"by chance {number(readings['loss/chance'])}")
    lowest = any(one.kind == "degenerate_solution" and one.subject in _ONE_VECTOR for one in kinds)
    more = "; it is lowest where all texts are one vector" if lowest else ""
    return page.wrapped("Loss", ", ".join(found) + more)


def _scale(page: Page, audited: Audited) -> list[str]:
    readings, found = audited.readings, []
    if "norm" in readings:
        found.append(f"embeddings of norm {number(readings['norm'])}, {audited.dimension:,} dimensions")
    for name, factor in (("half", ".5"), ("double", "2")):
        if f"loss/{name}" in readings:
            found.append(f"loss x {factor} {number(readings[f'loss/{name}'])}")
    if "forces/total/degree" in readings:
        found.append(f"degree {number(readings['forces/total/degree'])}")
    return page.wrapped("Scale", "; ".join(found)) if found else []


def _forces(audited: Audited) -> list[str]:
    terms = [one for one in audited.names.get("terms", ()) if f"forces/{one}/pull" in audited.readings]
    lines = []
    for term in sorted(terms, key=lambda one: one != "total")[:5]:
        read = {name: audited.readings[f"forces/{term}/{name}"] for name in ("pull", "push", "radial")}
        values = [f"{name} {number(value, sign=True):>6}" for name, value in read.items()]
        none = term in audited.names.get("without gradient", ())
        lines.append(f"{clean(term, length=24):<24} {'no gradient' if none else '  '.join(values)}")
    return labelled("Forces", lines)


def _pairs(page: Page, audited: Audited) -> list[str]:
    readings, n = audited.readings, audited.n
    if "pairs/auc" not in readings:
        return []
    shares = {"equal documents": "equal_documents", "equal queries": "equal_queries", "own pairs equal": "own_equal"}
    found = [f"{n:,}, AUC {number(readings['pairs/auc'])}, MRR {number(readings['pairs/mrr'])}"]
    found += [f"{label} {number(readings[f'pairs/{name}'])}" for label, name in shares.items()]
    found.append(f"near-copies of the own document in a batch {number(readings['pairs/near_own'])}")
    return page.wrapped("Pairs", "; ".join(found))


def _do(page: Page, kinds: Sequence[Finding], causes: Sequence[Cause]) -> list[str]:
    remedies: Sequence[Remedy] = causes[0].remedies if causes else ()
    words = {"loss", "model", "data", "optimizer"}
    one = next((one for one in remedies if set(one.change) <= words), None)
    return page.wrapped("Do", "; ".join(f"{key}: {value}" for key, value in one.change.items())) if one else []
