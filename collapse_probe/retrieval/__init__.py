"""Texts, vectors and scores: pairs, collections, encoders, stored vectors, exact search, metrics.

What needs torch is imported when it is first asked for, so that a mistyped path is refused at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import find_lazily
from ._collections import Collection, IdenticalIds, judged_pairs, make_collection
from ._device import resolve_device
from ._download import BEIR_MD5, open_collections
from ._encoding import Told, encode_missing, texts_of
from ._features import Features
from ._held_out import FEWEST_QUERIES, HELD_OUT, MOST_DOCUMENTS, judged_texts
from ._overlap import Overlap, find_overlap
from ._pairs import Pairs, make_pairs
from ._store import FeatureStore
from ._stored import stored_identity
from .encoders import (
    SHARES,
    TASKS,
    Encoder,
    EncoderIdentity,
    Encoding,
    Prompts,
    Task,
    between,
    check_encoder,
    check_kind,
    check_weights,
    default_cache,
    encode_with,
    find_encoder,
    interpolate,
    is_half,
    no_folder,
    open_encoder,
    own_similarity,
    read_json,
)
from .forms import FORMS, parse_columns, read_beir, read_collections, read_pairs

if TYPE_CHECKING:
    from ._rankings import rankings_of
    from ._scoring import METRICS, Scores, evaluate_variants, evaluate_vectors, score_hits
    from ._search import Hits, exact_search, tied_share

_LATER = {
    "METRICS": "_scoring",
    "Hits": "_search",
    "Scores": "_scoring",
    "evaluate_variants": "_scoring",
    "evaluate_vectors": "_scoring",
    "exact_search": "_search",
    "rankings_of": "_rankings",
    "score_hits": "_scoring",
    "tied_share": "_search",
}

__all__ = [
    "BEIR_MD5",
    "FEWEST_QUERIES",
    "FORMS",
    "HELD_OUT",
    "METRICS",
    "MOST_DOCUMENTS",
    "SHARES",
    "TASKS",
    "Collection",
    "Encoder",
    "EncoderIdentity",
    "Encoding",
    "FeatureStore",
    "Features",
    "Hits",
    "IdenticalIds",
    "Overlap",
    "Pairs",
    "Prompts",
    "Scores",
    "Task",
    "Told",
    "between",
    "check_encoder",
    "check_kind",
    "check_weights",
    "default_cache",
    "encode_missing",
    "encode_with",
    "evaluate_variants",
    "evaluate_vectors",
    "exact_search",
    "find_encoder",
    "find_overlap",
    "interpolate",
    "is_half",
    "judged_pairs",
    "judged_texts",
    "make_collection",
    "make_pairs",
    "no_folder",
    "open_collections",
    "open_encoder",
    "own_similarity",
    "parse_columns",
    "rankings_of",
    "read_beir",
    "read_collections",
    "read_json",
    "read_pairs",
    "resolve_device",
    "score_hits",
    "stored_identity",
    "texts_of",
    "tied_share",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return find_lazily(__name__, _LATER[name], name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
