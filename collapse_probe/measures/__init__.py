"""Measures: plain functions from tensors to numbers. No hooks, no state, no input or output.

None of them waits for a device: what comes back is a tensor on the input's device. Only :func:`spectrum`, which
decomposes a matrix, waits: not for training steps. What is known of each stands in
:data:`collapse_probe.journal.vocabulary.MEASURES`; every name in a family's ``__all__`` is exported from here.
"""

from . import _angles, _corrections, _forces, _neighbours, _pairs, _rows, _scale, _spectrum
from ._angles import *
from ._checks import wide
from ._corrections import *
from ._equilibrium import explained_residual, penalty_ratio, ridge_correction, shrinkage
from ._forces import *
from ._functions import FUNCTIONS
from ._moments import Moments
from ._neighbours import *
from ._neighbours import Neighbours
from ._pairs import *
from ._row_state import RowState
from ._rows import *
from ._sample import Sample, neighbours_of, read, scores, singular_values
from ._scale import *
from ._scores import Scores, compare, reciprocal_ranks
from ._shared import sharing
from ._spectrum import *
from ._term_forces import read_terms

__all__ = [
    "FUNCTIONS",
    "Moments",
    "Neighbours",
    "RowState",
    "Sample",
    "Scores",
    "compare",
    "explained_residual",
    "neighbours_of",
    "penalty_ratio",
    "read",
    "read_terms",
    "reciprocal_ranks",
    "ridge_correction",
    "scores",
    "sharing",
    "shrinkage",
    "singular_values",
    "wide",
]
__all__ += _angles.__all__
__all__ += _corrections.__all__
__all__ += _forces.__all__
__all__ += _neighbours.__all__
__all__ += _pairs.__all__
__all__ += _rows.__all__
__all__ += _scale.__all__
__all__ += _spectrum.__all__
