"""How a watch ends: by its block, by hand, or with the program."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..errors import in_one_line
from ..recording import Recorder
from ._attach import Attachments
from ._coverage import Coverage
from ._delivered import Left, Parting, WeightsLeft, said_of
from ._optimizers import StepListener
from ._path import ScoredPath
from ._references import ReferenceReader
from ._verdicts import Verdicts


class Lifetime:
    """What ends a watch; may happen several times.

    Attributes:
        parted: Where not None, takes what tells later whether the model was given other weights.
    """

    recorder: Recorder
    _attachments: Attachments
    _closed: bool
    _coverage: Coverage
    _forget_target: Callable[[], None]
    _left: WeightsLeft | None
    parted: list[Parting] | None = None
    _path: ScoredPath
    _reference: ReferenceReader
    _steps: StepListener | None
    _texts: bool
    _verdicts: Verdicts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Take everything off, read the reference pairs once more, and end the journal; may be called twice.

        Where the weights are not those of the last step, whose they are is said, and the pairs are not read.

        Args:
            error: What ended the training, where something did.
        """
        if self._closed:
            return
        self._end_open_step()
        if error is None and not self.recorder.containment.run("delivered weights", self._deliver):
            self.recorder.containment.run("reference pairs", self._reference.full)
        self.detach()
        self.end(*_status(error, messages=self._texts))

    def _deliver(self, named: int | None = None, *, early: bool = False) -> bool:
        """Say whose weights the training leaves; return whether others than those of the last step are there now.

        Args:
            named: The step whose weights a trainer says that it loads; None where it loads none.
            early: Whether it has not done so yet.
        """
        last = self.recorder.done
        left = None if self._left is None or early else self._left.found()
        if named is not None and named != last and (left is None or left.step is None):
            left = Left(named)
        if left is not None and (said := said_of(left, last)):
            self.recorder.event("delivered", said, subject="" if left.step is None else str(left.step))
        return not early and left is not None and left.step != last

    def detach(self) -> None:
        """Take everything off; the journal stays open until :meth:`end`."""
        if self._closed:
            return
        self._end_open_step()
        self._closed = True
        if self.parted is not None and self._left is not None:
            parting = self.recorder.containment.run("delivered weights", self._left.part)
            self.parted += [] if parting is None else [parting]
        atexit.unregister(self._at_exit)
        containment = self.recorder.containment
        containment.run("coverage", self._path.tell)
        self._attachments.close()
        containment.run("coverage", self._coverage.explain)
        containment.run("writing", self.recorder.flush)
        containment.run("verdict", self._verdicts.judge)
        self._forget_target()

    def end(self, status: str, message: str = "") -> None:
        """Write the end record, after everything else of the run is saved.

        Args:
            status: ``completed``, ``interrupted`` or ``failed``.
            message: Why it did not complete.
        """
        self.recorder.close(status, message)

    def _end_open_step(self) -> None:
        if self._steps is not None:
            self._steps.end()

    def _at_exit(self) -> None:
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        self.close(error if isinstance(error, BaseException) else None)


def _status(error: BaseException | None, *, messages: bool) -> tuple[str, str]:
    if error is None:
        return "completed", ""
    message = in_one_line(error, messages=messages)
    return ("interrupted" if isinstance(error, KeyboardInterrupt) else "failed"), message
