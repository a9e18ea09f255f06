"""What choosing checkpoints by the validation loss costs, and whose documents a gain is on."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .. import _scores
from .._contract import Bounds, Detector, Interval, Judgement, NotApplicable, Remedy, Status, Subject, Threshold
from .._evidence import Evidence
from .._overlap import apart, overlaps
from .._selection import loss_against_retrieval, selection
from .._status import WARNED, WARNING_P
from ._signature import part

_SELECT = (
    Remedy(change={"select": "auto"}, reading="ndcg@10"),
    Remedy(
        change={"model": "choose by retrieval on a development split, the raw encoder and step 0 among the candidates"},
        reading="ndcg@10",
    ),
)


def _needs_training(subject: Subject, evidence: Evidence) -> tuple[str, ...]:
    if not evidence.config.trains:
        raise NotApplicable("nothing is trained")
    if not len(evidence.series("validation/total")):
        raise NotApplicable("no validation loss was recorded")
    if subject.name not in {collection for collection, _, _ in _scores.last_trained(evidence.run)}:
        raise NotApplicable("not scored after training")
    return ("validation/total", f"{subject.name}/{_scores.HEADLINE}")


def _regret(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    names = _needs_training(subject, evidence)
    found = selection(evidence.run, subject.name)
    if found is None or found.change is None:
        return Judgement(value=None, evidence=names)
    change = found.change
    return Judgement(
        value=found.regret,
        bounds=Bounds(warning=cuts["warning"]),
        interval=Interval(low=-change.high, high=-change.low, p=change.p, n=found.n_queries),
        outside=(found.chosen,) if found.misleads else (),
        evidence=names,
        n=found.n,
    )


def _correlation(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    names = _needs_training(subject, evidence)
    found = loss_against_retrieval(evidence.run, subject.name)
    if found is None or math.isnan(found.p_value):
        return Judgement(value=None, evidence=names, n=None if found is None else found.n)
    parts = (
        part("rank correlation", found.spearman, cuts["warning"], found.spearman > cuts["warning"]),
        part("p", found.p_value, cuts["p"], found.p_value <= cuts["p"]),
    )
    return Judgement(
        value=found.spearman,
        bounds=Bounds(warning=cuts["warning"]),
        conditions=parts,
        outside=(found.n,) if all(one.holds for one in parts) else (),
        evidence=names,
        n=found.n,
    )


def _memorised(subject: Subject, evidence: Evidence, cuts: Mapping[str, float]) -> Judgement:
    found = next((one for one in overlaps(evidence.run) if one.collection == subject.name), None)
    if found is None:
        raise NotApplicable("no query's relevant document was trained on")
    seen, others = found.seen, found.others
    name = f"{subject.name}/{_scores.HEADLINE}"
    apart_from = others is None or (not others.low > 0 and apart(found))
    parts = (
        part(
            f"{name} where trained on",
            seen.mean,
            cuts["warning"],
            seen.low > cuts["warning"] and seen.p_value <= WARNING_P,
        ),
        part(f"{name} elsewhere", None if others is None else others.mean, cuts["warning"], apart_from),
    )
    return Judgement(
        value=seen.mean - (0.0 if others is None else others.mean),
        bounds=Bounds(warning=cuts["warning"]),
        conditions=parts,
        outside=(found.epoch,) if all(one.holds for one in parts) else (),
        evidence=(name,),
        n=seen.n if others is None else others.n,
    )


SELECTION = (
    Detector(
        code="CP203",
        kind="selection_by_loss",
        title="retrieval lost by selecting on validation loss",
        reads=("validation/total", "COLLECTION/ndcg@10"),
        per="collection",
        formula="nDCG@10 of the best checkpoint minus that of the smallest validation loss, paired over queries.",
        thresholds={"warning": Threshold(0.0, WARNED)},
        judge=_regret,
        why="The checkpoint of the smallest validation loss retrieves worse than another one.",
        remedies=_SELECT,
        gravest=Status.WARNING,
        confirm=1,
    ),
    Detector(
        code="CP205",
        kind="loss_rank_correlation",
        title="rank correlation of validation loss with retrieval",
        reads=("validation/total", "COLLECTION/ndcg@10"),
        per="collection",
        formula="Spearman's rho over checkpoints, step 0 among them; p by permutations.",
        thresholds={
            "warning": Threshold(0.0, "a lower loss goes with better retrieval"),
            "p": Threshold(0.02, "checkpoints are autocorrelated, so p is optimistic; all of five in order have .017"),
        },
        judge=_correlation,
        why="Above 0, the checkpoints that the loss calls better are those that retrieve worse.",
        remedies=_SELECT,
        gravest=Status.WARNING,
        confirm=1,
    ),
    Detector(
        code="CP206",
        kind="memorised_documents",
        title="a gain on trained documents alone",
        reads=("COLLECTION/ndcg@10",),
        per="collection",
        formula="The gain over the raw encoder on queries whose relevant documents were trained on minus that on "
        "others, where only the first is resolved and Welch's test tells them apart.",
        thresholds={"warning": Threshold(0.0, "paired over queries, apart by the texts of the training pairs")},
        judge=_memorised,
        why="A gain on trained documents alone is memory of them; it does not carry over to others.",
        remedies=(Remedy(change={"data": "judge by queries whose documents were not trained on"}, reading="ndcg@10"),),
        gravest=Status.WARNING,
        confirm=1,
    ),
)
