"""Programs of one more author, who has not seen how they are judged."""

from . import gates, healthy, learning, paths, texts  # noqa: F401
