"""Running every detector over a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..errors import InputError, unknown_name
from ..journal.vocabulary import SCALARS, at_dimension
from ._contract import Detector, Finding, Judgement, NotApplicable, Status, Subject
from ._evidence import Evidence
from ._status import state_of, status_of
from .detectors import BY_CODE, DETECTORS, LISTED, find_detector
from .detectors._ranges import declared

OF_CUTS = ("CP201", "CP410", "CP421", "CP422", "CP423", "CP430", "CP431")
"""Detectors of what can become of embeddings' first columns alone: separation and shape."""

ASKED = "asked for"
"""The reason of a code that a caller ignores without one."""


def examined(evidence: Evidence, *, ignored: Mapping[str, str]) -> Iterator[tuple[Detector, Subject, Finding]]:
    """Yield every detector with each of its subjects, and what it says of it."""
    for detector in DETECTORS:
        cuts = cuts_of(detector, evidence.config.probes)
        for subject in subjects(detector, evidence):
            yield detector, subject, _finding(detector, subject, evidence, cuts, ignored.get(detector.code))
    for dimension, cut in evidence.cuts.items():
        yield from _of_cut(cut, dimension, ignored)


def _of_cut(
    evidence: Evidence, dimension: int, ignored: Mapping[str, str]
) -> Iterator[tuple[Detector, Subject, Finding]]:
    """Yield what is found of the embeddings' first columns; what is not measured of them is said of the full ones.

    A shape is none where separation by these columns did not fall: few columns have one that full vectors have not.
    """
    fell = any(curve.fell for curve in evidence.curves)
    unknown = (Status.NOT_APPLICABLE, Status.NOT_MEASURED, *(() if fell else (Status.WARNING,)))
    for detector in (BY_CODE[code] for code in OF_CUTS):
        cuts = cuts_of(detector, evidence.config.probes)
        for subject in subjects(detector, evidence):
            found = _finding(detector, subject, evidence, cuts, ignored.get(detector.code))
            if found.status not in unknown:
                named = replace(subject, name=_named(subject.name, dimension))
                yield detector, named, _cut(found, named.name, dimension)


def _cut(finding: Finding, subject: str, dimension: int) -> Finding:
    """Return a finding with its readings' names as those of the first columns."""
    judgement = finding.judgement
    assert judgement is not None
    conditions = tuple(replace(one, reading=_named(one.reading, dimension)) for one in judgement.conditions)
    evidence = tuple(_named(one, dimension) for one in judgement.evidence)
    judgement = replace(judgement, conditions=conditions, evidence=evidence)
    return replace(finding, subject=subject, judgement=judgement, evidence=evidence, cut=dimension)


def _named(name: str, dimension: int) -> str:
    """Return the name of something of the first columns; what words stand behind a reading stay there.

    >>> _named("query/common_share", 16), _named("reference pairs/mrr against start", 16), _named("query", 16)
    ('query@16/common_share', 'reference pairs@16/mrr against start', 'query@16')
    """
    stream, slash, rest = name.rpartition("/")
    if not slash:
        return at_dimension(name or "pairs", dimension)
    return name if name.partition("/")[0] in SCALARS else f"{at_dimension(stream, dimension)}/{rest}"


def subjects(detector: Detector, evidence: Evidence) -> list[Subject]:
    """Return what a detector looks at one by one; one nameless subject where a run has none."""
    if detector.per == "range":
        return declared(evidence)
    if detector.per == "stream":
        streams = [one for one in evidence.streams if not detector.roles or one.role in detector.roles]
        if not detector.roles:
            streams = [one for one in streams if one.name in evidence.heard]
        return streams or [Subject()]
    if detector.per == "collection":
        names = dict.fromkeys([*(one.name for one in evidence.curves), *evidence.evaluations.collections])
        return [Subject(name) for name in names] or [Subject()]
    return [Subject()]


def cuts_of(detector: Detector, probes: Mapping[str, Any]) -> dict[str, float]:
    """Return a detector's cuts, with what ``[detectors.CODE]`` of a probe's TOML puts in their place."""
    cuts = {name: one.value for name, one in detector.thresholds.items()}
    for entry in _entries(probes, detector.code):
        cuts |= {name: float(value) for name, value in entry.items() if name in cuts and _is_number(value)}
    return cuts


def ignored_codes(probes: Mapping[str, Any], codes: tuple[str, ...]) -> dict[str, str]:
    """Return the codes that do not count, each with the reason.

    Args:
        probes: As :func:`check_declared` takes them.
        codes: ``CODE`` or ``CODE=reason`` each; what a probe says is the reason of those without one.

    Raises:
        InputError: no detector has that code, or as :func:`check_declared`.
    """
    check_declared(probes)
    found = {}
    for code in BY_CODE:
        for entry in _entries(probes, code):
            if entry.get("ignore"):
                found[code] = str(entry["ignore"])
    for one in codes:
        asked, _, reason = one.partition("=")
        code = find_detector(asked.strip()).code
        found[code] = reason.strip() or found.get(code, ASKED)
    return found


def check_declared(probes: Mapping[str, Any]) -> None:
    """Check what probes say of detectors.

    Args:
        probes: Name of a probe to its declaration, as ``run.json`` has it.

    Raises:
        InputError: no detector has the code of a ``[detectors.CODE]``, or it has not the cut.
    """
    for name, probe in probes.items():
        tables = probe.get("detectors") if isinstance(probe, Mapping) else None
        for code, entry in tables.items() if isinstance(tables, Mapping) else ():
            if code not in BY_CODE:
                raise InputError(
                    f"probe {name}: [detectors.{code}]: {unknown_name('code', code, BY_CODE, listed=LISTED)}"
                )
            known = ("ignore", *BY_CODE[code].thresholds)
            for key in entry if isinstance(entry, Mapping) else ():
                if key not in known:
                    raise InputError(f"probe {name}: [detectors.{code}]: {unknown_name('key', key, known)}")


def _entries(probes: Mapping[str, Any], code: str) -> list[Mapping[str, Any]]:
    tables = [one.get("detectors") for one in probes.values() if isinstance(one, Mapping)]
    entries = [one.get(code) for one in tables if isinstance(one, Mapping)]
    return [one for one in entries if isinstance(one, Mapping)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _finding(
    detector: Detector, subject: Subject, evidence: Evidence, cuts: Mapping[str, float], ignored: str | None
) -> Finding:
    judgement: Judgement | None = None
    status = Status.NOT_APPLICABLE
    try:
        if detector.per == "stream" and not subject.name:
            raise NotApplicable("no stream of that role")
        judgement = detector.judge(subject, evidence, cuts)
        status = status_of(judgement, gravest=detector.gravest)
    except NotApplicable:
        pass
    return Finding(
        code=detector.code,
        kind=detector.kind,
        subject=subject.name,
        status=status,
        judgement=judgement,
        state=None if judgement is None else state_of(judgement, detector, status),
        evidence=() if judgement is None else judgement.evidence,
        ignored=ignored,
    )
