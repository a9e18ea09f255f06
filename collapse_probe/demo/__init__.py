"""What a first run takes where nothing is named: the bundled encoder, and docstring search made on the spot."""

from ._docstrings import EmbeddedText, build_embedded
from ._encoder import BUNDLED_NAME, BUNDLED_SHA256, BUNDLED_WHEEL, bundled_folder

__all__ = [
    "BUNDLED_NAME",
    "BUNDLED_SHA256",
    "BUNDLED_WHEEL",
    "EmbeddedText",
    "build_embedded",
    "bundled_folder",
]
