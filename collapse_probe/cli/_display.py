"""What a run shows on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import spelt
from ._flags import as_flag
from ._output import writable

if TYPE_CHECKING:
    from ..respred.training import Listener

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line of plain text, the settings in it as flags."""
    console.print(escape(writable(spelt(text, as_flag))))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


@contextmanager
def counting(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left; yields the function to call with (done, total)."""
    with _progress() as progress:
        task = progress.add_task(escape(description), total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update


class Terminal:
    """An audience that prints.

    Args:
        run: Folder of the run that is trained, to show how it goes on; None shows its evaluations alone.
    """

    def __init__(self, run: Path | None = None) -> None:
        self._run = run

    def say(self, line: str) -> None:
        """Print one line."""
        say(line)

    def counting(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Show a bar with the time left."""
        return counting(what)

    def training(self) -> AbstractContextManager[Listener]:
        """Show how a training goes on, and one line for every evaluation."""
        from ._training import TrainingDisplay

        return TrainingDisplay(self._run)
