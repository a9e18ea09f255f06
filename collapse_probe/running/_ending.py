"""What is said when a program has ended: the first screen of its runs, or that nothing was trained."""

from __future__ import annotations

from collections.abc import Sequence

from ..journal import LiveRun
from ._said import Said


def tell(runs: Sequence[LiveRun], said: Said, *, width: int, briefly: bool = False) -> None:
    """Say what was heard.

    Args:
        runs: Those of the program, which have ended.
        said: Where lines of ours go.
        width: Columns of a first screen.
        briefly: Whether a line for each has to do.
    """
    heard = [one for one in runs if one.steps]
    if not heard:
        unheard = "nothing was watched: no step of a PyTorch optimiser was heard"
        said.line("trained nothing: no optimiser step was counted in what was watched" if runs else unheard)
        return
    # The longest of several is shown whole.
    longest = max(heard, key=lambda one: one.steps)
    for one in heard:
        if briefly or one is not longest:
            said.line(_in_a_line(one))
    if not briefly:
        said.block(_screen(longest, width))


def _in_a_line(run: LiveRun) -> str:
    steps = f"{run.steps:,} step{'s' if run.steps != 1 else ''}"
    from ..watching import in_short

    return f"heard {steps}; the run is {in_short(run.folder)}" if run.folder is not None else f"heard {steps}"


def _screen(run: LiveRun, width: int) -> str:
    from ..diagnosis import diagnosed
    from ..watching import in_short

    _, found, _ = diagnosed(run, width=width)
    if run.folder is None:
        return found.summary
    folder = in_short(run.folder)
    return f"{found.summary}\nrun     {folder}\nreport  collapse-probe report {folder}"
