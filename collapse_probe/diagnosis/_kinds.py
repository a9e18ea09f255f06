"""The kinds that a run has now: in the order of what explains what, each said once."""

from __future__ import annotations

from collections.abc import Iterable

from ._contract import Finding, Status

ORDER = (
    "divergence",
    "path_mismatch",
    "underflow",
    "too_good",
    "one_text",
    "padding_pooled",
    "softmax_twice",
    "mismatched_pairs",
    "exact_scores",
    "gate_collapse",
    "gate_never_opened",
    "delta_collapse",
    "no_learning",
    "rate_at_zero",
    "gradients_add_up",
    "updates_undone",
    "side_not_trained",
    "one_sided_collapse",
    "complete_collapse",
    "cone",
    "dead_dimensions",
    "dimensional_collapse",
    "scale_collapse",
    "scale_explosion",
    "saturation",
    "side_gap",
    "harmful_correction",
    "false_negatives",
    "overfitting",
    "forgetting",
    "repeated_texts",
    "degenerate_solution",
    "no_push",
    "no_scale_anchor",
    "loss_at_chance",
    "cold_softmax",
    "unsteady_vectors",
    "hubness",
    "loss_against_retrieval",
    "ties",
    "identity",
    "constant_correction",
)
"""What explains stands before what it explains; kinds that are not here come last. By onset, ranks hid the rest."""

_UNDER_EVERYTHING = ("loss_against_retrieval",)
_ELSEWHERE = ("forgetting", "overfitting", "hubness", "ties", "side_gap")
"""What a collapse brings with it."""

_FOLLOWS = {
    "path_mismatch": ("identity", "constant_correction"),
    "too_good": ("forgetting",),
    "one_text": (
        *("padding_pooled", "mismatched_pairs", "no_learning", *_ELSEWHERE),
        *("one_sided_collapse", "complete_collapse", "cone", "dimensional_collapse"),
    ),
    "softmax_twice": ("no_learning", "loss_at_chance"),
    "padding_pooled": ("no_learning", *_ELSEWHERE, "complete_collapse", "cone", "dimensional_collapse"),
    "mismatched_pairs": (
        *_ELSEWHERE,
        "no_learning",
        "one_sided_collapse",
        "complete_collapse",
        "cone",
        "dimensional_collapse",
    ),
    "underflow": ("no_learning", "identity", "constant_correction"),
    "no_learning": (
        *("identity", "constant_correction", "delta_collapse", "gate_collapse", "gate_never_opened"),
        *("one_sided_collapse", "complete_collapse", "cone", "dimensional_collapse", *_ELSEWHERE),
        *("degenerate_solution", "no_push", "no_scale_anchor", "loss_at_chance"),
    ),
    "one_sided_collapse": (*_ELSEWHERE, "cone", "dimensional_collapse", "dead_dimensions", "scale_collapse"),
    "complete_collapse": (*_ELSEWHERE, "cone", "dimensional_collapse", "dead_dimensions"),
    "cone": _ELSEWHERE,
    "dead_dimensions": (*_ELSEWHERE, "dimensional_collapse"),
    "dimensional_collapse": _ELSEWHERE,
    "scale_collapse": _ELSEWHERE,
    "scale_explosion": _ELSEWHERE,
    "false_negatives": (*_ELSEWHERE, "loss_against_retrieval"),
    "overfitting": ("forgetting",),
    "saturation": _ELSEWHERE,
    "side_gap": ("forgetting", "hubness"),
    "harmful_correction": _ELSEWHERE,
    "hubness": ("forgetting",),
    "ties": ("forgetting", "hubness"),
    "gate_never_opened": ("no_learning", "identity", "path_mismatch"),
    "gate_collapse": ("constant_correction", "no_learning", "identity", "path_mismatch"),
    "delta_collapse": ("constant_correction",),
    "constant_correction": ("forgetting",),
}
_OF_THE_RUN = (
    *("forgetting", "overfitting", "hubness", "ties", "side_gap", "identity", "constant_correction"),
    *("no_learning", "path_mismatch", "mismatched_pairs"),
)
"""Kinds that follow whatever they are about."""

_NOTHING_CHANGED = ("no_learning", "path_mismatch")
"""Kinds that hold, too, where what is added is not learnt."""

_UNTRAINED = ("identity", "gate_never_opened", "gate_collapse")
"""Kinds that are critical where they are what is not learnt, and nothing else is."""

_FAR = 100.0
"""Growth of the norms from which on it explains what else became of the embeddings."""
_AT_CHANCE = 0.6
"""AUC of the pairs up to which they explain what became of the embeddings: where a part of them is wrong, or labelled
so, training still sees which belong together."""
_EXPLAINS_NO_FALL = (
    *("coverage", "unfinished", "range", "unverified_vectors", "identity", "constant_correction"),
    *("selection_by_loss", "loss_rank_correlation"),
)


def kinds(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return what is raised or confirmed now, the gravest first, without what follows from another."""
    grave = [one for one in findings if one.grave]
    kept = [one for one in grave if not any(_folds(other, one) for other in grave)]
    return tuple(sorted(kept, key=place))


def place(finding: Finding) -> tuple[int, float, str, str]:
    """Return where a finding stands: by status, then by what explains what, then by name."""
    statuses = (Status.CRITICAL, Status.WARNING, Status.NOT_MEASURED, Status.HEALTHY, Status.NOT_APPLICABLE)
    order = float(ORDER.index(finding.kind) if finding.kind in ORDER else len(ORDER))
    judgement = finding.judgement
    if finding.kind == "scale_explosion" and judgement and judgement.value and judgement.value > _FAR:
        order = ORDER.index("one_sided_collapse") - 0.5
    if _partly_wrong(finding):
        order = ORDER.index("harmful_correction") - 0.5
    return statuses.index(finding.status), order, finding.code, finding.subject


def _folds(other: Finding, one: Finding) -> bool:
    """Return whether one finding follows from another."""
    if other is one or (other.status is not Status.CRITICAL and one.status is Status.CRITICAL):
        return False
    if other.kind == "divergence" and other.status is Status.CRITICAL and one.kind != "divergence":
        return _since(one) is None or _since(one) >= (_since(other) or 0)  # type: ignore[operator]
    if one.kind in _UNDER_EVERYTHING and one.kind != other.kind and (of_cut(one) or not of_cut(other)):
        if other.kind == "ties":
            return other.status is Status.CRITICAL
        return other.kind not in _EXPLAINS_NO_FALL
    if other.kind in _NOTHING_CHANGED and one.kind in _UNTRAINED and one.status is Status.CRITICAL:
        return False
    if one.kind in _NOTHING_CHANGED and other.kind in _UNTRAINED:
        return other.status is Status.CRITICAL
    if _partly_wrong(other) and one.kind not in _ELSEWHERE:
        return False
    if of_cut(one) != of_cut(other):
        # What became of whole embeddings became of their first columns, and never the other way round.
        return of_cut(one) and other.kind not in (*_EXPLAINS_NO_FALL, *_ELSEWHERE)
    same = other.subject == one.subject or not other.subject or one.kind in _OF_THE_RUN
    return same and one.kind in _FOLLOWS.get(other.kind, ())


def of_cut(finding: Finding) -> bool:
    """Return whether a finding is of embeddings' first columns alone."""
    return finding.cut is not None


def _partly_wrong(finding: Finding) -> bool:
    """Return whether pairs were found wrong in part."""
    value = finding.judgement.value if finding.judgement else None
    return finding.kind == "mismatched_pairs" and value is not None and value > _AT_CHANCE


def _since(finding: Finding) -> int | None:
    onset = finding.judgement.onset if finding.judgement else None
    return onset.step if onset else None
