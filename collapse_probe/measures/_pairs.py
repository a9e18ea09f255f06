"""Queries against their own documents and against others: separation, the closest to retrieval at any step.

Arguments are the same everywhere: queries ``[Q, D]``, documents ``[M, D]``, and ``own``, the row of each query's own
document (None: row i); further documents are further negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..journal.vocabulary import Similarity
from ._checks import centred, nan_from, norm, ratio, scatter_trace, unit_rows, widened
from ._scores import Scores, checked_pairs, compare, reciprocal_ranks, share_below, shares_below

__all__ = [
    "accuracy",
    "auc",
    "d_prime",
    "margin",
    "mrr",
    "mrr_centred",
    "mrr_cosine",
    "near_own",
    "negative_auc",
    "side_gap",
    "tied_share",
]


def d_prime(
    query: Tensor,
    document: Tensor,
    *,
    similarity: Similarity,
    own: Tensor | None = None,
    scores: Scores | None = None,
) -> Tensor:
    """Return (mean own score - mean other score) / sqrt((own variance + other variance) / 2).

    The sensitivity index of signal detection (Green & Swets 1966). It does not saturate as ranks do: with easy pairs
    it falls before they can. Over all queries together, so a score that differs by query lowers it.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).
        own: ``[Q]``, the row of each query's own document; None: row i.
        scores: What :func:`compare` made of the same arguments, to share it.

    Returns:
        A scalar: 0 knows nothing of its own document; 0 where no score differs (collapse) or nothing is other.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> q = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    >>> d_prime(q, q, similarity="dot").item() > 2
    True
    """
    s = scores or compare(query, document, similarity=similarity, own=own)
    if s.others == 0:
        return nan_from(s.own, s.own.new_zeros(()))
    count = len(s.own) * s.others
    between = s.others * (s.mean - s.mean.mean()).square().sum()
    other_variance = (s.scatter.sum() + between) / max(count - 1, 1)
    own_variance = (s.own - s.own.mean()).square().sum() / max(len(s.own) - 1, 1)
    deviation = ((own_variance + other_variance) / 2).sqrt()
    value = ratio(s.own.mean() - s.mean.mean(), deviation)
    return torch.where(deviation <= s.rounding.amax(), value.new_zeros(()), value)


def mrr(
    query: Tensor,
    document: Tensor,
    *,
    similarity: Similarity,
    own: Tensor | None = None,
    scores: Scores | None = None,
) -> Tensor:
    """Return the mean reciprocal rank of the own document among all documents; ties count against it.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).
        own: ``[Q]``, the row of each query's own document; None: row i.
        scores: What :func:`compare` made of the same arguments, to share it.

    Returns:
        A scalar in ``[1 / M, 1]``: 1 / M at total collapse, H_M / M by chance, 1 with a single document.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> mrr(torch.eye(2), torch.eye(2).flip(0), similarity="cosine").item()
    0.5
    """
    return (scores or compare(query, document, similarity=similarity, own=own)).reciprocal_rank


def mrr_cosine(
    query: Tensor,
    document: Tensor,
    *,
    own: Tensor | None = None,
    similarity: Similarity | None = None,
    scores: Scores | None = None,
) -> Tensor:
    """Return the mean reciprocal rank under a cosine: well above :func:`mrr` where norms spoil the scores.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        own: ``[Q]``, the row of each query's own document; None: row i.
        similarity: What ``scores`` are of.
        scores: What :func:`compare` made of the same queries and documents, to share it where that is a cosine.

    Returns:
        A scalar in ``[1 / M, 1]``.

    Raises:
        ValueError: shapes that do not fit.

    >>> q, d = torch.eye(2), torch.tensor([[1.0, 0.0], [9.0, 2.0]])
    >>> mrr(q, d, similarity="dot").item(), mrr_cosine(q, d).item()
    (0.75, 1.0)
    """
    if scores is not None and similarity == "cosine":
        return mrr(query, document, similarity=similarity, own=own, scores=scores)
    return reciprocal_ranks(query, document, similarity="cosine", own=own).mean()


def mrr_centred(query: Tensor, document: Tensor, *, own: Tensor | None = None) -> Tensor:
    """Return the mean reciprocal rank under a cosine after each role's own mean is taken off.

    Well above :func:`mrr` in a cone and with a gap between the roles, also where distances are scored (a distance is
    blind to a common mean, and what is left of it then lies in the norms); below it where the rank collapsed.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``; their mean is over all of them.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar in ``[1 / M, 1]``.

    Raises:
        ValueError: shapes that do not fit.

    >>> q = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> d = q + torch.tensor([100.0, 1.0])
    >>> mrr(q, d, similarity="euclidean").item(), mrr_centred(q, d).item()
    (0.75, 1.0)
    """
    query, document, own = checked_pairs("mrr_centred", query, document, own)
    return mrr_cosine(centred(query), centred(document), own=own)


def auc(
    query: Tensor,
    document: Tensor,
    *,
    similarity: Similarity,
    own: Tensor | None = None,
    scores: Scores | None = None,
) -> Tensor:
    """Return the mean over queries of the share of other documents that score below the own one.

    The area under each query's ROC curve. Ties count half, as its definition has it. It saturates: where it tells
    nothing more, read :func:`d_prime`.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).
        own: ``[Q]``, the row of each query's own document; None: row i.
        scores: What :func:`compare` made of the same arguments, to share it.

    Returns:
        A scalar in ``[0, 1]``: 0.5 by chance, at total collapse, and with a single document.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> auc(torch.eye(2), torch.eye(2), similarity="cosine").item()
    1.0
    """
    s = scores or compare(query, document, similarity=similarity, own=own)
    return share_below(s.above, s.tied, s.others, s.own.dtype).mean().masked_fill(s.unknown, torch.nan)


def negative_auc(query: Tensor, document: Tensor, negative: Tensor, *, similarity: Similarity) -> Tensor:
    """Return :func:`auc` of each query's negative in the place of its own document.

    Well above the own documents', it says that positives and negatives have changed places. A negative that is the
    query itself, as where a corrupted triple keeps its head, counts for nothing.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        negative: ``[C, Q]``, the row of each query's negative, in each of C orders that they may stand in.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).

    Returns:
        A scalar in ``[0, 1]``, the largest over the orders: 0.5 by chance, and at total collapse.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> q = torch.eye(2)
    >>> negative_auc(q, torch.cat([-q, 2 * q]), torch.tensor([[2, 3]]), similarity="cosine").item()
    1.0
    """
    share = shares_below(query, document, negative, similarity=similarity)
    kept = (document[negative.to(document.device)] != query).any(dim=-1).to(share.dtype)
    mean = (share * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
    return torch.where(kept.any(dim=1), mean, torch.full_like(mean, 0.5)).amax()


def tied_share(
    query: Tensor,
    document: Tensor,
    *,
    similarity: Similarity,
    own: Tensor | None = None,
    scores: Scores | None = None,
) -> Tensor:
    """Return the share of queries whose own document scores as another one does, up to rounding.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).
        own: ``[Q]``, the row of each query's own document; None: row i.
        scores: What :func:`compare` made of the same arguments, to share it.

    Returns:
        A scalar in ``[0, 1]``: 1 at total collapse; above 0 where documents are equal.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> tied_share(torch.ones(2, 2), torch.ones(2, 2), similarity="dot").item()
    1.0
    """
    s = scores or compare(query, document, similarity=similarity, own=own)
    return (s.tied > 0).to(s.own.dtype).mean().masked_fill(s.unknown, torch.nan)


def margin(
    query: Tensor,
    document: Tensor,
    *,
    similarity: Similarity,
    own: Tensor | None = None,
    scores: Scores | None = None,
) -> Tensor:
    """Return the mean over queries of the own score minus the best other document's.

    In units of the score: a margin of a distance shrinks with the embeddings' scale.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).
        own: ``[Q]``, the row of each query's own document; None: row i.
        scores: What :func:`compare` made of the same arguments, to share it.

    Returns:
        A scalar; 0 with a single document.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> margin(torch.eye(2), torch.eye(2), similarity="dot").item()
    1.0
    """
    s = scores or compare(query, document, similarity=similarity, own=own)
    return (s.own - s.best).mean() if s.others else nan_from(s.own, s.own.new_zeros(()))


def accuracy(
    query: Tensor,
    document: Tensor,
    *,
    similarity: Similarity,
    own: Tensor | None = None,
    scores: Scores | None = None,
) -> Tensor:
    """Return the share of queries whose own document scores strictly above every other.

    A tie counts as wrong, because a collapsed encoder ties everything.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        similarity: ``cosine``, ``dot``, or ``euclidean`` (negative distance).
        own: ``[Q]``, the row of each query's own document; None: row i.
        scores: What :func:`compare` made of the same arguments, to share it.

    Returns:
        A scalar in ``[0, 1]``; 1 / M is chance; 1 with a single document.

    Raises:
        ValueError: shapes that do not fit, or another similarity.

    >>> accuracy(torch.ones(3, 2), torch.ones(3, 2), similarity="cosine").item()
    0.0
    """
    s = scores or compare(query, document, similarity=similarity, own=own)
    return (s.above + s.tied == 0).to(s.own.dtype).mean().masked_fill(s.unknown, torch.nan)


EQUAL = 1e-4
"""Squared distance of unit vectors up to which two are one text: rounding, whatever the type."""

NEAR = 0.05
"""Share of the mean squared distance of documents below which two are near-copies (own choice)."""


def near_own(query: Tensor, document: Tensor, *, own: Tensor | None = None) -> Tensor:
    """Return how many other documents are near-copies of a query's own document, the mean over queries.

    By squared distances of unit vectors, as a share of their mean among all documents: a cosine above .95 where texts
    are spread, and above .99 where all cosines are .8. Equal vectors do not count: they hardly harm a softmax (24
    distinct documents ended as with the equal ones masked, measured).

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.
        own: ``[Q]``, the row of each query's own document; None: row i.

    Returns:
        A scalar in ``[0, M - 1]``; 0 where all documents are equal.

    Raises:
        ValueError: shapes that do not fit.

    >>> d = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.1]])
    >>> near_own(d[:2], d).item()
    0.5
    """
    query, document, places = checked_pairs("near_own", query, document, own)
    unit = unit_rows(widened(document))
    far = 2 * (1 - unit.mean(dim=0).square().sum()).clamp(min=0)
    mine = unit[: len(query)] if own is None else unit[places]
    apart = (mine @ unit.T).mul_(-2).add_(2).clamp_(min=0)
    near = (apart < NEAR * far) & (apart > EQUAL)
    return nan_from(unit, near.scatter_(1, places[:, None], value=False).count_nonzero() / len(query))


def side_gap(query: Tensor, document: Tensor) -> Tensor:
    """Return ||mean query - mean document|| / sqrt((tr C_q + tr C_d) / 2), the gap between the two roles.

    Args:
        query: ``[Q, D]``.
        document: ``[M, D]``.

    Returns:
        A scalar of at least 0: sqrt(1 / Q + 1 / M) by chance, above 1 where the roles lie apart by more than a row
        lies from its mean; 0 where neither role varies.

    Raises:
        ValueError: not ``[Q, D]`` and ``[M, D]``.

    >>> side_gap(torch.tensor([[1.0], [-1.0]]), torch.tensor([[4.0], [2.0]])).item()
    2.12...
    """
    own = torch.zeros(len(query), dtype=torch.long, device=query.device)
    query, document, _ = checked_pairs("side_gap", query, document, own)
    of_query, of_document = (scatter_trace(z) / max(len(z) - 1, 1) for z in (query, document))
    gap = norm(widened(query).mean(dim=0) - widened(document).mean(dim=0))
    return ratio(gap, ((of_query + of_document) / 2).sqrt())
