"""What happened: each finding that is critical or a warning, with its figure, whose title is the claim."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...diagnosis import BY_CODE, FindingRow, Status
from ...diagnosis import Finding as Judged
from ...diagnosis.screen import claim, evidence_line, folded
from ...statistics import Onset
from .. import _figures
from .._facts import Facts, Figure, Section
from .._moments import onset_of, places
from .._style import plain, saved
from .._text import bullets, md, number
from .._tracks import Track, tracks_of

MOST = 6
"""Findings that have a figure."""


def _write(facts: Facts) -> list[str]:
    kinds, config = _gravest(facts), facts.run.config
    blocks = []
    for at, some in enumerate(kinds[:MOST]):
        finding = some[0]
        numbers = evidence_line(*some)
        sentences = [f"{finding.code}, {finding.status.value}."]
        sentences += [f"{md(numbers)}."] if numbers else []
        sentences += [md(BY_CODE[finding.code].why)] if finding.code not in {one[0].code for one in kinds[:at]} else []
        blocks += [
            f"### {at + 1}. {md(claim(*some, config=config))}",
            " ".join(sentences),
            facts.figure(f"happened_{at + 1}"),
        ]
    if len(kinds) > MOST:
        rest = kinds[MOST : MOST + 14]
        blocks.append(
            bullets(f"{md(claim(*some, config=config))} ({some[0].code}, {some[0].status.value})" for some in rest)
        )
    if len(kinds) > MOST + 14:
        blocks.append(f"{len(kinds) - MOST - 14:,} more findings are in `findings.json`.")
    return [*blocks, bullets(_critical(facts.findings))]


def explained(facts: Facts) -> set[str]:
    """Return the codes whose reason is said here."""
    return {one.code for some in _gravest(facts)[:MOST] for one in some}


def _gravest(facts: Facts) -> list[tuple[Judged, ...]]:
    return folded([one for one in facts.diagnosis.kinds if one.kind != "range"])


def _draw(at: int, facts: Facts, path: Path) -> Figure | None:
    kinds, config = _gravest(facts), facts.run.config
    if at >= len(kinds):
        return None
    some = kinds[at]
    finding, tracks = some[0], tracks_of(facts, *some)
    # One point that nothing is held against is said in words.
    if all(len(one.steps) < 2 and one.baseline is None and one.band is None for one in tracks):
        return None
    onset = onset_of(facts, finding.judgement.onset if finding.judgement else None)
    with saved(path, height=3.4) as axes:
        _figures.tracks(axes[0], tracks, models=places(facts), onset=onset)
        axes[0].set_title(plain(claim(*some, config=config), length=90), loc="left")
    return Figure(path.name, _legend(tracks, onset), claim(*some, config=config))


def _legend(tracks: list[Track], onset: Onset | None) -> str:
    parts = []
    if any(one.baseline is not None for one in tracks):
        against = {one.against for one in tracks if one.baseline is not None}
        parts.append(f"dotted: {' or '.join(sorted(against))}")
    if any(one.band is not None for one in tracks):
        parts.append("grey: what isotropic vectors of this n and dimension read")
    if onset is not None:
        parts.append("vertical line: the onset and its interval")
    text = "; ".join(parts) or "what it reads"
    return f"{text[0].upper()}{text[1:]}."


def _critical(findings: list[FindingRow]) -> list[str]:
    """Return the readings, not the scores, that their ranges call critical."""
    grave = [f for f in findings if f.status is Status.CRITICAL and f.code.startswith("CP1")]
    finite = [f for f in grave if f.value is not None and math.isfinite(f.value)]
    named = [f"{md(f.subject)} at {number(f.value)} (n = {f.n or 0:,})" for f in finite[:10]]
    lines = [f"Critical by their declared ranges: {', '.join(named)}."] if named else []
    others = [md(f.subject) for f in grave if f not in finite]
    if others:
        lines.append(f"Readings that are not finite: {', '.join(others[:10])}.")
    return lines


_FIGURES: dict[str, Callable[[Facts, Path], Figure | None]] = {
    f"happened_{at + 1}": partial(_draw, at) for at in range(MOST)
}

HAPPENED = Section(
    title="What happened",
    applies=lambda facts: bool(facts.diagnosis.kinds),
    write=_write,
    figures=_FIGURES,
)
