"""Audits before the first step: what a loss asks of the embeddings, and what the pairs and the model are like."""

from ._preflight import preflight
from ._solutions import RANKS, exponent, solutions

__all__ = ["RANKS", "exponent", "preflight", "solutions"]
