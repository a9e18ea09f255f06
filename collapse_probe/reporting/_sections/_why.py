"""Why: the causes that are suspected, by what, and what would decide."""

from __future__ import annotations

from ...diagnosis import Cause
from .._facts import Facts, Section
from .._text import Table, bullets, md, number


def _write(facts: Facts) -> list[str]:
    causes = facts.diagnosis.causes
    rows = [[md(one.title), md(one.locus or "-"), one.verdict, _because(one)] for one in causes]
    headers = ["mechanism", "where", "verdict", "because"]
    table = Table(headers, rows, words=headers)
    decides = bullets(
        f"{md(one.title)[:1].upper()}{md(one.title)[1:]}: to decide, {md(one.decides)}." for one in causes
    )
    note = (
        "What is suspected follows from this run's own readings; only an intervention shows whether it is so. A kind "
        "for which no mechanism stands here has none that its readings point to."
    )
    return [table.markdown, "What would decide:", decides, note]


def _because(one: Cause) -> str:
    return ", ".join(f"{md(name)} {number(value, digits=3)}" for name, value in one.because.items())


WHY = Section(title="Why", applies=lambda facts: bool(facts.diagnosis.causes), write=_write)
