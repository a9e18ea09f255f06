"""Why: the causes that are suspected, by what, and what would decide."""

from __future__ import annotations

from ...diagnosis import Cause
from .._facts import Facts, Section
from .._text import bullets, md, number

_NOTE = (
    "What is suspected follows from this run's own readings; only an intervention shows whether it is so. A kind for "
    "which no mechanism stands here has none that its readings point to."
)


def _write(facts: Facts) -> list[str]:
    return [bullets(_sentence(one) for one in facts.diagnosis.causes), _NOTE]


def _sentence(one: Cause) -> str:
    where = f", in {md(one.locus)}" if one.locus else ""
    because = ", ".join(f"{md(name)} {number(value, digits=3)}" for name, value in one.because.items())
    return f"**{md(one.title)}** ({one.verdict}{where}): {because}. To decide: {md(one.decides)}."


WHY = Section(title="Why", applies=lambda facts: bool(facts.diagnosis.causes), write=_write)
