"""Programs of a seventh author."""

from . import collapses, learning, numbers, pairs, paths, scales  # noqa: F401
