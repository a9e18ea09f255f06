"""What several of these programs share."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

import collapse_probe

from .. import program
from ..parts import cosines, identity

GROUP = "formerly_held_out"


MINI, MPNET = "minilm/medquad/scifact", "mpnet/medquad/scifact"


SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


Map = Callable[[Tensor], Tensor]


def planted(kind: str | None, *causes: str, source: str, world: str = MINI) -> Callable[[Callable], Callable]:
    """Register a function as a program, and with ``right=True`` as its twin."""

    def register(train: Callable[..., None]) -> Callable[..., None]:
        return program(GROUP, kind, *causes, source=source, world=world, twin=partial(train, right=True))(train)

    return register


class Nobody:
    """Stands where nobody watches."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **options: None


def watched(run: Run, target: Any, **options: Any) -> AbstractContextManager[Any]:
    """Watch a target, if the run is watched."""
    return nullcontext(Nobody()) if run.folder is None else collapse_probe.watch(target, run=run.folder, **options)


@torch.no_grad()
def scored(
    run: Run, step: int, query: Map, document: Map | None = None, *, similarity: str = "cosine", told: Any = None
) -> None:
    """Keep the truth of an evaluation, and tell it a watch as a user would."""
    document = document or query
    if run.keeps(query, document, similarity):
        return
    for one, kept, metric in (
        (run.world.inside, run.outcome.inside, "mrr@10"),
        (run.world.collection, run.outcome.outside, "ndcg@10"),
    ):
        if not run.truth and (one is run.world.inside or told is None):
            continue
        found = scores_of(one, encoded(query, one.query), encoded(document, one.document), similarity)
        kept.append(list(found[metric].values()))
        if told is not None and one is run.world.collection:
            means = {name: sum(values.values()) / len(values) for name, values in found.items()}
            told.evaluation(one.name, means, step=step, per_query=found, domain="out")
    run.outcome.steps.append(step)


def encoded(encode: Map, texts: Tensor) -> Tensor:
    """Encode in evaluation mode, where what encodes is a module and has one."""
    modes = [(one, one.training) for one in encode.modules()] if isinstance(encode, nn.Module) else []
    for one, _ in modes:
        one.training = False
    try:
        return encode(texts).float()
    finally:
        for one, mode in modes:
            one.training = mode


def scores_of(collection: Any, query: Tensor, document: Tensor, similarity: str) -> dict[str, dict[str, float]]:
    if query.isfinite().all() and document.isfinite().all():
        return collection.scores(query, document, similarity=similarity)
    return {metric: dict.fromkeys(collection.query_ids, 0.0) for metric in ("ndcg@10", "mrr@10")}


def numbered(run: Run, steps: int, size: int, **options: Any) -> Iterator[tuple[int, Tensor]]:
    """Yield a step's number, from 1, and its rows."""
    return enumerate(run.batches(steps, size, **options), start=1)


def in_batch(query: Tensor, document: Tensor, scale: float | Tensor = 20.0) -> Tensor:
    """Return the cross-entropy of each query's own document among those of the batch."""
    return functional.cross_entropy(scale * cosines(query, document), torch.arange(len(query)))


class Pair(nn.Module):
    """Two towers."""

    def __init__(self, query: nn.Module, document: nn.Module) -> None:
        super().__init__()
        self.query, self.document = query, document


class Adapted(nn.Module):
    """Adds to a vector what a small network makes of it."""

    def __init__(self, dimension: int, width: int = 64, *, gate: float | None = None, zero: bool = True) -> None:
        super().__init__()
        self.adapter = nn.Sequential(nn.Linear(dimension, width), nn.GELU(), nn.Linear(width, dimension))
        self.gate = None if gate is None else nn.Parameter(torch.tensor(gate))
        if zero:
            nn.init.zeros_(self.adapter[2].weight)
            nn.init.zeros_(self.adapter[2].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return x and its correction."""
        correction = self.adapter(x)
        return x + (correction if self.gate is None else self.gate * correction)


class LowRank(nn.Module):
    """A frozen linear map with a low-rank change."""

    def __init__(self, dimension: int, rank: int = 16) -> None:
        super().__init__()
        self.base = identity(dimension).requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, dimension) / math.sqrt(dimension))
        self.up = nn.Parameter(torch.zeros(dimension, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return the changed map of x."""
        return self.base(x) + x @ self.down.T @ self.up.T

    def merged(self, *, right: bool) -> nn.Linear:
        """Return one linear map for serving."""
        layer = copy.deepcopy(self.base)
        if right:
            with torch.no_grad():
                layer.weight += self.up @ self.down
        return layer


def stored_model(run: Run, rows: int, *, negatives: Tensor | None = None) -> tuple[Any, Any]:
    """Return a sentence-transformers model whose words are the stored texts, a dense layer on top, and its data."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    count, dimension = len(run.world.query), run.world.dimension
    words = [*(f"q{row}" for row in range(count)), *(f"d{row}" for row in range(count)), "unknown"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="unknown"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    vectors = torch.cat([run.world.query, run.world.document, torch.zeros(1, dimension)])
    static = StaticEmbedding(tokenizer, embedding_weights=vectors)
    static.requires_grad_(False)
    start = {"init_weight": torch.eye(dimension), "init_bias": torch.zeros(dimension)}
    dense = Dense(dimension, dimension, activation_function=None, **start)
    data = {"anchor": [f"q{row}" for row in range(rows)], "positive": [f"d{row}" for row in range(rows)]}
    if negatives is not None:
        data["negative"] = [f"d{row}" for row in negatives[:rows].tolist()]
    return SentenceTransformer(modules=[static, dense], device="cpu"), Dataset.from_dict(data)


def fit(run: Run, model: Any, data: Any, loss: nn.Module, *, steps: int, watching: bool = True, **options: Any) -> None:
    """Train with the trainer of sentence-transformers, and score before and after."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    head = model[1].linear
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "logging_steps": 50}
        args = SentenceTransformerTrainingArguments(folder, max_steps=steps, seed=run.seed, **{**quiet, **options})
        trainer = SentenceTransformerTrainer(model=model, args=args, train_dataset=data, loss=loss)
        scored(run, 0, head)
        if run.folder is not None and watching:
            collapse_probe.watch(trainer, run=run.folder)
        trainer.train()
    scored(run, steps, head)
