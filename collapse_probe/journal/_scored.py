"""Records of retrieval scores: of the model, and of the model with something changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ._fields import Number


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Retrieval scores of one variant of the model on one collection.

    Attributes:
        collection: Its name.
        step: Optimiser steps done.
        metrics: Metric to its mean over queries.
        variant: What was scored: ``raw`` is the encoder before any module of the user's, all others are free names.
        split: Of the judgements.
        epoch: As in :class:`Readings`.
        role: ``test``; ``development`` where checkpoints are chosen by it; ``reference`` of the reference pairs, each
            query among the documents of all.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
        similarity: How it was scored.
        n_queries: Queries.
        n_documents: Documents.
        tied_share: Share of tied places among the first ten.
        per_query: File of the per-query scores, relative to the run folder.
        fingerprint: SHA-256 of texts and judgements.
        verified: False where stored vectors were used without their encoder.
        group: The collections that it is a part of.
        mean_of: Collections that it is the mean of, where it is none itself; each was scored at the same step.
        time: UTC, ISO 8601.
    """

    collection: str
    step: int
    metrics: Mapping[str, Number]
    variant: str = "model"
    split: str = ""
    epoch: int | None = None
    role: str = "test"
    domain: str | None = None
    similarity: str | None = None
    n_queries: int | None = None
    n_documents: int | None = None
    tied_share: Number | None = None
    per_query: str | None = None
    fingerprint: str | None = None
    verified: bool = True
    group: str | None = None
    mean_of: list[str] | None = None
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """Retrieval scores of a changed model.

    Attributes:
        collection: As in :class:`Evaluation`.
        step: Optimiser steps done.
        variant: As in :class:`Evaluation`.
        family: ``delta`` (another correction), ``graft`` (modules put back to step 0) or ``interpolation`` (weights
            between those of step 0 and of now).
        name: What was changed.
        metrics: Metric to its mean over queries.
        split: As in :class:`Evaluation`.
        epoch: As in :class:`Readings`.
        trained: Of a graft, the modules that have their trained weights.
        t: Of an interpolation, the share of the way from step 0 to now.
        n_queries: Queries.
        per_query: File of the per-query scores.
        key: Name of its values in that file.
        fingerprint: As in :class:`Evaluation`.
    """

    collection: str
    step: int
    variant: str
    family: str
    name: str
    metrics: Mapping[str, Number]
    split: str = ""
    epoch: int | None = None
    trained: list[str] | None = None
    t: Number | None = None
    n_queries: int | None = None
    per_query: str | None = None
    key: str = ""
    fingerprint: str | None = None
