"""The first screen, and whether the run finished."""

from __future__ import annotations

from ...journal import Artifact, End
from .._facts import Facts, Section
from .._text import bullets, code, fenced, md

_NO_FIGURES = "No figures: matplotlib is not installed; `pip install 'collapse-probe[report]'` brings it."


def _write(facts: Facts) -> list[str]:
    notes = [*_ending(facts), *([] if facts.drawing or facts.asked_without_figures else [_NO_FIGURES])]
    return [fenced(facts.diagnosis.summary), bullets(notes)]


def _ending(facts: Facts) -> list[str]:
    run = facts.run
    if run.status == "completed":
        return []
    ends = run.of(End)
    message = f": {md(ends[-1].message)}" if ends and ends[-1].message else ""
    what = "is not finished: its journal has no end" if run.status == "unfinished" else f"is {md(run.status)}"
    return [f"**The run {what}**{message}. What follows is what was recorded until then.{_go_on(facts)}"]


def _go_on(facts: Facts) -> str:
    """Return from where a run can be resumed, where it can: the founding system's alone keeps all that it needs."""
    folder = facts.run.folder
    kept = [one for one in facts.run.of(Artifact) if one.name == "checkpoint"]
    if not facts.founding or not kept or folder is None or facts.run.status == "failed":
        return ""
    where = "" if (folder / kept[-1].path).exists() else ", if that is where it was"
    return f" It can be resumed from {code(kept[-1].path)}{where}."


SCREEN = Section(title="", applies=lambda facts: True, write=_write)
