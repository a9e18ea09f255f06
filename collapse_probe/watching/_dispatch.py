"""``watch``, which tells trainers from plain models without their libraries: these are imported where one is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..journal.vocabulary import Similarity
from ..recording import Tap
from ._options import OnCollapse, Options
from ._watch import Watch

if TYPE_CHECKING:
    from ._trainer import TrainerWatch


def watch(
    target: Any,
    *,
    run: str | Path | bool | None = None,
    optimizer: Any = None,
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
    baseline: bool | None = None,
    on_collapse: OnCollapse = "ignore",
) -> Watch:
    """Watch a training: the loop itself stays as it is.

    Raises:
        InputError: something given cannot be used; nothing is attached then.
    """
    trainer = trainer_of(target)
    if trainer is not None:
        options = Options(
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
            baseline=baseline,
            on_collapse=on_collapse,
        )
        return watch_trainer(trainer, options)
    return Watch(
        target,
        run=run,
        optimizer=optimizer,
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
        on_collapse=on_collapse,
    )


def trainer_of(target: Any) -> Any:
    """Return a trainer of transformers or sentence-transformers: the target, or the one inside of it; else None."""
    inner = getattr(target, "st_trainer", None)  # setfit's trainer is none, and holds one
    return next((one for one in (target, inner) if one is not None and _is_trainer(type(one), "transformers")), None)


def watch_trainer(trainer: Any, options: Options, *, automatic: bool = False) -> TrainerWatch:
    """Watch a trainer.

    Raises:
        InputError: something given cannot be used; nothing is attached then.
    """
    from ._trainer import TrainerWatch

    if _is_trainer(type(trainer), "sentence_transformers"):
        from .sentence_transformers import SentenceTransformersSource

        return TrainerWatch(SentenceTransformersSource(trainer, options), options, automatic=automatic)
    from .transformers import TransformersSource

    return TrainerWatch(TransformersSource(trainer), options, automatic=automatic)


def _is_trainer(kind: type, package: str) -> bool:
    return any(one.__module__.split(".")[0] == package and one.__name__.endswith("Trainer") for one in kind.__mro__)
