"""The names of everything that can be read. No torch: declarations are checked against these lists."""

from __future__ import annotations

RESIDUAL_MEASURES = (
    "mean_abs",
    "max_abs",
    "norm",
    "alpha",
    "correction_mean_abs",
    "correction_max_abs",
    "correction_over_query",
    "correction_over_residual",
    "identity_gain",
    "cosine_above_chance",
    "constancy",
    "tanh_saturation",
)

EMBEDDING_MEASURES = (
    "norm_mean",
    "norm_spread",
    "std_mean",
    "std_min",
    "mean_cosine",
    "participation_ratio",
    "participation_ratio_uncentred",
    "effective_rank",
    "isoscore",
    "grand_mean_fraction",
    "dead_dimensions",
    "uniformity",
)

DRIFT_MEASURES = ("scale_drift", "scale_drift_raw")

LOSS_TERMS = ("isotropy", "predictive", "residual", "contrastive")

EMBEDDING_TAPS = ("query", "document")

RAW_TAPS = ("raw_query", "raw_document")

PAIR_MEASURES = ("distance_mean", "cosine_mean", "distance_random_mean", "cosine_random_mean", "margin", "accuracy")

READING_NAMES = (
    *(f"{tap}/{measure}" for tap in ("delta", "delta_eval") for measure in RESIDUAL_MEASURES),
    *(f"{tap}/{measure}" for tap in EMBEDDING_TAPS for measure in (*EMBEDDING_MEASURES, *DRIFT_MEASURES)),
    *(f"{tap}/{measure}" for tap in RAW_TAPS for measure in EMBEDDING_MEASURES),
    *(f"pairs/{measure}" for measure in PAIR_MEASURES),
    "loss/total",
    *(f"loss/{term}" for term in LOSS_TERMS),
    *(f"loss/{term}_weighted" for term in LOSS_TERMS),
    "loss/gradient_norm",
    *(f"validation/{term}" for term in ("total", *LOSS_TERMS)),
)
"""Every reading that a probe may name. Epoch summaries carry ``.first``, ``.last``, ``.mean`` or ``.max``
behind these names in the journal."""

HISTOGRAM_NAMES = (
    "delta/abs",
    "pairs/distance",
    "pairs/cosine",
    "pairs/distance_random",
    "pairs/cosine_random",
)
"""Every histogram that a probe may name."""
