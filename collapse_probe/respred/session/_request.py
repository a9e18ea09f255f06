"""What a user asks of a training, beside its recipe. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError, setting
from ...retrieval import Collection, IdenticalIds, Pairs, default_cache

_ABOUT = ("columns", "min_score", "query_prompt", "document_prompt", "keep_identical_ids")
_PLAIN = ("validation_share", "split", "dev_split", "seed", "precision", "counterfactuals", *_ABOUT)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Inputs and settings of one training.

    Attributes:
        encoder: Name or folder; None for the bundled encoder.
        query_prompt: What stands before every query; None for the model's own.
        document_prompt: The same for documents.
        pairs: Training pairs; None for the bundled ones, where that is allowed.
        columns: ``role=column`` texts, where names do not tell which column is what.
        min_score: Rows of pairs with at least this score are positive.
        validation_pairs: Held-out pairs of their own.
        validation_share: Share of the pairs that is held out where there are none.
        collections: Folders, BEIR names or collections to score.
        split: Split of their judgements.
        keep_identical_ids: Whether a document with its query's id can be retrieved; None where it is relevant.
        dev: What checkpoints are chosen by.
        dev_split: Split of its judgements.
        features: Read-only feature stores made elsewhere.
        cache: Folder of encoded texts and downloads.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        seed: Of weights, batches and dropout.
        counterfactuals: Whether changed versions of the model are scored at every evaluation.
        reports: Folder of the reports, for whoever goes on with the run.
    """

    encoder: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    pairs: Path | Pairs | None = None
    columns: tuple[str, ...] = ()
    min_score: float | None = None
    validation_pairs: Path | Pairs | None = None
    validation_share: float = 0.025
    collections: tuple[str | Collection, ...] = ()
    split: str = "test"
    keep_identical_ids: bool | None = None
    dev: str | Collection | None = None
    dev_split: str = "train"
    features: tuple[Path, ...] = ()
    cache: Path = field(default_factory=default_cache)
    device: str = "auto"
    precision: str = "fp32"
    seed: int = 0
    counterfactuals: bool = True
    reports: Path = Path("reports")

    @property
    def identical_ids(self) -> IdenticalIds:
        """The rule for documents with their query's id."""
        return "auto" if self.keep_identical_ids is None else "keep" if self.keep_identical_ids else "drop"

    def to_json(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps, with absolute paths; ``objects`` names what no path leads to."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        plain["columns"] = list(self.columns)
        plain |= {name: _absolute(getattr(self, name)) for name in ("pairs", "validation_pairs", "encoder", "dev")}
        plain["beir"] = [_absolute(one) for one in self.collections if isinstance(one, str)]
        plain["features"] = [str(Path(folder).resolve()) for folder in self.features]
        plain["reports"] = str(self.reports)
        objects = [name for name in ("pairs", "validation_pairs", "dev") if _is_object(getattr(self, name))]
        plain["objects"] = [*objects, *(["collections"] if any(map(_is_object, self.collections)) else [])]
        return plain

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, cache: Path) -> Request:
        """Return the request that :meth:`to_json` wrote; stores that are gone are left out."""
        given = {name: content[name] for name in (*_PLAIN, "encoder", "dev") if content.get(name) is not None}
        given |= {name: Path(content[name]) for name in ("pairs", "validation_pairs") if content.get(name)}
        given["columns"] = tuple(content.get("columns") or ())
        given["collections"] = tuple(content.get("beir") or ())
        given["features"] = tuple(Path(one) for one in content.get("features") or () if Path(one).is_dir())
        given["reports"] = Path(content.get("reports") or "reports")
        return cls(**given, cache=cache)


def check_precision(precision: str, device: str) -> None:
    """Refuse a precision that the device cannot train in.

    Raises:
        InputError: fp16 on a CPU.
    """
    if precision == "fp16" and device == "cpu":
        asked, needed = setting("precision", "fp16"), setting("device", "cuda")
        raise InputError(f"{asked} needs {needed}; on a CPU give fp32 or bf16")


def is_main_process() -> bool:
    """Return whether this process writes the run: the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _is_object(value: Any) -> bool:
    return isinstance(value, Pairs | Collection)


def _absolute(given: Any) -> str | None:
    """Return a path that leads there from anywhere; a name as it is."""
    if given is None or _is_object(given):
        return None
    return str(Path(given).resolve()) if isinstance(given, Path) or Path(given).exists() else str(given)
