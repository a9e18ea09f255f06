"""Measures of any stream of vectors, and of gates."""

from __future__ import annotations

from . import _nulls as nulls
from ._measure import REFERENCE, Measure

STREAMS = (
    Measure(
        name="finite_share",
        needs=("values",),
        label="finite",
        about="Share of entries that are neither NaN nor infinite.",
        every_step=True,
        scale_blind=True,
    ),
    Measure(name="norm_mean", needs=("z",), label="norm", about="Mean L2 norm of the rows.", every_step=True),
    Measure(
        name="norm_median",
        needs=("z",),
        label="median norm",
        about="Median L2 norm of the rows, which one exploded row does not move.",
    ),
    Measure(
        name="norm_spread",
        needs=("z",),
        label="norm spread",
        about="Standard deviation of the norms over their mean.",
        scale_blind=True,
    ),
    Measure(name="spread", needs=("z",), label="spread", about="Variance about the mean, a dimension: tr(C) / D."),
    Measure(
        name="common_share",
        needs=("z",),
        label="common share",
        about="Share of the mean squared norm that all rows have in common: ||mean||^2 / mean ||z||^2.",
        scale_blind=True,
        null=nulls.common_share,
    ),
    Measure(name="std_mean", needs=("z",), label="std", about="Mean over dimensions of the standard deviation."),
    Measure(
        name="std_min",
        needs=("z",),
        label="smallest std",
        about="Smallest standard deviation of a dimension.",
        on=REFERENCE,
    ),
    Measure(
        name="dead_dimensions",
        needs=("z",),
        label="dead dims",
        about="Share of dimensions with a standard deviation below 1 % of the median of those alive.",
        scale_blind=True,
    ),
    Measure(
        name="mean_cosine",
        needs=("z",),
        label="mean cosine",
        about="Mean cosine between different rows: anisotropy.",
        scale_blind=True,
        null=nulls.mean_cosine,
    ),
    Measure(
        name="grand_mean_fraction",
        needs=("z",),
        label="grand-mean fraction",
        about="Share of the mean row that lies along the all-ones vector.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.grand_mean_fraction,
    ),
    Measure(
        name="uniformity",
        needs=("z",),
        label="uniformity",
        about="Log mean of exp(-2 d^2) between unit rows: 0 is total collapse, about -4 uniform.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.uniformity,
    ),
    Measure(
        name="radial",
        needs=("z", "gradient"),
        label="radial",
        about="Cosine of the loss's descent with the growth of log norms: -1 does nothing but shrink.",
        on=frozenset({"batch"}),
        scale_blind=True,
    ),
)

SPECTRA = (
    Measure(
        name="participation_ratio",
        needs=("covariance",),
        label="PR, uncorrected",
        about="Effective dimension tr(C)^2 / ||C||^2, centred; low at few rows.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.participation_ratio,
    ),
    Measure(
        name="participation_ratio_corrected",
        needs=("covariance",),
        label="PR, centred",
        about="Effective dimension tr(C)^2 / ||C||^2, centred, corrected for the number of rows.",
        scale_blind=True,
        null=nulls.participation_ratio_corrected,
    ),
    Measure(
        name="participation_ratio_uncentred",
        needs=("z",),
        label="PR, uncentred",
        about="The participation ratio of the uncentred second moment, not corrected: a common mean takes it to 1.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.participation_ratio_uncentred,
    ),
    Measure(
        name="isoscore_corrected",
        needs=("covariance",),
        label="IsoScore, corrected",
        about="(PR - 1) / (D - 1) of the corrected participation ratio.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.isoscore_corrected,
    ),
    Measure(
        name="effective_rank",
        needs=("spectrum",),
        label="effective rank",
        about="Exponential of the entropy of the singular values, centred.",
        on=REFERENCE,
        scale_blind=True,
    ),
    Measure(
        name="top_share",
        needs=("spectrum",),
        label="top component",
        about="Share of the variance along the first principal component.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.top_share,
    ),
)
