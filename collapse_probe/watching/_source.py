"""What a kind of trainer has to say of itself, so that it can be watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from ._attach import Attachments
from ._options import Facts, Options

if TYPE_CHECKING:
    from ._trainer import TrainerWatch


class Source(Protocol):
    """One kind of trainer: where its parts are, and what is attached to them."""

    trainer: Any

    @property
    def model(self) -> nn.Module | None:
        """The model; None before it is known."""

    @property
    def optimizer(self) -> Any:
        """The optimiser, once training begins."""

    @property
    def loads_best(self) -> bool:
        """Whether the best checkpoint is loaded when training ends."""

    def facts(self, options: Options) -> Facts:
        """Say what the trainer knows of its run."""

    def attach(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach what hears more than the steps of training: from the call of ``watch`` on."""

    def listen(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach what hears training: when it begins."""

    def baseline(self, watch: TrainerWatch) -> None:
        """Evaluate before the first step, where that is asked for or cheap."""

    def evaluated(self, watch: TrainerWatch, metrics: Mapping[str, Any]) -> None:
        """Hear the metrics of an evaluation, before training begins too."""

    def ended(self) -> None:
        """The training is over: a further one is not watched, which is said when it begins."""
