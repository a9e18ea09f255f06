"""Faults of ours that were contained while the run went on."""

from __future__ import annotations

from .._facts import MOST_ROWS, Facts, Section
from .._text import bullets, md


def _write(facts: Facts) -> list[str]:
    errors = facts.diagnosis.errors
    lines = [f"step {int(one['step']):,}, {md(one['what'] or 'a probe')}: {md(one['message'])}" for one in errors]
    more = [f"{len(lines) - MOST_ROWS:,} more are in the journal."] if len(lines) > MOST_ROWS else []
    return ["What failed was switched off; the training went on.", bullets([*lines[:MOST_ROWS], *more])]


ERRORS = Section(title="Errors of ours", applies=lambda facts: bool(facts.diagnosis.errors), write=_write)
