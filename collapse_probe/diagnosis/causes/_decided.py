"""What interventions decided: verdicts that lie beside a run, and what they say of its causes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...journal import LiveRun
from ...statistics import SEEDS_TO_CONFIRM
from .._contract import Finding, Remedy
from ._contract import Verdict

VERDICTS = "verdicts.json"
"""Beside a run's journal, and in an ablation's folder: what its interventions showed."""

SCHEMA = 1

_CAUSE: dict[str, Verdict] = {
    "restores": "confirmed",
    "restores in part": "contributes",
    "better": "contributes",
    "no effect": "refuted",
    "worse": "refuted",
}
"""What an intervention does to retrieval, to what that says of the mechanism that it takes away."""

RANK: tuple[Verdict, ...] = (
    "confirmed",
    "supported",
    "contributes",
    "suspected",
    "unresolved",
    "not tested",
    "refuted",
)
"""Verdicts, the most certain of a mechanism first."""


def verdict_of(effect: str, seeds: int) -> Verdict:
    """Return what an intervention's effect says of the mechanism that it takes away.

    Args:
        effect: ``restores``, ``restores in part``, ``better``, ``no effect``, ``worse``, or one that is not resolved.
        seeds: Seeds that it was seen in: below five nothing is confirmed.

    >>> verdict_of("restores", 5), verdict_of("restores", 2), verdict_of("no effect", 5)
    ('confirmed', 'supported', 'refuted')
    """
    found = _CAUSE.get(str(effect), "unresolved")
    return "supported" if found == "confirmed" and seeds < SEEDS_TO_CONFIRM else found


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one intervention did on one collection.

    Attributes:
        intervention: Its name.
        changes: Field to value.
        tests: Slug of the mechanism that it decides; empty where it decides none.
        by_construction: Why it restores whatever the mechanism is; empty where it does not.
        trains_less: Whether it undoes a part of anything by training less.
        collection: Label of the collection.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
        metric: What was scored.
        effect: What that amounts to, as ``restores``.
        change: Intervention minus control, over seeds and queries.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Of the same model, after Holm's method over the interventions.
        fall: The control's change since its start, where it fell by more than noise.
        restored: The change as a share of that fall.
        seeds: Seeds.
        queries: Queries.
    """

    intervention: str
    changes: Mapping[str, object]
    tests: str = ""
    by_construction: str = ""
    trains_less: bool = False
    collection: str
    domain: str | None = None
    metric: str
    effect: str
    change: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    fall: float | None = None
    restored: float | None = None
    seeds: int
    queries: int

    @property
    def verdict(self) -> Verdict:
        """What it says of the mechanism that it decides."""
        return verdict_of(self.effect, self.seeds)

    @property
    def reading(self) -> str:
        """What it changed."""
        return f"{self.collection}/{self.metric}"

    def because(self) -> dict[str, float]:
        """Return its numbers by name."""
        name = f"{self.reading} with {self.intervention}"
        found = {name: self.change, f"{name}, low": self.low, f"{name}, high": self.high}
        found |= {f"{name}, share of the fall": self.restored, f"{name}, seeds": float(self.seeds)}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Decisions:
    """All that interventions showed of a run.

    Attributes:
        found: One entry for each intervention and collection.
        fault: Why they cannot be read; empty where they can.
        fallen: Collections on which the run itself fell.
    """

    found: Sequence[Decision] = field(default_factory=tuple)
    fault: str = ""
    fallen: frozenset[str] = frozenset()

    @classmethod
    def beside(cls, run: LiveRun) -> Decisions:
        """Return those that lie in a run's folder; none where they are of another run, or cannot be read."""
        if run.folder is None or not (run.folder / VERDICTS).exists():
            return cls()
        try:
            return cls(tuple(_read(run.folder / VERDICTS, of=run.identity)))
        except InputError as error:
            return cls(fault=str(error))

    @classmethod
    def of_ablation(cls, ablation: Any) -> Decisions:
        """Return those of an ablation: its folder, or what has one as ``folder``.

        Raises:
            InputError: there are none, or they cannot be read.
        """
        folder = Path(getattr(ablation, "folder", ablation))
        if not (folder / VERDICTS).is_file():
            raise InputError(f"{folder}: no {VERDICTS} in it; give the folder of a finished ablation")
        return cls(tuple(_read(folder / VERDICTS)))

    def decisive(self, cause: str, kind: Finding) -> Decision | None:
        """Return what decided a mechanism, of the domain that a kind is about; None where nothing did.

        It is asked where the run fell: forgetting on other domains, every other kind on the own one where that fell. Of
        several collections that one decides on which the control fell furthest; of several interventions the one that
        says most for the mechanism. What restores by construction decides nothing.
        """
        asked = [one for one in self.found if one.tests == cause and not one.by_construction]
        where = self._where(asked, kind)
        return min((one for one in asked if one.collection == where), key=certainty, default=None)

    def with_gains(self, remedies: Iterable[Remedy], cause: str, kind: Finding) -> tuple[Remedy, ...]:
        """Return remedies with the gains that interventions measured, and interventions that helped as remedies.

        Measured ones come first: those that did harm nowhere, and of these the largest gain.
        """
        where = self._where([one for one in self.found if one.tests == cause] or self.found, kind)
        here = [one for one in self.found if one.collection == where and not one.by_construction]
        found = [_measured(remedy, here) for remedy in remedies]
        known = [dict(one.change) for one in found]
        helped = [one for one in here if one.tests == cause and _CAUSE.get(one.effect) in ("confirmed", "contributes")]
        new = [Remedy(change=one.changes, reading=one.reading, gain=one.change) for one in helped]
        found += [one for one in new if dict(one.change) not in known]
        harm = [dict(one.changes) for one in self.found if one.effect == "worse"]
        by_gain = [one for one in found if one.gain is not None]
        by_gain.sort(key=lambda one: (dict(one.change) in harm, -(one.gain or 0.0)))
        return (*by_gain, *(one for one in found if one.gain is None)) if here else tuple(found)

    def _where(self, asked: Sequence[Decision], kind: Finding) -> str:
        """Return the collection on which a kind is decided; empty where there is none."""
        fell = [one for one in asked if one.collection in self.fallen]
        fell = fell or [one for one in asked if one.fall is not None] or list(asked)
        domains = ("out", None, "in") if kind.kind == "forgetting" else ("in", None, "out")
        nearest = min((domains.index(one.domain) for one in fell), default=0)
        own = [one for one in fell if one.domain == domains[nearest]]
        return min(own, key=lambda one: one.fall or 0.0).collection if own else ""


def certainty(one: Decision) -> tuple[int, float]:
    """Return the place of a decision among others, that which says most for its mechanism first."""
    return RANK.index(one.verdict), -(one.restored if one.restored is not None else one.change)


def _measured(remedy: Remedy, here: Sequence[Decision]) -> Remedy:
    same = next((one for one in here if dict(one.changes) == dict(remedy.change)), None)
    if same is None:
        return remedy
    return Remedy(change=remedy.change, reading=same.reading, gain=same.change, part=remedy.part)


def _read(path: Path, *, of: str | None = None) -> list[Decision]:
    """Read the entries of all ablations in a file, those with more seeds in place of the same with fewer."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise InputError(f"{path}: schema is not {SCHEMA}; upgrade collapse-probe to read it")
        if of is not None and content["run"] != of:
            return []
        known = {one.name for one in fields(Decision)}
        found: dict[tuple[str, str], Decision] = {}
        for ablation in content["ablations"]:
            for entry in ablation["effects"]:
                one = Decision(**{name: value for name, value in entry.items() if name in known})
                key = (json.dumps(one.changes, sort_keys=True), one.collection)
                if key not in found or one.seeds >= found[key].seeds:
                    found[key] = one
        return list(found.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({type(error).__name__}: {error})") from None
