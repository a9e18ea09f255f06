"""Measures of queries with their documents."""

from __future__ import annotations

from . import _nulls as nulls
from ._measure import REFERENCE, Measure

_BATCH = frozenset({"batch"})
_NEEDS = ("query", "document")

PAIRS = (
    Measure(
        name="d_prime",
        needs=_NEEDS,
        label="d'",
        about="Mean own score minus mean other score, over their pooled standard deviation.",
        scale_blind=True,
        null=nulls.d_prime,
    ),
    Measure(
        name="mrr",
        needs=_NEEDS,
        label="MRR",
        about="Mean reciprocal rank of the own document among all documents, as scored; ties count against.",
        scale_blind=True,
        null=nulls.mrr,
    ),
    Measure(
        name="mrr_cosine",
        needs=_NEEDS,
        label="MRR, cosine",
        about="Mean reciprocal rank of the own document under a cosine: above the scored one where norms spoil it.",
        scale_blind=True,
        null=nulls.mrr,
    ),
    Measure(
        name="mrr_centred",
        needs=_NEEDS,
        label="MRR, centred",
        about="Mean reciprocal rank under a cosine with each role's mean taken off: above the scored one in a cone or "
        "a side gap.",
        scale_blind=True,
        null=nulls.mrr,
    ),
    Measure(
        name="auc",
        needs=_NEEDS,
        label="AUC",
        about="Mean share of other documents that score below the own one; ties count half.",
        scale_blind=True,
        null=nulls.auc,
    ),
    Measure(
        name="negative_auc",
        needs=(*_NEEDS, "negative"),
        label="AUC, negatives",
        about="The same of each query's first negative in the place of its own document; of labelled pairs, of those "
        "that the loss moves apart.",
        on=_BATCH,
        scale_blind=True,
    ),
    Measure(
        name="tied_share",
        needs=_NEEDS,
        label="tied",
        about="Share of queries whose own document scores as another one does.",
        scale_blind=True,
    ),
    Measure(
        name="margin",
        needs=_NEEDS,
        label="margin",
        about="Mean own score minus the best other score of the batch.",
        on=_BATCH,
    ),
    Measure(
        name="accuracy",
        needs=_NEEDS,
        label="accuracy",
        about="Share of queries whose own document scores above every other of the batch; ties are wrong.",
        on=_BATCH,
        scale_blind=True,
        null=nulls.accuracy,
    ),
    Measure(
        name="near_own",
        needs=_NEEDS,
        label="near-copies",
        about="Other documents of the batch that are near-copies of a query's own, without equal ones: their number.",
        on=_BATCH,
        scale_blind=True,
    ),
    Measure(
        name="side_gap",
        needs=_NEEDS,
        label="side gap",
        about="Distance of the mean query and the mean document over the root of their variance.",
        scale_blind=True,
        null=nulls.side_gap,
    ),
    Measure(
        name="distance_mean",
        needs=_NEEDS,
        label="distance, own",
        about="Mean Euclidean distance of own pairs.",
        on=REFERENCE,
    ),
    Measure(
        name="distance_random_mean",
        needs=_NEEDS,
        label="distance, others",
        about="Mean Euclidean distance of mismatched pairs.",
        on=REFERENCE,
    ),
    Measure(
        name="cosine_mean",
        needs=_NEEDS,
        label="cosine, own",
        about="Mean cosine of own pairs.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.pair_cosine,
    ),
    Measure(
        name="cosine_random_mean",
        needs=_NEEDS,
        label="cosine, others",
        about="Mean cosine of mismatched pairs.",
        on=REFERENCE,
        scale_blind=True,
        null=nulls.pair_cosine,
    ),
    Measure(
        name="hub_occurrence",
        needs=("neighbours",),
        label="hub occurrence",
        about="Share of the queries' top-10 places that documents with twice the average number of places take.",
        on=REFERENCE,
        scale_blind=True,
    ),
    Measure(
        name="neighbour_overlap",
        needs=("neighbours", "earlier"),
        label="neighbours kept",
        about="Share of each document's ten nearest documents that the raw encoder, else step 0, had, too.",
        on=REFERENCE,
        scale_blind=True,
    ),
    Measure(
        name="answer_overlap",
        needs=("neighbours", "earlier"),
        label="answers kept",
        about="Share of each query's ten best documents that the raw encoder, else step 0, had, too.",
        on=REFERENCE,
        scale_blind=True,
    ),
    Measure(
        name="pull",
        needs=("query", "document", "force"),
        label="pull",
        about="Cosine of the loss's descent with the growth of own log distances, on unit vectors: negative pulls.",
        on=_BATCH,
        scale_blind=True,
    ),
    Measure(
        name="push",
        needs=("query", "document", "force"),
        label="push",
        about="Cosine of the loss's descent with the growth of log distances to the five nearest others: positive "
        "pushes.",
        on=_BATCH,
        scale_blind=True,
    ),
    Measure(
        name="push_all",
        needs=("query", "document", "force"),
        label="push, all",
        about="Cosine of the loss's descent with the growth of squared distances to all rows: positive spreads.",
        on=_BATCH,
        scale_blind=True,
    ),
)
