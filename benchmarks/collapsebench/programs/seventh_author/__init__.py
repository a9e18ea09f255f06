"""Programs of a seventh author."""

from . import collapses, corrections, healthy, learning, numbers, pairs, paths, scales  # noqa: F401
