"""A run that goes on, on the terminal: what ``follow`` and ``train`` show while it does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

from ..errors import InputError

if TYPE_CHECKING:
    from ..diagnosis import Diagnosis, Finding
    from ..journal import LiveRun

SHARE = 0.005
"""Share of one core that looking may take."""

JUDGING = 0.01
"""Share of one core that judging may take: in the long run a judgement that takes a second comes every 100 seconds."""

ALLOWANCE = 3.0
"""Seconds of a core that judging may take beyond its share, once, so that a short run is judged while it goes on."""

_BAR = 20


def progress(step: int, steps: int | None, seconds: float | None) -> str:
    """Return how far a run is, in one line.

    Args:
        step: Optimiser steps done.
        steps: Steps that are planned; None where unknown.
        seconds: What the steps took; None where unknown.

    >>> progress(50, 200, 30.0), progress(50, None, None)
    ('#####--------------- step 50 of 200, 1:30 left', 'step 50')
    """
    if not steps:
        return f"step {step:,}"
    filled = min(_BAR, _BAR * step // steps)
    left = f", {_clock(seconds / step * max(0, steps - step))} left" if seconds and step else ""
    return f"{'#' * filled}{'-' * (_BAR - filled)} step {step:,} of {steps:,}{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True)
class _Pace:
    """Steps that are done and planned, and seconds that each took, as far as the journal tells."""

    done: int
    steps: int | None
    each: float | None


def _pace(run: LiveRun) -> _Pace:
    from ..journal import Clock, Start

    planned = next((one.steps for one in run.of(Start) if one.steps), None)
    ticks = run.of(Clock)
    if len(ticks) < 2 or ticks[-1].step <= ticks[0].step:
        return _Pace(run.steps, planned, None)
    try:
        first, last = (datetime.fromisoformat(one.time) for one in (ticks[0], ticks[-1]))
        return _Pace(run.steps, planned, max(0.0, (last - first).total_seconds()) / (ticks[-1].step - ticks[0].step))
    except (TypeError, ValueError):  # a journal is foreign text
        return _Pace(run.steps, planned, None)


class Window:
    """The last lines of the terminal, which are replaced; nothing where the output is no terminal."""

    def __init__(self) -> None:
        from ._display import console

        # Nothing is drawn but when it is asked for: no thread beside the training.
        shown = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._live = shown if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def there(self) -> bool:
        """Whether anything is shown."""
        return self._live is not None

    def show(self, text: str) -> None:
        """Show a text in place of the one before."""
        from ._output import writable

        if self._live is not None:
            self._live.update(Text(writable(text)), refresh=True)


class Look:
    """What is seen of a run that goes on: its course at every look, a judgement where there is time for one.

    Args:
        run: Its folder.
        ignore: Codes that do not count.

    Attributes:
        found: The newest diagnosis.
        news: What came, became graver or went since the look before, in lines.
        cost: Seconds of a core that the newest look took, without judging.
        ended: Whether the run has ended.
    """

    found: Diagnosis
    _pace: _Pace

    def __init__(self, run: Path, ignore: tuple[str, ...] = ()) -> None:
        self._run = run
        self._ignore = ignore
        self._size = -1
        self._changed = time.monotonic()
        self._known: dict[tuple[str, str], Finding] = {}
        self.news: list[str] = []
        self.cost = 0.0
        self.ended = False
        self._verdict: list[str] = []
        self._course: list[str] = []
        self._judged_until = self._judging = 0.0
        self._began = time.monotonic()

    def pause(self, every: float) -> float:
        """Return the seconds until the next look, of which there are at least ``every``."""
        return max(every, self.cost / SHARE)

    def again(self) -> None:
        """Look again, if the journal has grown.

        Raises:
            InputError: there is no such run, or it cannot be read.
            OSError: it was there before and is not any more.
        """
        from ..diagnosis import Evidence
        from ..diagnosis.screen import course
        from ..journal import JOURNAL, LiveRun, Run
        from ._output import columns

        self.news = []
        journal = self._run / JOURNAL
        size = journal.stat().st_size if journal.exists() else 0
        seen = self._size >= 0
        if size == self._size and self._run.is_dir():
            return
        start = time.process_time()
        try:
            loaded = Run.load(self._run)
        except InputError:
            if seen and not self._run.is_dir():
                raise FileNotFoundError(f"{self._run}: the run's folder is gone") from None
            raise
        self.ended = loaded.status != "unfinished"
        self._pace = _pace(loaded)
        # Of a run that goes on, what is raised may yet be cleared, and there is no end to miss.
        run = loaded if self.ended else LiveRun(loaded.config, loaded.store, folder=loaded.folder)
        judging = time.process_time()
        if self.ended or time.monotonic() >= self._judged_until:
            self._judge(run)
            # Before the first step there is nothing to say of the training: it is judged again as soon as there is.
            self._judged_until = self._judged_until if loaded.steps else 0.0
        judged = time.process_time() - judging
        self._course = course(Evidence(run), self.found, width=columns())
        self.cost = time.process_time() - start - judged
        self._size, self._changed = size, time.monotonic()

    def _judge(self, run: LiveRun) -> None:
        from ..diagnosis import diagnosed
        from ..diagnosis.screen import verdict_so_far
        from ._output import columns

        start = time.process_time()
        evidence, self.found, _ = diagnosed(run, ignore=self._ignore, width=columns())
        self._verdict = verdict_so_far(evidence, self.found, width=columns())
        # Before the first step nothing was trained: what is odd then is said if it lasts.
        self.news = self._compared({(one.code, one.subject): one for one in self.found.kinds}) if run.steps else []
        cost = time.process_time() - start
        self._judging += cost
        owed = (self._judging + cost - ALLOWANCE) / JUDGING
        self._judged_until = max(time.monotonic() + 5 * cost, self._began + owed)

    def screen(self, progress: str = "") -> str:
        """Return the verdict so far and the run's course, and how far it is in a last line.

        Args:
            progress: The last line; empty for what the journal says of it.
        """
        return "\n".join([*self._verdict, *self._course, progress or self._far()])

    def _far(self) -> str:
        silent = time.monotonic() - self._changed
        since = f", nothing new for {silent:,.0f} s" if silent >= 30 else ""
        pace = self._pace
        seconds = None if pace.each is None else pace.each * pace.done
        return f"{progress(pace.done, pace.steps, seconds)}{since}; Ctrl-C ends looking, not the run"

    def _compared(self, now: Mapping[tuple[str, str], Finding]) -> list[str]:
        from ..diagnosis.screen import WIDTH, clean

        step, lines = f"step {self.found.steps:,}", []
        for key, one in now.items():
            before = self._known.get(key)
            if before is None:
                lines.append(f"{step}  raised   {self._named(one)}")
            elif before.status is not one.status:
                lines.append(f"{step}  now {one.status.value}  {self._named(one)}")
        # What is folded under another kind is still there.
        there = {(one.code, one.subject) for one in self.found.findings if one.state in ("raised", "confirmed")}
        lines += [f"{step}  cleared  {self._named(one)}" for key, one in self._known.items() if key not in there]
        self._known = dict(now)
        return [clean(one, length=WIDTH) for one in lines]

    @staticmethod
    def _named(one: Finding) -> str:
        from ..diagnosis.screen import clean, since, title

        subject = f" ({clean(one.subject, length=60)})" if one.subject else ""
        onset = since(one.judgement)
        return f"{one.code} {title(one)}{subject}, {one.status.value}" + (f", {onset}" if onset else "")
