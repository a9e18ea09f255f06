"""Too few pairs, pairs that are none, wrong answers that are right."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import identity, softmax
from .common import FOOD, GROUP, MINI


@program(
    GROUP,
    "overfitting",
    "too_few_pairs",
    onset=1,
    world=FOOD,
    source="gauravchak/two_tower_models#3; a subset for debugging that stayed in",
)
def subset_for_debugging(run: Run, *, planted: bool = True) -> None:
    """The first 48 pairs alone, a slice that was to make debugging fast; two towers at 3e-3."""
    model = Towers(identity(run.world.dimension), identity(run.world.dimension))
    rows = 48 if planted else None
    run.train(model, softmax, lr=3e-3 if planted else 3e-4, steps=200, batch=24, rows=rows)


class Identified(nn.Module):
    """A map of documents, and a vector of each document's own."""

    def __init__(self, dimension: int, count: int) -> None:
        super().__init__()
        self.head = identity(dimension)
        self.own = nn.Embedding(count, dimension)
        nn.init.zeros_(self.own.weight)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return vectors of known documents."""
        return self.head(x) + self.own(rows)


@program(
    GROUP,
    "overfitting",
    "memorised_documents",
    onset=1,
    world=MINI,
    source="two towers with an embedding of each item's id beside its text",
)
def item_ids_beside_the_text(run: Run, *, planted: bool = True) -> None:
    """Documents get a learnt vector of their own beside their text's; new documents have none."""
    model = nn.ModuleDict(
        {
            "query": identity(run.world.dimension),
            "item": Identified(run.world.dimension, 2000),
        }
    )
    rates = [
        {"params": model["query"].parameters(), "lr": 1e-3},
        {"params": model["item"].head.parameters(), "lr": 1e-3},
        {"params": model["item"].own.parameters(), "lr": 1e-1 if planted else 0.0},
    ]
    optimizer = torch.optim.Adam(rates)
    left, right = run.world.reference
    query, new = model["query"], model["item"].head
    with run.watch(
        model,
        optimizer=optimizer,
        query="query",
        document="item",
        reference=lambda: (query(left), new(right)),
        raw=lambda: run.world.reference,
        examples=2000,
    ) as w:
        run.evaluate(w, 0, query, new)
        for step, rows in enumerate(run.batches(150, 64, rows=2000), start=1):
            loss = softmax(query(run.world.query[rows]), model["item"](run.world.document[rows], rows))
            w.terms(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, query, new)


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=0,
    world=MINI,
    source="cloneofsimo/lora#197; duplicates dropped from one column alone",
)
def duplicates_dropped_from_one_column(run: Run, *, planted: bool = True) -> None:
    """Equal documents were dropped from their list, not from the questions': from the first one on all is shifted."""
    query, document = run.world.query, run.world.document
    if planted:
        gone = len(document) // 5
        document = torch.cat([document[:gone], document[gone + 1 :], document[:1]])
    run.train(Towers(identity(run.world.dimension)), softmax, lr=1e-3, steps=200, pairs=(query, document))


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=91,
    world=MINI,
    source="two samplers of one seed, of which one has an epoch set",
)
def only_one_column_is_shuffled_anew(run: Run, *, planted: bool = True) -> None:
    """Both columns come from samplers of one seed; after the first epoch only the questions' is told the epoch."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    kept = 90 * 64

    def order(epoch: int) -> Tensor:
        return torch.randperm(kept, generator=torch.Generator().manual_seed(1000 * run.seed + epoch))

    with run.watch(
        head,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: tuple(map(head, run.world.reference)),
        raw=lambda: run.world.reference,
        examples=kept,
    ) as w:
        run.evaluate(w, 0, head, head)
        for epoch in range(3):
            left, right = order(epoch), order(0 if planted else epoch)
            for part, (mine, own) in enumerate(zip(left.split(64), right.split(64), strict=True), start=1):
                loss = softmax(head(run.world.query[mine]), head(run.world.document[own]))
                w.terms(loss=loss)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if part % 45 == 0:
                    run.evaluate(w, 90 * epoch + part, head, head)


@program(
    GROUP,
    "false_negatives",
    "false_negatives",
    onset=1,
    world=MINI,
    source="FlagOpen/FlagEmbedding#1400: few distinct documents, all others of a batch as negatives",
)
def canned_answers_as_documents(run: Run, *, planted: bool = True) -> None:
    """A question's document is the nearest of 12 canned answers; all others of a batch, often equal, are wrong."""
    draws = torch.Generator().manual_seed(3)
    canned = run.world.document[torch.randperm(len(run.world.document), generator=draws)[:12]]
    document = canned[(run.world.document @ canned.T).argmax(dim=1)]

    def loss(query: Tensor, answer: Tensor) -> Tensor:
        far = torch.cdist(functional.normalize(query, dim=1), functional.normalize(answer, dim=1))
        equal = (answer[:, None] - answer[None]).abs().amax(dim=2) < 1e-6
        wrong = ~torch.eye(len(query), dtype=torch.bool) if planted else ~equal
        return far.diagonal().square().mean() + functional.relu(1.3 - far)[wrong].square().sum() / len(query)

    head = identity(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    run.train(Towers(head), loss, optimizer=optimizer, steps=200, pairs=(run.world.query, document))
