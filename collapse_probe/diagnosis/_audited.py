"""From what was read before the first step to a diagnosis, in the same form as a run's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._contract import Detector, Finding, Judgement, NotApplicable, Status, Subject
from ._diagnosis import Diagnosis, status_by
from ._kinds import kinds, place
from ._measured import Heard, NotMeasured
from ._status import status_of
from .causes import AUDITED_MECHANISMS, suspected
from .detectors import AUDITS

NAME = "preflight"
"""What stands in the place of a run's folder."""


class Unread(Exception):
    """A reading that an audit needs could not be made; the message is its name."""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What was read of a loss, its pairs and its model, without any training.

    Attributes:
        readings: By name: ``loss/...`` the loss at the pairs and at other solutions, ``forces/TERM/...``,
            ``pairs/...``, ``model/...``, ``norm``.
        names: Names that stand beside them: of terms, of parameters without a gradient, of modules in training mode.
        missing: What could not be read.
        not_asked: Beginnings of readings that make no sense here, such as of a model where none was given.
        n: Pairs.
        dimension: Of the embeddings.
        similarity: How they are scored.
    """

    readings: Mapping[str, float]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[NotMeasured, ...] = ()
    not_asked: tuple[str, ...] = ()
    n: int
    dimension: int
    similarity: str

    def get(self, reading: str) -> float:
        """Return a reading.

        Raises:
            NotApplicable: it makes no sense here.
            Unread: it could not be read.
        """
        if reading in self.readings:
            return self.readings[reading]
        raise (NotApplicable if reading.startswith(self.not_asked) else Unread)(reading)


def audit(audited: Audited) -> Diagnosis:
    """Judge what was read before the first step.

    Args:
        audited: What was read.

    Returns:
        A diagnosis without a run: its findings are of :data:`AUDITS`, its only row of retrieval is of the pairs.
    """
    from .screen import preflight_screen

    found = tuple(sorted(_examined(audited), key=place))
    now = kinds(found)
    missing = tuple(sorted(audited.missing, key=lambda one: not one.essential))
    status = status_by(found, missing, ended=True)
    why = suspected(audited, now, AUDITED_MECHANISMS)
    return Diagnosis(
        run=NAME,
        status=status,
        summary=preflight_screen(audited, status=status, kinds=now, causes=why, missing=missing, findings=found),
        steps=0,
        findings=found,
        kinds=now,
        causes=why,
        retrieval=tuple(_rows(audited)),
        heard=tuple(
            Heard(
                stream=name,
                role=name,
                where="given",
                rule="given",
                n=audited.n,
                dimension=audited.dimension or None,
                dtype=None,
                steps=0,
            )
            for name in ("query", "document")
        ),
        not_measured=missing,
        errors=(),
    )


def _examined(audited: Audited) -> Iterator[Finding]:
    for detector in AUDITS:
        cuts = {name: one.value for name, one in detector.thresholds.items()}
        for subject in _subjects(detector, audited):
            judgement: Judgement | None = None
            status = Status.NOT_APPLICABLE
            try:
                judgement = detector.judge(subject, audited, cuts)
                status = status_of(judgement, gravest=detector.gravest)
            except Unread as reading:
                judgement, status = Judgement(value=None, evidence=(str(reading),)), Status.NOT_MEASURED
            except NotApplicable:
                pass
            yield Finding(
                code=detector.code,
                kind=detector.kind,
                subject=subject.name,
                status=status,
                judgement=judgement,
                state="raised" if status in (Status.WARNING, Status.CRITICAL) else None,
                evidence=() if judgement is None else judgement.evidence,
            )


def _subjects(detector: Detector, audited: Audited) -> list[Subject]:
    """Return what an audit looks at one by one: the solutions that were read, the terms, or the whole."""
    if detector.per == "solution":
        of = [one.removeprefix("loss/") for one in audited.readings if one.startswith("loss/")]
        return [Subject(one) for one in of if one.startswith(("zero", "constant", "rank", "shuffled"))] or [Subject()]
    if detector.per == "term":
        terms = [one for one in audited.names.get("terms", ()) if one != "total"]
        return [Subject(), *(Subject(one) for one in terms)]
    return [Subject()]


def _rows(audited: Audited) -> Iterator[dict[str, Any]]:
    value = audited.readings.get("pairs/mrr")
    if value is not None:
        yield {
            "collection": "given pairs",
            "domain": "in",
            "metric": "mrr",
            "n": audited.n,
            "raw": value,
            "start": None,
            "end": None,
            "change": None,
        }
