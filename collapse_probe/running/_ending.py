"""What is said when a program has ended: the first screen of its runs, or that nothing was trained."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._said import Said

if TYPE_CHECKING:
    from ..journal import LiveRun

_WORKED = 2.0
"""Seconds of the processor after which processes that a program started may have trained: importing torch takes two."""


def tell(
    runs: Sequence[LiveRun], said: Said, *, width: int, briefly: bool = False, elsewhere: float | None = None
) -> None:
    """Say what was heard.

    Args:
        runs: Those of the program, which have ended.
        said: Where lines of ours go.
        width: Columns of a first screen.
        briefly: Whether a line for each has to do.
        elsewhere: Seconds of the processor that processes took which the program has started, and which are not heard;
            None where it has started none.
    """
    heard = [one for one in runs if one.steps]
    if not heard:
        unheard = "trained nothing: no optimiser step was counted in what was watched"
        what = unheard if runs else "nothing was watched: no step of a PyTorch optimiser was heard"
        said.line(f"{what}{'' if elsewhere is None else _elsewhere(elsewhere)}")
        return
    if briefly:
        for one in heard:
            said.line(_in_a_line(one))
        return
    # One run after the other: its evidence is large, its first screen is not.
    judged = sorted((_judged(one, width) for one in heard), key=lambda one: (one.grade, -one.run.steps))
    for one in judged if len(judged) > 1 else ():
        said.line(f"{one.verdict}; {_in_a_line(one.run)}")
    said.block(said.spelt(judged[0].screen))


@dataclass(frozen=True)
class _Judged:
    """A run with its verdict in a line and its first screen; ``grade`` is 0 for the gravest."""

    run: LiveRun
    grade: int
    verdict: str
    screen: str


def used_by_children() -> Any:
    """Return what processes used that this one started and waited for, as ``getrusage`` does; None where none tells."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_CHILDREN)


def worked_since(before: Any) -> float | None:
    """Return the seconds of the processor that processes took which were started, and ended, since; None for none."""
    used = used_by_children()
    # Whoever ended and was waited for has used pages of memory.
    if used is None or used.ru_minflt <= before.ru_minflt:
        return None
    return used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def _elsewhere(seconds: float) -> str:
    """Return what is not heard where a program started others, and what to do where these have worked."""
    here = " in this process, and those that it started are not watched"
    if seconds < _WORKED:
        return here
    instead = "let `torchrun ... -m collapse_probe run` start them"
    found = f"{here}: call collapse_probe.watch(...) in what they run"
    return f"{found}, or {instead}"


def _in_a_line(run: LiveRun) -> str:
    from ..watching import in_short

    steps = f"{run.steps:,} step{'s' if run.steps != 1 else ''}"

    return f"heard {steps}; the run is {in_short(run.folder)}" if run.folder is not None else f"heard {steps}"


def _judged(run: LiveRun, width: int) -> _Judged:
    from ..diagnosis import Status, diagnosed
    from ..diagnosis.screen import verdict_in_a_line

    evidence, found, _ = diagnosed(run, width=width)
    # Of what was not measured or is healthy the longest says most.
    grades = (Status.CRITICAL, Status.WARNING)
    grade = grades.index(found.status) if found.status in grades else len(grades)
    return _Judged(run, grade, verdict_in_a_line(evidence, found), _screen(run, found.summary))


def _screen(run: LiveRun, summary: str) -> str:
    from ..watching import in_short

    if run.folder is None:
        return summary
    folder = in_short(run.folder)
    return f"{summary}\nrun     {folder}\nreport  collapse-probe report {shlex.quote(str(folder))}"
