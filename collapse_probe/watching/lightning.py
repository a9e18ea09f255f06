"""A callback for Lightning: ``Trainer(callbacks=[collapse_probe.LightningCallback()])``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..errors import InputError
from ..journal import Run
from ..journal.vocabulary import Similarity
from ..recording import STRICT, Tap
from ._options import OnCollapse, Options, Probes
from ._watch import Watch

_log = logging.getLogger("collapse_probe")


def callback_class() -> type:
    """Return the class of callbacks of the Lightning that the program has: it is published under two names.

    Raises:
        ModuleNotFoundError: none is installed.
    """
    names = ("lightning.pytorch", "pytorch_lightning")
    name = next((one for one in names if one in sys.modules), names[0])
    return import_module(name).Callback


if TYPE_CHECKING:
    Callback: Any = object
else:
    try:
        Callback = callback_class()
    except ModuleNotFoundError:
        Callback = object  # the class can be read without it, and is given to nobody


class LightningCallback(Callback):
    """Watches each ``fit`` of the trainer that it is given to.

    Takes the arguments of :func:`watch` but for ``target``, ``optimizer`` and ``baseline``: the module and its
    optimisers are the trainer's, and nothing is evaluated before the first step.

    Attributes:
        watch: The watch; None before training begins.
    """

    def __init__(
        self,
        *,
        run: str | Path | Run | bool | None = None,
        loss: nn.Module | None = None,
        query: str | nn.Module | None = None,
        document: str | nn.Module | None = None,
        taps: Sequence[Tap] = (),
        reference: Any = None,
        raw: Callable[[], tuple[Tensor, Tensor]] | None = None,
        similarity: Similarity = "cosine",
        trained_by: Similarity | None = None,
        examples: int | None = None,
        every: int = 10,
        reference_every: int | None = None,
        probes: Probes = None,
        texts: bool = True,
        on_collapse: OnCollapse = "ignore",
    ) -> None:
        super().__init__()
        self.watch: Watch | None = None
        self._options = Options(
            run=run,
            loss=loss,
            query=query,
            document=document,
            taps=taps,
            reference=reference,
            raw=raw,
            similarity=similarity,
            trained_by=trained_by,
            examples=examples,
            every=every,
            reference_every=reference_every,
            probes=probes,
            texts=texts,
            on_collapse=on_collapse,
        )

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, before the first step."""
        self._contained(self._begin, trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Ask the trainer to stop where that was asked for."""
        if self.watch is not None and self.watch.stop:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """End the window of an epoch."""
        if self.watch is not None:
            self.watch.window(epoch=int(trainer.current_epoch) + 1)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """What comes now is no training."""
        if self.watch is not None:
            self._contained(self.watch._pause, True)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Training goes on; what was measured is heard."""
        if self.watch is not None:
            self._contained(self.watch._pause, False)
            self._contained(self._evaluated, trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End."""
        if self.watch is not None:
            self.watch.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End after an exception."""
        if self.watch is not None:
            self.watch.close(exception)

    def _begin(self, trainer: Any, module: nn.Module) -> None:
        options = self._options.of_a_loop()
        self.watch = Watch(module, optimizer=list(trainer.optimizers), **options, session={"trainer": "Lightning"})
        if trainer.global_step:
            self.watch.recorder.rewind(int(trainer.global_step))

    def _evaluated(self, trainer: Any) -> None:
        found = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val")}
        if found and self.watch is not None and not self.watch._closed:
            self.watch.evaluation("validation", found)

    def _contained(self, function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except InputError as error:
            _log.warning("collapse-probe: this training is not watched: %s", error)
        except Exception as error:
            if os.environ.get(STRICT) == "1":
                raise
            _log.warning("collapse-probe: a part of this training is not watched (%s: %s)", type(error).__name__, error)
