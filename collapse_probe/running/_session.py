"""One program that is watched: what hears it, and what is said when it ends."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..imported import WhenImported
from ._again import start_again_watched
from ._ending import tell, used_by_children, worked_since
from ._program import Program
from ._said import Said

if TYPE_CHECKING:
    from ._loops import Loops

_OPTIMIZERS = "torch.optim.optimizer"
_TRAINERS = ("transformers.trainer", "sentence_transformers.base.trainer", "sentence_transformers.trainer")
_LIGHTNING = ("lightning.pytorch.trainer.trainer", "pytorch_lightning.trainer.trainer")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of a watch.

    Attributes:
        run: The run's folder; None for one in ``runs``, by the program's name.
        options: Arguments of :func:`collapse_probe.watch` by name; those that were not given are absent.
        width: Columns of the first screen.
        typed: What of the command line stands before the program, ``run`` first; empty where it is not known.
    """

    run: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    width: int = 100
    typed: Sequence[str] = ()


class Session:
    """Hears every optimiser step of this process, and every trainer that is made in it.

    Args:
        program: What is run.
        asked: What is asked of a watch.
        said: Where lines of ours go.
    """

    def __init__(self, program: Program, asked: Asked, said: Said) -> None:
        self._asked = asked
        self._said = said
        self._program = program
        # The program may go to another folder.
        self._folder = (asked.run or Path("runs") / program.name).absolute()
        self._heard = WhenImported((_OPTIMIZERS, *_TRAINERS, *_LIGHTNING), self._imported)
        self._loops: Loops | None = None
        self._undo: list[Any] = []
        self._autolog: Any = None
        self._process = os.getpid()
        self._children = used_by_children()
        self._ended = False
        self._again = False

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of a watch."""
        return {"run": self._folder, **self._asked.options}

    def begin(self) -> None:
        """Begin to hear."""
        self._said.listen()
        self._heard.start()
        if self._asked.typed:
            self._undo.append(start_again_watched(self._asked.typed, self._started_again))
        atexit.register(self.finish)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave_to_parent)

    def close(self) -> None:
        """Hear nothing any more; may be called twice."""
        self._heard.close()
        if self._autolog is not None:
            self._autolog.close()
        while self._undo:
            self._undo.pop()()
        atexit.unregister(self.finish)
        self._said.leave()

    def finish(self, error: BaseException | None = None, *, briefly: bool = False) -> None:
        """Close the runs and say what was heard, once, in the process that began; never raises.

        Args:
            error: What ended the program, where something did.
            briefly: Whether one line has to do, since the process is about to be ended.
        """
        if self._ended or os.getpid() != self._process or (error is None and _others_run()):
            return
        self._ended = True
        try:
            self._tell(error, briefly)
        except (Exception, KeyboardInterrupt) as failure:
            self._said.line(f"the run could not be closed ({type(failure).__name__}: {failure})")
        self.close()

    def _tell(self, error: BaseException | None, briefly: bool) -> None:
        runs = [] if self._loops is None else self._loops.close(error)
        if not runs and self._loops is not None:
            self._said.line("steps of an optimiser were heard, and none of them was watched")
            return
        if not runs and self._again:
            return  # the processes of the training say what was heard
        elsewhere = worked_since(self._children)
        tell(runs, self._said, width=self._asked.width, briefly=briefly, elsewhere=elsewhere)

    def _started_again(self) -> None:
        self._again = True

    # What the program imports

    def _imported(self, module: ModuleType) -> None:
        try:
            if module.__name__ == _OPTIMIZERS:
                self._undo.append(module.register_optimizer_step_pre_hook(self._step).remove)
            elif module.__name__ in _LIGHTNING:
                self._hear_lightning(module)
            elif self._autolog is None:
                from ..watching import autolog

                self._autolog = autolog(**self.options)
        except Exception as error:
            self._fail(error)

    def _hear_lightning(self, module: ModuleType) -> None:
        from ._lightning import patch

        self._undo.append(patch(module, self.options, self._fail))

    def _step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._ended or os.getpid() != self._process:
            return
        try:
            if self._loops is None:
                from ._loops import Loops

                self._loops = Loops(self.options, self._said)
            self._loops.before_step(optimizer, args, kwargs)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        from ..recording import STRICT

        if os.environ.get(STRICT) == "1":
            raise error
        self._said.once(f"a part of this program is not watched ({type(error).__name__}: {error}); it goes on")

    def _leave_to_parent(self) -> None:
        """Forget everything in a process that was forked: it is not watched, and writes nothing."""
        self._ended = True
        try:
            atexit.unregister(self.finish)
            if self._loops is not None:
                self._loops.leave_to_parent()
        except Exception:
            self._loops = None


def _others_run() -> bool:
    """Return whether threads of the program go on: it ends, and is told of, when they do."""
    main = threading.main_thread()
    return threading.current_thread() is main and any(
        one is not main and one.is_alive() and not one.daemon for one in threading.enumerate()
    )
