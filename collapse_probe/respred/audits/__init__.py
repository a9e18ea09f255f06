"""Preflight: what a recipe's losses will do to its data, measured before any training step."""

from ._preflight import preflight

__all__ = ["preflight"]
