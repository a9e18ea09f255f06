"""TensorBoard, by its own event writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..reporting import fenced, write_folder
from ._described import Described
from ._export import Written


def writer(to: str) -> Callable[[Described, str | None, str], Written]:
    """Return what writes an event file.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """
    import tensorboard.summary.writer.event_file_writer  # noqa: F401

    return _write


def _write(run: Described, into: str | None, project: str) -> Written:
    folder = Path(into or "exports/tensorboard") / run.folder
    # TensorBoard reads a file to its end and goes on there: another content is another file, and the older one goes.
    name = f"events.out.tfevents.{int(run.times.began):010d}.collapse-probe.{run.content}"
    notes = ["TensorBoard keeps numbers as float32"]
    place = write_folder(folder, run.key, lambda built: _build(run, built, name))
    return Written(where=str(place), notes=notes)


def _build(run: Described, folder: Path, name: str) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    points: dict[tuple[int, float], list[Any]] = {}
    for line in run.lines:
        for step, time, value in zip(line.steps.tolist(), line.times.tolist(), line.values.tolist(), strict=True):
            points.setdefault((step, time), []).append(Summary.Value(tag=line.name, simple_value=value))
    texts = [(one.step, one.time, f"findings/{one.name}", f"{one.title}\n\n{one.text}") for one in run.alerts]
    texts.append((run.steps, run.times.ended, "verdict", fenced(run.summary)))
    for step, time, tag, text in texts:
        points.setdefault((step, time), []).append(_text(tag, text))
    events = EventFileWriter(str(folder))
    for (step, time), values in sorted(points.items(), key=lambda one: one[0]):
        events.add_event(Event(wall_time=time, step=step, summary=Summary(value=values)))
    events.close()
    (written,) = folder.glob("events.out.tfevents.*")
    written.rename(folder / name)


def _text(tag: str, text: str) -> Any:
    from tensorboard.plugins.text.summary_v2 import text_pb

    return text_pb(tag, text).value[0]
