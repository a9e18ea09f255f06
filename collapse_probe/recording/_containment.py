"""Never break the training that is watched: what fails of ours is switched off, journalled and said once."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ..errors import in_one_line

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)

STRICT = "COLLAPSE_PROBE_STRICT"
"""Set to ``1``, faults of ours are raised: for our own tests."""


class Containment:
    """Runs our code inside somebody else's training.

    A probe that raises is switched off for the rest of the run; the first failure of a run gives one Python warning,
    and every failure goes to ``report``. What is no ``Exception``, such as Ctrl-C, passes.

    Args:
        report: Called with the probe's name and the error in one line.
        messages: Whether that line holds the error's own message.
    """

    def __init__(self, report: Callable[[str, str], None], *, messages: bool = True) -> None:
        self.messages = messages
        self._report = report
        self._off: set[str] = set()
        self._warned = False
        self._reporting = False
        self._inside = False
        self._ours = 0.0
        self._began = time.perf_counter()

    @property
    def cost(self) -> tuple[float, float]:
        """Seconds inside our code so far, and seconds since it was first there."""
        return self._ours, time.perf_counter() - self._began

    def off(self, probe: str) -> bool:
        """Return whether a probe has failed."""
        return probe in self._off

    def run(self, probe: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Call a function of ours; None where it failed, now or before."""
        if probe in self._off:
            return None
        outermost, self._inside, start = not self._inside, True, time.perf_counter()
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if os.environ.get(STRICT) == "1":
                raise
            self._switch_off(probe, error)
            return None
        finally:
            if outermost:
                self._inside = False
                self._ours += time.perf_counter() - start

    def _switch_off(self, probe: str, error: Exception) -> None:
        self._off.add(probe)
        message = in_one_line(error, longest=500)
        _log.debug("probe %s failed", probe, exc_info=error)
        if not self._warned:
            self._warned = True
            text = f"collapse-probe: {probe} failed and is off for this run; training goes on ({message})"
            # A filter that makes errors of warnings must not break the training either.
            try:
                warnings.warn(text, RuntimeWarning, stacklevel=4)
            except RuntimeWarning:
                _log.warning(text)
        if self._reporting:
            return
        self._reporting = True
        try:
            self._report(probe, in_one_line(error, messages=self.messages, longest=500))
        except Exception:
            _log.debug("a failure could not be journalled", exc_info=True)
        finally:
            self._reporting = False
