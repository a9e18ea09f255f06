"""What ``train`` shows while it trains: what ``follow`` shows of its run, and a short line for every evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ._display import say
from ._live import Look, Window, progress

if TYPE_CHECKING:
    from ..respred.training import EpochScores

LOOK_EVERY = 2.0
"""Seconds between two looks at the least."""

DRAW_EVERY = 0.5
"""Seconds between two drawings of how far it is."""


class TrainingDisplay:
    """A listener that shows a training; what goes wrong in it ends the showing, never the training.

    Args:
        run: Folder of the run that is trained; None shows the lines of its evaluations alone.
    """

    def __init__(self, run: Path | None = None) -> None:
        self._window = Window()
        self._look = None if run is None else Look(run)
        self._looked_until = self._drawn_until = 0.0
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, int, float] | None = None
        self._broken = False

    def __enter__(self) -> Self:
        self._guarded(self._window.__enter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guarded(self._window.__exit__, None, None, None, always=True)

    def step(self, *, step: int, steps: int, epoch: int) -> None:
        """Show how far it is, and now and then what became of it."""
        self._guarded(self._step, step, steps)

    def epoch(self, *, epoch: int, epochs: int, values: Mapping[str, float], scores: Sequence[EpochScores]) -> None:
        """Print the line of one evaluation."""
        label = {-1: "raw encoder", 0: "step 0"}.get(epoch, f"epoch {epoch}/{epochs}")
        self._guarded(self._evaluated, label, values, scores)

    def between(self, *, t: float, scores: Sequence[EpochScores]) -> None:
        """Print the line of one interpolation."""
        self._guarded(self._evaluated, f"t = {t:g}", {}, scores)

    def _guarded(self, what: Callable[..., Any], *arguments: Any, always: bool = False) -> None:
        if self._broken and not always:
            return
        try:
            what(*arguments)
        except Exception as error:
            if not self._broken:
                self._broken = True
                say(f"note: no more is shown of the training, which goes on ({type(error).__name__}: {error!s:.60})")

    def _step(self, step: int, steps: int) -> None:
        if not self._window.there:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = (step - 1, now)
        since, began = self._first
        self._last = (step, steps, (now - began) / (step - since) * step)
        if now >= self._drawn_until:
            self._drawn_until = now + DRAW_EVERY
            self._look_again()
            self._draw()

    def _evaluated(self, label: str, values: Mapping[str, float], scores: Sequence[EpochScores]) -> None:
        say(evaluation_line(label, values, scores))
        self._look_again()
        self._draw()

    def _look_again(self) -> None:
        if self._look is None or time.monotonic() < self._looked_until:
            return
        self._look.again()
        for line in self._look.news:
            say(line)
        self._looked_until = time.monotonic() + self._look.pause(LOOK_EVERY)

    def _draw(self) -> None:
        if self._look is not None and self._window.there:
            far = "before the first step" if self._last is None else progress(*self._last)
            self._window.show(self._look.screen(far))


def evaluation_line(label: str, values: Mapping[str, float], scores: Sequence[EpochScores]) -> str:
    """Return what an evaluation found in one line of at most 100 columns; what does not fit is counted.

    Scores are those without a predictor's correction; with it they are shown where that makes a difference and
    there is room.
    """
    from ..diagnosis.screen import WIDTH

    line = f"{label:<11}"
    if "validation/total" in values:
        line += f"  loss {values['validation/total']:.1e}"
    after = f"  delta {values['delta']:.1e}" if "delta" in values else ""
    whole, short = _by_name(scores, both=True), _by_name(scores, both=False)
    tried = [(whole, len(whole), after), (short, len(short), after)]
    for shown, kept, last in tried + [(short, kept, "") for kept in range(len(short), -1, -1)]:
        rest = f" and {len(shown) - kept} more" if kept < len(shown) else ""
        said = f"  nDCG@10 {', '.join(shown[:kept])}{rest}" if shown else ""
        if len(line + said + last) <= WIDTH:
            return (line + said + last).rstrip()
    return line[:WIDTH].rstrip()


def _by_name(scores: Sequence[EpochScores], *, both: bool) -> list[str]:
    from ..diagnosis.screen import clean

    shown = []
    for group in dict.fromkeys(one.group or one.collection for one in scores):
        members = [one for one in scores if group == (one.group or one.collection)]
        many = f", mean of {len(members)}," if members[0].group is not None else ""
        shown.append(f"{clean(group, length=24)}{many} {_mean(members, both=both)}")
    return shown


def _mean(entries: Sequence[EpochScores], *, both: bool) -> str:
    """Return nDCG@10, averaged over collections as BEIR averages the parts of one."""
    means = {
        path: f"{sum(one.by_path[path].mean['ndcg@10'] for one in entries) / len(entries):.4f}"
        for path in entries[0].by_path
    }
    first, *others = means.values()
    return f"{first} ({others[0]} with predictor)" if both and others and others[0] != first else first
