"""The development set: programs by an author who did not read the rules."""

from . import collapses, corrections, healthy, learning, sides, texts, wiring  # noqa: F401
