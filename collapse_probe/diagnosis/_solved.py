"""A loss that is solved without telling texts apart, where step 0 was at chance and so cannot show a fall."""

from __future__ import annotations

import numpy as np

from ..journal import Series
from ._contract import Condition

CHANCE = 0.5
"""d' of step 0 up to which nothing was there that could fall: two towers that were made at random (own choice)."""

SOLVED = 0.05
"""Share of its start that a loss that is solved has left (own choice)."""

SEPARATED = 2.5
"""d' from which on texts are told apart well enough (own choice): two random towers end at .6 to 2.1 under a squared
error alone and at 4 under an in-batch softmax, on made-up pairs."""


def solved_without_separating(d_prime: Series, loss: Series) -> Condition | None:
    """Return that harm, or None where it is not there.

    Args:
        d_prime: Separation, by step.
        loss: The total loss, by step.
    """
    d_prime, loss = d_prime.finite(), loss.finite()
    if len(d_prime) < 2 or len(loss) < 8:
        return None
    width = max(3, len(loss) // 10)
    first, last = float(np.median(loss.values[:3])), float(np.median(loss.values[-width:]))
    start = float(np.mean(d_prime.values[d_prime.steps <= max(3, int(d_prime.steps[0]))]))
    end = float(np.mean(d_prime.values[-max(1, len(d_prime) // 10) :]))
    if not (start < CHANCE and end < SEPARATED and 0 <= last <= SOLVED * first):
        return None
    return Condition(reading=d_prime.reading, value=end - SEPARATED, cut=0.0, holds=True, harm=True)
