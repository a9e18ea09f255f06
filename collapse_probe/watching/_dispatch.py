"""Telling trainers apart without their libraries, which are imported only where one is handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._options import Options

if TYPE_CHECKING:
    from ._trainer import TrainerWatch


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
