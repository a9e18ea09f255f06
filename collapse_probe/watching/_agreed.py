"""When several processes stop a training: all after the same step, or one that goes on waits for the others."""

from __future__ import annotations

from collections.abc import Callable

from ..recording import Recorder, processes


class Agreed:
    """Asks for a stop, and says when it is there.

    The first process says a due step that is still to come. Whoever has done that step heard of it before: a gradient
    that is averaged needs all processes.

    Args:
        recorder: Whose steps are counted, and who reaches the other processes.
        asked: Whether a finding may stop the training at all.
        say: Says something once: by its key, in one line.
    """

    def __init__(self, recorder: Recorder, *, asked: bool, say: Callable[[str, str], None]) -> None:
        self._recorder = recorder
        self._asked = asked
        self._say = say
        self._at: int | None = None

    def ask(self) -> bool:
        """Ask for a stop; return whether this process, being the only one, stops now."""
        ranks = self._recorder.ranks
        if processes() == 1 or ranks is None:
            return True
        at = self._recorder.cadence.next(self._recorder.done)
        if ranks.ask_to_stop(at):
            self._at = at
        else:
            self._say("stop", "the training is not asked to stop: the other processes cannot be told, and would wait")
        return False

    def after_step(self, *, due: bool) -> bool:
        """Return whether the training stops after the step that has ended."""
        ranks = self._recorder.ranks
        if self._asked and due and ranks is not None and not self._recorder.first and self._at is None:
            self._at = ranks.asked_to_stop()
        return self._at is not None and self._recorder.done >= self._at
