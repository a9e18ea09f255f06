"""How a model scores and what a loss compares by, where they say it themselves."""

from __future__ import annotations

from torch import nn

from ..journal.vocabulary import Similarity

_NAMES: dict[str, Similarity] = {"cosine": "cosine", "dot": "dot", "euclidean": "euclidean", "manhattan": "euclidean"}


def own_similarity(model: nn.Module | None, said: Similarity) -> Similarity:
    """Return how a model scores: what the user said, or what a sentence-transformers model says where that is cosine.

    Args:
        model: The model, or what holds it.
        said: What the user said; ``cosine`` may be the default.
    """
    if said != "cosine" or model is None:
        return said
    own = [getattr(one, "_similarity_fn_name", None) for one in model.modules()]
    names = {str(getattr(one, "value", one)) for one in own if one is not None}
    found = {_NAMES[name] for name in names if name in _NAMES}
    return found.pop() if len(found) == 1 else said


def compares_by(loss: nn.Module) -> Similarity | None:
    """Return what a known loss compares embeddings by; None where it does not say."""
    for name in ("similarity_fct", "distance_metric", "similarity_fn"):
        function = getattr(loss, name, None)
        said = f"{getattr(function, '__qualname__', '')} {getattr(function, '__name__', '')}".lower()
        for part, similarity in (("cos", "cosine"), ("dot", "dot"), ("euclid", "euclidean")):
            if part in said:
                return similarity  # type: ignore[return-value]
    if type(loss).__name__ == "CosineSimilarityLoss":
        return "cosine"
    inner = getattr(loss, "loss", None)
    return compares_by(inner) if isinstance(inner, nn.Module) else None
