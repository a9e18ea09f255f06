"""Whether a mechanism is suspected: from a run's readings and one of its kinds to why it is, or None."""

from __future__ import annotations

from ...detectors._signature import BEGAN_AT_NOTHING
from ._beginnings import OWN_LENGTH
from ._data import (
    by_heart,
    evaluator,
    false_negatives,
    few,
    leaked,
    learnt_one_by_one,
    of_its_batch,
    one_text,
    padding,
    path,
    softmax_twice,
    swapped,
    wrong_pairs,
)
from ._forces import (
    FAR_FROM_BOUND,
    dead,
    drives_apart,
    never_pulls,
    never_pushes,
    no_anchor,
    no_floor,
    no_push,
    temperature,
)
from ._start import narrow, random_head
from ._steps import (
    half,
    inside_the_loss,
    itself,
    large_steps,
    not_trained,
    nothing_left,
    overwritten,
    own_teacher,
    small_steps,
)

__all__ = [
    "BEGAN_AT_NOTHING",
    "FAR_FROM_BOUND",
    "OWN_LENGTH",
    "by_heart",
    "dead",
    "drives_apart",
    "evaluator",
    "false_negatives",
    "few",
    "half",
    "inside_the_loss",
    "itself",
    "large_steps",
    "leaked",
    "learnt_one_by_one",
    "narrow",
    "never_pulls",
    "never_pushes",
    "no_anchor",
    "no_floor",
    "no_push",
    "not_trained",
    "nothing_left",
    "of_its_batch",
    "one_text",
    "overwritten",
    "own_teacher",
    "padding",
    "path",
    "random_head",
    "small_steps",
    "softmax_twice",
    "swapped",
    "temperature",
    "wrong_pairs",
]
