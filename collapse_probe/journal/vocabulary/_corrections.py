"""Measures of what a module adds to a query, and of the gate that scales it."""

from __future__ import annotations

from . import _nulls as nulls
from ._measure import Measure

CORRECTIONS = (
    Measure(
        name="mean_abs",
        needs=("correction",),
        label="mean |delta|",
        about="Mean absolute entry, before any gate.",
        every_step=True,
    ),
    Measure(
        name="max_abs",
        needs=("correction",),
        label="max |delta|",
        about="Largest absolute entry, before any gate.",
        every_step=True,
    ),
    Measure(
        name="constancy",
        needs=("correction",),
        label="constancy",
        about="Share of the correction that is the same for every query.",
        scale_blind=True,
        null=nulls.common_share,
    ),
    Measure(
        name="saturation",
        needs=("correction",),
        label="saturated",
        about="Share of a tanh's entries beyond 0.97, where it passes no gradient.",
    ),
    Measure(
        name="pass_through",
        needs=("z",),
        label="pass-through",
        about="Mean share of the gradient that a bound of 1, such as a tanh, passes: 1 - z^2.",
    ),
    Measure(
        name="alignment_above_chance",
        needs=("correction", "query", "document"),
        label="cosine above chance",
        about="Mean cosine of the correction with d - q, minus the same for other documents.",
        scale_blind=True,
        null=nulls.alignment,
    ),
    Measure(
        name="correction_mean_abs",
        needs=("applied",),
        label="mean |gate x delta|",
        about="Mean absolute entry of what is added, the gate included.",
        every_step=True,
    ),
    Measure(
        name="correction_max_abs",
        needs=("applied",),
        label="max |gate x delta|",
        about="Largest absolute entry of what is added, the gate included.",
        every_step=True,
    ),
    Measure(
        name="correction_over_query",
        needs=("applied", "query"),
        label="correction / q",
        about="Size of what is added in units of the queries.",
        scale_blind=True,
    ),
    Measure(
        name="correction_over_residual",
        needs=("applied", "query", "document"),
        label="correction / (d - q)",
        about="Size of what is added in units of the gap that it should close.",
        scale_blind=True,
    ),
    Measure(
        name="identity_gain",
        needs=("applied", "query", "document"),
        label="gain over identity",
        about="Share of the squared gap d - q that is removed by adding it.",
        scale_blind=True,
    ),
)

GATES = (
    Measure(
        name="value",
        needs=("gate",),
        label="gate",
        about="The gate's value, the mean of a gate of several entries.",
        every_step=True,
    ),
)
