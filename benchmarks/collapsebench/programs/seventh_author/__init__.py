"""Programs of a seventh author."""

from . import collapses  # noqa: F401
