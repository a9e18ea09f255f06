"""``collapse-probe follow``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.text import Text

from ..errors import InputError

if TYPE_CHECKING:
    from ..diagnosis import Diagnosis, Finding

SHARE = 0.015
"""Share of one core that looking may take: after a look that took a second, the next one comes a minute later."""

EPILOG = """\b
Examples:
  collapse-probe follow runs/mine
  ssh machine collapse-probe follow runs/mine --every 30
  collapse-probe follow runs/mine | tee findings.txt

Reads the journal alone, so it costs the training nothing. It ends when the run does, with the first screen of
`collapse-probe diagnose` and its exit code. Where the output is no terminal, it prints one line for each finding.

Exit codes: 0 healthy or a warning, 1 critical or not measured, 2 wrong use, 74 the run's folder went away,
130 interrupted.
"""


@click.command("follow", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--every",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Least time between two looks; more where a look takes long, so that it stays below 2 % of one core.",
)
@click.option("--ignore", multiple=True, metavar="CODE", help="A code that does not count; may be given several times.")
def command(run: Path, every: float, ignore: tuple[str, ...]) -> int:
    """Show how RUN goes on while another process writes it: its first screen, and findings as they come and go."""
    from ._display import console, say, writable

    look = Look(run, ignore)
    look.again()  # what is no run is refused at once
    window = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    if window is not None:
        window.start()
    try:
        while not look.ended:
            for line in look.news:
                say(line)
            if window is not None:
                window.update(Text(writable(look.screen())), refresh=True)
            time.sleep(max(every, look.cost / SHARE))
            look.again()
    finally:
        if window is not None:
            window.stop()
    for line in look.news:
        say(line)
    say(look.screen(ended=True))
    return look.found.exit_code


class Look:
    """What is seen of a run that goes on.

    Args:
        run: Its folder.
        ignore: Codes that do not count.

    Attributes:
        found: The newest diagnosis.
        news: What came, became graver or went since the look before, in lines.
        cost: Seconds of a core that the newest look took.
        ended: Whether the run has ended.
    """

    found: Diagnosis

    def __init__(self, run: Path, ignore: tuple[str, ...] = ()) -> None:
        self._run = run
        self._ignore = ignore
        self._size = -1
        self._changed = time.monotonic()
        self._known: dict[tuple[str, str], Finding] = {}
        self.news: list[str] = []
        self.cost = 0.0
        self.ended = False

    def again(self) -> None:
        """Look again, if the journal has grown.

        Raises:
            InputError: there is no such run, or it cannot be read.
            OSError: it was there before and is not any more.
        """
        from ..diagnosis import diagnosed
        from ..journal import JOURNAL, LiveRun, Run
        from ._display import columns

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
        # Of a run that goes on, what is raised may yet be cleared, and there is no end to miss.
        run = loaded if self.ended else LiveRun(loaded.config, loaded.store, folder=loaded.folder)
        self.found = diagnosed(run, ignore=self._ignore, width=columns())[1]
        self.news = self._compared({(one.code, one.subject): one for one in self.found.kinds})
        self.cost = time.process_time() - start
        self._size, self._changed = size, time.monotonic()

    def screen(self, *, ended: bool = False) -> str:
        """Return the first screen, with how long ago it changed in a last line of its own while the run goes on."""
        silent = time.monotonic() - self._changed
        since = f", nothing new for {silent:,.0f} s" if silent >= 30 else ""
        last = "" if ended else f"\nstep {self.found.steps:,}{since}; Ctrl-C ends looking, not the run"
        return self.found.summary + last

    def _compared(self, now: Mapping[tuple[str, str], Finding]) -> list[str]:
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
        return lines

    @staticmethod
    def _named(one: Finding) -> str:
        from ..diagnosis.screen import clean, since, title

        subject = f" ({clean(one.subject, length=60)})" if one.subject else ""
        onset = since(one.judgement)
        return f"{one.code} {title(one)}{subject}, {one.status.value}" + (f", {onset}" if onset else "")
