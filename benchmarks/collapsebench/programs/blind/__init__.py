"""Programs of another author, judged before the tool's authors saw them."""

from . import corrections, data, geometry, healthy, scoring, trainers  # noqa: F401
