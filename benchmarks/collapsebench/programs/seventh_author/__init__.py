"""Programs of a seventh author."""

from . import collapses, learning, pairs, paths, scales  # noqa: F401
