"""The report of a run, and its first screen on the terminal."""

from __future__ import annotations

from pathlib import Path

from ..diagnosis import Diagnosis, diagnose, diagnosed
from ..diagnosis.screen import WIDTH, remedies
from ..journal import LiveRun, Run
from ..reporting import PAGE, write_report
from ._display import say
from ._output import columns


def report_and_verdict(run: Run, reports: Path) -> bool:
    """Write a run's report, print the first screen, and return whether the run is fit to be called so."""
    found = diagnose(run)
    place = reports / run.name
    # Hours of training are not to end without a report for a file that has its name.
    report = write_report(run, place.with_name(f"{place.name}-report") if place.is_file() else place)
    say(summary(found, run))
    flags = as_flags(found, run)
    if flags:
        say(f"flags   {flags}")
    damaged = run.damaged
    for line in damaged:
        say(f"damaged {line}")
    say(f"run     {run.folder}")
    say(f"report  {report}")
    say(f"page    {report.with_name(PAGE)}")
    return found.exit_code == 0 and not damaged


def summary(found: Diagnosis, run: LiveRun, ignore: tuple[str, ...] = ()) -> str:
    """Return the first screen of a diagnosis in as many columns as the terminal has."""
    narrow = columns() < WIDTH
    return diagnosed(run, ignore=ignore, width=columns())[1].summary if narrow else found.summary


def as_flags(found: Diagnosis, run: LiveRun) -> str:
    """Return what to change as flags of ``train``; empty where the run was made by another program."""
    recipe = run.config.session.get("recipe")
    gravest = [one for one in found.kinds if one.status is found.kinds[0].status][:3]
    if not isinstance(recipe, dict) or not gravest:
        return ""
    first = next((one.remedies for one in found.causes if one.named), ())
    change = {key: value for key, value in remedies(gravest, run.config, first=first).items() if key in recipe}
    return " ".join(_flag(key, value) for key, value in change.items())


def _flag(key: str, value: object) -> str:
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}"
