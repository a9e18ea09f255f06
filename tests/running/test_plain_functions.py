"""Losses that are plain functions: what they compare is found, or what to type is said and helps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_loops import random_state, seed_all, tower
from running.running_support import session
from torch import Tensor, nn
from torch.nn.functional import (
    cosine_similarity,
    cross_entropy,
    logsigmoid,
    mse_loss,
    normalize,
    pairwise_distance,
    relu,
)

from collapse_probe.journal import Run
from collapse_probe.watching import watch

STEPS, ROWS = 12, 16


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Encoder(nn.Module):
    """Gives a vector a token, as encoders of texts do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        found = self.layer(self.words(input_ids), src_key_padding_mask=attention_mask == 0)
        return {"last_hidden_state": found}


def texts(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    ids = torch.randint(1, 50, (ROWS, 6), generator=generator)
    lengths = torch.randint(2, 7, (ROWS, 1), generator=generator)
    mask = (torch.arange(6) < lengths).long()
    return ids * mask, mask


def mean_pooling(model: nn.Module, text: tuple[Tensor, Tensor]) -> Tensor:
    found, mask = model(input_ids=text[0], attention_mask=text[1])["last_hidden_state"], text[1][..., None].float()
    return normalize((found * mask).sum(1) / mask.sum(1).clamp(min=1e-9), dim=-1)


def info_nce(query: Tensor, document: Tensor) -> Tensor:
    return cross_entropy(query @ document.T / 0.05, torch.arange(len(query)))


def vectors(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    rows = torch.randn(ROWS, 12, generator=generator)
    return rows, rows + 0.3 * torch.randn(ROWS, 12, generator=generator)


def of_texts(model: nn.Module, generator: torch.Generator) -> Tensor:
    one, other = texts(generator), texts(generator)
    return info_nce(mean_pooling(model, one), mean_pooling(model, other))


def of_whole_texts(model: nn.Module, generator: torch.Generator) -> Tensor:
    """Documents without padding: of these the mean of all tokens is the same."""
    one, (ids, mask) = texts(generator), texts(generator)
    return info_nce(mean_pooling(model, one), mean_pooling(model, (ids, torch.ones_like(mask))))


def cosent(model: nn.Module, generator: torch.Generator) -> Tensor:
    """As angle-emb and others: pairs in turns, of which a label says whether they belong together."""
    rows, near = vectors(generator)
    labels = torch.arange(ROWS) % 2
    near = torch.where(labels[:, None] == 1, near, near.roll(3, dims=0))
    z = normalize(model(torch.stack([rows, near], dim=1).flatten(0, 1)), dim=1)
    scores = torch.sum(z[::2] * z[1::2], dim=1) * 20
    scores = scores[:, None] - scores[None] - (labels[:, None] >= labels[None]).float() * 1e12
    return torch.logsumexp(torch.cat([torch.zeros(1), scores.flatten()]), dim=0)


def triplets(model: nn.Module, generator: torch.Generator) -> Tensor:
    rows, near = vectors(generator)
    anchor, positive, negative = model(torch.cat([rows, near, near.roll(1, dims=0)])).chunk(3)
    return relu(pairwise_distance(anchor, positive) - pairwise_distance(anchor, negative) + 1).mean()


def groups(model: nn.Module, generator: torch.Generator) -> Tensor:
    rows, near = vectors(generator)
    documents = torch.stack([near, near.roll(1, dims=0), near.roll(2, dims=0)], dim=1).flatten(0, 1)
    both = model(torch.cat([rows, documents]))
    scores = torch.einsum(
        "bd,bkd->bk", normalize(both[:ROWS], dim=-1), normalize(both[ROWS:], dim=-1).view(ROWS, 3, -1)
    )
    return cross_entropy(scores * 20, torch.zeros(ROWS, dtype=torch.long))


class Factors(nn.Module):
    """Users and items with biases: the scores are all that it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item, self.bias = nn.Embedding(20, 8), nn.Embedding(30, 8), nn.Embedding(30, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user(user) * self.item(item)).sum(1) + self.bias(item).squeeze(1)


def bpr(model: nn.Module, generator: torch.Generator) -> Tensor:
    user = torch.randint(20, (ROWS,), generator=generator)
    return -logsigmoid(model(user, user) - model(user, (user + 7) % 30)).mean()


class Clip(nn.Module):
    """Gives both directions of its scores, which are as square as they are no vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = tower(), tower()

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        scores = normalize(self.image(image), dim=-1) @ normalize(self.text(text), dim=-1).t() * 10
        return scores, scores.t()


def clip(model: nn.Module, generator: torch.Generator) -> Tensor:
    return sum(cross_entropy(one, torch.arange(ROWS)) for one in model(*vectors(generator)))


class Table(nn.Module):
    """Parameters alone: what looks them up is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.randn(50, 16))


def static(model: Any, generator: torch.Generator) -> Tensor:
    def embed(text: tuple[Tensor, Tensor]) -> Tensor:
        return normalize((model.words[text[0]] * text[1][..., None]).sum(1), dim=-1)

    return info_nce(embed(texts(generator)), embed(texts(generator)))


def cosines(model: nn.Module, generator: torch.Generator) -> Tensor:
    rows, near = vectors(generator)
    scores = cosine_similarity(model(rows).unsqueeze(1), model(near).unsqueeze(0), dim=-1)
    return cross_entropy(scores * 20, torch.arange(ROWS))


def supervised(model: nn.Module, generator: torch.Generator) -> Tensor:
    """By labels: rows of scores are weighted by who belongs together, which compares no vectors."""
    views = [normalize(model(rows), dim=1) for rows in vectors(generator)]
    rows, labels = torch.cat(torch.stack(views, dim=1).unbind(1)), torch.arange(ROWS).repeat(2) // 2
    scores = rows @ rows.T / 0.1
    others = 1 - torch.eye(len(rows))
    own = (labels[:, None] == labels[None]).float() * others
    chances = scores - torch.log((torch.exp(scores) * others).sum(1, keepdim=True))
    return -((own * chances).sum(1) / own.sum(1)).mean()


def labelled(model: nn.Module, generator: torch.Generator) -> Tensor:
    """CoSENT over two calls."""
    rows, near = vectors(generator)
    labels = torch.arange(ROWS) % 2
    scores = cosine_similarity(model(rows), model(torch.where(labels[:, None] == 1, near, near.roll(2, dims=0)))) * 20
    apart = (scores[:, None] - scores[None])[labels[:, None] < labels[None]]
    return torch.logsumexp(torch.cat([torch.zeros(1), apart]), dim=0)


def teacher() -> nn.Module:
    return tower(outputs=16)


def distilled(model: nn.Module, generator: torch.Generator) -> Tensor:
    """Vectors that a teacher has made before."""
    rows, _ = vectors(generator)
    stored = torch.cat([rows.sin(), rows[:, :4].cos()], dim=1)
    return mse_loss(normalize(model(rows), dim=1), normalize(stored, dim=1))


MEAN = "mean of the tokens that attention_mask keeps in output last_hidden_state of the model"
ONE = "output of the model"
LINE = "{side}'s side of {name} in line \\d+ of test_plain_functions.py"

Programs = dict[str, tuple[Callable[[], nn.Module], Callable[[Any, torch.Generator], Tensor], dict[str, str], str]]
PROGRAMS: Programs = {
    "pooled": (Encoder, of_texts, {"query": MEAN, "document": MEAN}, "similarity product"),
    "whole": (Encoder, of_whole_texts, {"query": MEAN, "document": MEAN}, "similarity product"),
    "cosent": (tower, cosent, {"left": ONE, "right": ONE}, "similarity product, sides in turns in one matrix"),
    "triplets": (
        tower,
        triplets,
        {"query": ONE, "document": ONE, "negative": ONE},
        "similarity product, sides stacked in one matrix",
    ),
    "groups": (tower, groups, {"query": ONE, "document": ONE}, "similarity product, sides stacked in one matrix"),
    "bpr": (
        Factors,
        bpr,
        {"query": "output of module user", "document": "output of module item", "negative": "output of module item"},
        "similarity product",
    ),
    "clip": (
        Clip,
        clip,
        {"query": "output of module image", "document": "output of module text"},
        "two modules, one for each side",
    ),
    "static": (
        Table,
        static,
        {side: LINE.format(side=side, name="matmul") for side in ("query", "document")},
        "similarity product",
    ),
    "labelled": (tower, labelled, {"left": ONE, "right": ONE}, "similarity product"),
    "distilled": (
        teacher,
        distilled,
        {side: LINE.format(side=side, name="mse_loss") for side in ("query", "document")},
        "similarity product",
    ),
    "supervised": (tower, supervised, {"query": ONE, "document": ONE}, "one module, called for each side"),
    "cosines": (tower, cosines, {"query": ONE, "document": ONE}, "one module, called for each side"),
}


def train(program: str, *, scored: bool = False) -> tuple[list[Tensor], Any]:
    seed_all()
    make, loss, *_ = PROGRAMS[program]
    model, generator, held_out = make(), torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        loss(model, generator).backward()
        optimizer.step()
        optimizer.zero_grad()
        if scored:
            loss(model, held_out)
    return list(model.state_dict().values()), random_state()


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_plain_function_compares_is_found_and_the_training_keeps_its_bits(tmp_path, program):
    plain = train(program)
    with session(tmp_path / "mine"):
        watched = train(program)
    assert all(torch.equal(*both) for both in zip(plain[0], watched[0], strict=True))
    assert torch.equal(plain[1][0], watched[1][0]) and plain[1][1:] == watched[1][1:]
    run = Run.load(tmp_path / "mine")
    found = {name: one for name, one in run.coverage.items() if one.steps and name != "pairs"}
    *_, where, rule = PROGRAMS[program]
    assert set(found) == set(where)
    assert all(re.fullmatch(where[name], one.where) and one.rule == rule for name, one in found.items()), found
    assert len(run.series(f"{'left' if 'left' in where else 'query'}/common_share", on="batch").steps)
    if "query" in where:
        assert len(run.series("pairs/pull", on="batch").steps)


def test_what_is_scored_right_after_a_step_is_not_read(tmp_path):
    """By the same line, with gradients, and never gone back through."""
    found = []
    for scored in (False, True):
        with session(tmp_path / f"scored-{scored}"):
            train("static", scored=scored)
        found.append(Run.load(tmp_path / f"scored-{scored}").series("pairs/d_prime", on="batch"))
    assert found[0].steps.tolist() == found[1].steps.tolist() and len(found[0])
    assert found[0].values.tolist() == found[1].values.tolist()


def test_rows_with_labels_that_the_loss_pulls_together_are_reference_pairs(tmp_path):
    """Half of ten batches' rows: the other half, which the loss pushes apart, is no pair."""
    with session(tmp_path / "mine"):
        train("labelled")
    pairs = Run.load(tmp_path / "mine").series("pairs/mrr", on="reference")
    assert pairs.n.tolist() == [ROWS // 2 * (STEPS - 2)] * 2
    assert float(pairs.values[0]) > 0.2, "rows that are pushed apart were taken for pairs"


class Hidden(torch.autograd.Function):
    """A loss whose products cannot be heard."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, document: Tensor) -> Tensor:
        chances = torch.softmax(query @ document.T / 0.05, dim=1)
        ctx.save_for_backward(query, document, chances)
        return -chances.diagonal().log().mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        query, document, chances = ctx.saved_tensors
        wrong = (chances - torch.eye(len(query))) / len(query) / 0.05 * gradients[0]
        return wrong @ document, wrong.T @ query


def hidden(model: nn.Module, generator: torch.Generator, w: Any = None) -> Tensor:
    query, document = (mean_pooling(model, texts(generator)) for _ in range(2))
    if w is not None:
        w.observe("query", query)
        w.observe("document", document)
    return Hidden.apply(query, document)


def test_where_nothing_can_be_found_what_is_said_can_be_typed_and_helps(tmp_path):
    def run(by_hand: bool) -> None:
        torch.manual_seed(0)
        model, generator = Encoder(), torch.Generator().manual_seed(0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        w = watch(model, optimizer=optimizer, run=tmp_path / "by-hand") if by_hand else None
        for _ in range(25):
            hidden(model, generator, w).backward()
            optimizer.step()
            optimizer.zero_grad()

    with session(tmp_path / "mine") as (_, said):
        run(by_hand=False)
    advice = "in the script: w = collapse_probe.watch(model, optimizer=optimizer), w.observe('query', q)"
    assert any(advice in line for line in said.lines), said.lines
    with session(tmp_path / "again") as (_, said):
        run(by_hand=True)
    assert not any(advice in line for line in said.lines)
    assert Run.load(tmp_path / "by-hand").coverage["query"].steps > 10
    assert not list(tmp_path.glob("again*"))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert not torch.overrides._get_current_function_mode_stack()
    assert not nn.modules.module._has_any_global_hook()
