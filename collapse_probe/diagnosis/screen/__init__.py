"""The first screen of a diagnosis: its numbers in sentences, here and only here."""

from ._screen import first_screen
from ._words import clean, number, remedies

__all__ = ["clean", "first_screen", "number", "remedies"]
