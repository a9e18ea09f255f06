"""Running a program: its exit code, its traceback, its signals and its output are its own."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from ..errors import ProgramNotFoundError
from ._program import Program
from ._said import Said
from ._session import Asked, Session

_OURS = (__package__.partition(".")[0], "click", "runpy")
"""Packages whose frames stand around the program's own in a traceback."""


def run_program(program: Program, asked: Asked, said: Said) -> None:
    """Run a program in this process and watch what it trains; returns or raises as the program does.

    Args:
        program: The program.
        asked: What is watched, and how.
        said: Where lines of ours go.

    Raises:
        ProgramNotFoundError: it is a module that is not there.
    """
    session = Session(program, asked, said)
    launcher = vars(sys.modules["__main__"])
    interrupted: list[bool] = []
    # What is registered first is called last, after all that the program has registered.
    atexit.register(lambda: _die() if interrupted else None)
    session.begin()
    _end_on_sigterm(session)
    try:
        program.start()
    except ProgramNotFoundError:
        session.close()
        raise
    except SystemExit:
        session.finish()
        raise
    except BaseException as error:
        interrupted += [True] if isinstance(error, KeyboardInterrupt) else []
        _print_as_its_own(error, launcher, session)
        raise
    session.finish()


def _without_ours(trace: TracebackType | None, launcher: dict[str, Any]) -> TracebackType | None:
    """Return a traceback of the program's frames: without those before its first one, and without calls through us."""
    frames: list[tuple[TracebackType, bool]] = []
    while trace is not None:
        there = trace.tb_frame.f_globals
        package = str(there.get("__name__")).partition(".")[0]
        if frames or (there is not launcher and package not in _OURS):
            frames.append((trace, package == _OURS[0]))
        trace = trace.tb_next
    # What ends in us is of a program that called us.
    last = max((at for at, (_, ours) in enumerate(frames) if not ours), default=-1)
    kept = [one for at, (one, ours) in enumerate(frames) if not ours or at > last]
    rest = None
    for one in reversed(kept):
        rest = TracebackType(rest, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return rest


def _print_as_its_own(error: BaseException, launcher: dict[str, Any], session: Session) -> None:
    """Let Python print an error without our frames, by the program's own hook, and end as it would; then finish."""
    hook: Callable[..., Any] = sys.excepthook
    trace = _without_ours(error.__traceback__, launcher)

    def print_it(kind: type[BaseException], value: BaseException, _: TracebackType | None) -> None:
        value.__traceback__ = trace if value is error else value.__traceback__
        try:
            hook(kind, value, value.__traceback__)
        except Exception as failure:
            _print_failed_hook(failure, value)
        finally:
            session.finish(error)

    sys.excepthook = print_it


def _print_failed_hook(failure: Exception, error: BaseException) -> None:
    """Print what Python prints where the program's own hook raises, without our frame."""
    failure.__traceback__ = None if failure.__traceback__ is None else failure.__traceback__.tb_next
    failure.__context__ = None if failure.__context__ is error else failure.__context__
    for title, one in (("Error in sys.excepthook:", failure), ("\nOriginal exception was:", error)):
        print(title, file=sys.stderr)
        sys.__excepthook__(type(one), one, one.__traceback__)


def _die() -> None:
    """End by the signal of Ctrl-C, as Python does after all else; it forgets to where something was imported since."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def _end_on_sigterm(session: Session) -> None:
    """Close the run before SIGTERM ends the process, as it would have ended without us.

    The program sees no handler of ours: one of its own that goes on to what stood there before, as Lightning's does,
    would end the process where it would have gone on.
    """
    known, install = signal.getsignal, signal.signal
    if threading.current_thread() is not threading.main_thread() or known(signal.SIGTERM) != signal.SIG_DFL:
        return
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        install(number, signal.SIG_DFL)
        if os.getpid() == process:
            session.finish(KeyboardInterrupt("SIGTERM"), briefly=True)
        os.kill(os.getpid(), number)

    @functools.wraps(known)
    def getsignal(signalnum: Any) -> Any:
        found = known(signalnum)
        return signal.SIG_DFL if found is end else found

    @functools.wraps(install)
    def set_signal(signalnum: Any, handler: Any) -> Any:
        ours = signalnum == signal.SIGTERM and handler == signal.SIG_DFL and os.getpid() == process
        before = install(signalnum, end if ours else handler)
        return signal.SIG_DFL if before is end else before

    install(signal.SIGTERM, end)
    signal.getsignal, signal.signal = getsignal, set_signal
