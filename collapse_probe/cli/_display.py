"""What a run shows on the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..errors import spelt
from ._flags import as_flag

if TYPE_CHECKING:
    from ..respred.training import EpochScores, Listener

console = Console(highlight=False, soft_wrap=True)


_ASCII = str.maketrans({**dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)), "…": "..."})


def columns() -> int:
    """Return the columns of the terminal, or of ``COLUMNS``: 100 at most, and where there is neither."""
    return min(100, shutil.get_terminal_size((100, 24)).columns)


def writable(text: str) -> str:
    """Return a text in what the standard output's encoding has, blocks as ASCII where they are not in it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


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
    """An audience that prints."""

    def say(self, line: str) -> None:
        """Print one line."""
        say(line)

    def counting(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Show a bar with the time left."""
        return counting(what)

    def training(self) -> AbstractContextManager[Listener]:
        """Show a bar of training steps, and one line for every evaluation."""
        return TrainingDisplay()


class TrainingDisplay:
    """A bar of training steps, and one line for every evaluation."""

    def __init__(self) -> None:
        self._bar = _progress()
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, *, step: int, steps: int, epoch: int) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bar.add_task("training", total=None)
        if step % 8 == 0 or step == steps:
            self._bar.update(self._task, completed=step, total=steps, description=f"epoch {epoch}")

    def epoch(self, *, epoch: int, epochs: int, values: Mapping[str, float], scores: Sequence[EpochScores]) -> None:
        """Print the line of one evaluation."""
        label = {-1: "raw encoder", 0: "step 0"}.get(epoch, f"epoch {epoch}/{epochs}")
        self._say(label, values, scores)

    def between(self, *, t: float, scores: Sequence[EpochScores]) -> None:
        """Print the line of one interpolation."""
        self._say(f"t = {t:g}", {}, scores)

    def _say(self, label: str, values: Mapping[str, float], scores: Sequence[EpochScores]) -> None:
        shown = [_scores(entry.collection, [entry]) for entry in scores]
        for group in dict.fromkeys(entry.group for entry in scores if entry.group is not None):
            members = [entry for entry in scores if entry.group == group]
            shown.append(_scores(f"{group}, mean of {len(members)},", members))
        parts = [f"{label:<11}", _losses(values), _delta(values), *shown]
        say("  ".join(part for part in parts if part))


def _losses(values: Mapping[str, float]) -> str:
    names = {"total": "loss", "isotropy": "iso", "predictive": "pred", "residual": "res", "contrastive": "con"}
    found = [
        f"{short} {values[f'validation/{name}']:.2e}" for name, short in names.items() if f"validation/{name}" in values
    ]
    return "validation " + " ".join(found) if found else ""


def _delta(values: Mapping[str, float]) -> str:
    if "delta" not in values:
        return ""
    return f"|delta| {values['delta']:.2e} alpha {values['alpha']:.4f} max |alpha delta| {values['correction']:.2e}"


def _scores(name: str, entries: Sequence[EpochScores]) -> str:
    """Return nDCG@10 on every path, averaged over collections as BEIR averages the parts of one."""
    shown = {
        path: sum(entry.by_path[path].mean["ndcg@10"] for entry in entries) / len(entries)
        for path in entries[0].by_path
    }
    if "predictor" in shown:
        text = f"{shown['no_predictor']:.4f} without, {shown['predictor']:.4f} with predictor"
    else:
        text = f"{next(iter(shown.values())):.4f}"
    return f"{name} nDCG@10 {text}"
