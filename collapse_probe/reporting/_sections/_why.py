"""Why: the causes that are suspected, by what, and what would decide."""

from __future__ import annotations

from ...diagnosis import Cause
from ...diagnosis.screen import decided_by
from .._facts import Facts, Section
from .._text import bullets, md, number

_NOTE = (
    "What is suspected follows from this run's own readings; only an intervention shows whether it is so. A kind for "
    "which no mechanism stands here has none that its readings point to."
)
_DECIDED = (
    "A cause is confirmed where an intervention restores what fell, resolved over queries and at least five seeds, and "
    "supported with fewer; it contributes where that restores a part, is refuted where it has no effect or does harm, "
    "and is unresolved where the interval is too wide to say."
)


def _write(facts: Facts) -> list[str]:
    causes = facts.diagnosis.causes
    decided = [_DECIDED] if any(one.decided for one in causes) else []
    return [bullets(_sentence(one) for one in causes), *decided, _NOTE]


def _sentence(one: Cause) -> str:
    where = f", in {md(one.locus)}" if one.locus else ""
    because = ", ".join(f"{md(name)} {number(value, digits=3)}" for name, value in one.because.items())
    text = f"**{md(one.title)}** ({one.verdict}{where})"
    if one.decided is not None:
        gains = "".join(
            f" Measured: {md(', '.join(f'{name} = {value}' for name, value in remedy.change.items()))}, "
            f"{md(remedy.reading)} {number(remedy.gain, digits=3)}."
            for remedy in one.remedies
            if remedy.gain is not None
        )
        suspected = f" Suspected by {because}." if because else ""
        return f"{text}: {md(decided_by(one.decided))}.{suspected}{gains}"
    return f"{text}{f': {because}' if because else ''}. To decide: {md(one.decides)}."


WHY = Section(title="Why", applies=lambda facts: bool(facts.diagnosis.causes), write=_write)
