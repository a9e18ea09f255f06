"""Comparisons, intervals, multiplicity and change points: numbers in, numbers out. The one place for them."""

from ._correlation import FEWEST_RANKED, RankCorrelation, rank_correlation
from ._flips import DRAWS, max_t, max_t_p, randomisation_p
from ._holm import holm
from ._interval import Interval, normal_p, t_interval
from ._onset import FEWEST_READINGS, Onset, bracket, change_point
from ._paired import PairedDifference, align, paired_difference, welch_p
from ._seeded import SEEDS_TO_CONFIRM, SeededDifference, seeded_difference

__all__ = [
    "DRAWS",
    "FEWEST_RANKED",
    "FEWEST_READINGS",
    "SEEDS_TO_CONFIRM",
    "Interval",
    "Onset",
    "PairedDifference",
    "RankCorrelation",
    "SeededDifference",
    "align",
    "bracket",
    "change_point",
    "holm",
    "max_t",
    "max_t_p",
    "normal_p",
    "paired_difference",
    "randomisation_p",
    "rank_correlation",
    "seeded_difference",
    "t_interval",
    "welch_p",
]
