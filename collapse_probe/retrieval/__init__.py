"""Texts, vectors and scores: pairs, BEIR collections, encoders, the feature store, exact search, metrics."""

from ._collections import Collection, judged_pairs, read_beir, seen_queries
from ._download import BEIR_MD5, open_collection
from ._embedded import EmbeddedText, build_embedded
from ._encoder import EMBEDDED_SHA256, Encoder, EncoderIdentity, open_encoder
from ._pairs_file import Pairs, read_pairs
from ._scoring import METRICS, Scores, evaluate_variants, evaluate_vectors, score_hits
from ._search import Hits, exact_search, tied_share
from ._store import FeatureStore

__all__ = [
    "BEIR_MD5",
    "EMBEDDED_SHA256",
    "METRICS",
    "Collection",
    "EmbeddedText",
    "Encoder",
    "EncoderIdentity",
    "FeatureStore",
    "Hits",
    "Pairs",
    "Scores",
    "build_embedded",
    "evaluate_variants",
    "evaluate_vectors",
    "exact_search",
    "judged_pairs",
    "open_collection",
    "open_encoder",
    "read_beir",
    "read_pairs",
    "score_hits",
    "seen_queries",
    "tied_share",
]
