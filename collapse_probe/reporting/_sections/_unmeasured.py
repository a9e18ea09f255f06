"""What was not measured, and what is wrong with the journal."""

from __future__ import annotations

from ...diagnosis import LOCUS
from ...journal import Counterfactual
from .._facts import MOST_ROWS, Facts, Section
from .._text import bullets, md


def _lines(facts: Facts) -> list[str]:
    lines = [
        (f"**{what}**: {md(one.why)}." if one.essential else f"{what}: {md(one.why)}.")
        for one in facts.diagnosis.not_measured
        for what in [md(one.what.replace("_", " "))]
    ]
    lines += [
        f"{count:,} records of the kind {md(kind)}, which this version does not know."
        for kind, count in facts.run.unknown.items()
    ]
    if facts.run.torn:
        lines.append(f"{facts.run.torn} torn journal line(s) skipped.")
    return [*lines, *_founding(facts)]


def _founding(facts: Facts) -> list[str]:
    """Return what the founding system measures when it is asked to."""
    if not facts.founding or not facts.run.config.trains:
        return []
    lines = []
    if not facts.run.config.session.get("preflight"):
        lines.append("Before the first step: the run was started without preflight.")
    scored = {one.family for one in facts.run.of(Counterfactual)}
    if "graft" not in scored and not any(one.what == LOCUS for one in facts.diagnosis.not_measured):
        lines.append("Which module holds the change: no epoch was scored with modules put back to step 0.")
    if "interpolation" not in scored and facts.run.status == "completed":
        from_text = (facts.recipe.get("unfreeze_layers") or 0) > 0
        why = "encoder layers are trained, and no development split was given" if from_text else "the run did not ask"
        lines.append(f"Models between step 0 and the last epoch: {why}.")
    if not facts.run.coverage:
        lines.append("Streams: no probe of them was watched.")
    return lines


def _write(facts: Facts) -> list[str]:
    lines = _lines(facts)
    more = [f"{len(lines) - MOST_ROWS:,} more are in `findings.json`."] if len(lines) > MOST_ROWS else []
    return [bullets([*lines[:MOST_ROWS], *more])]


UNMEASURED = Section(title="What was not measured", applies=lambda facts: bool(_lines(facts)), write=_write)
