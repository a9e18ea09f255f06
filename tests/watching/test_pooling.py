"""Whether padding is pooled, of small encoders whose mask or padding_idx says what padding is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import collapse_probe
from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Event

POOLINGS = {
    "mean": lambda h, m: (h * m[..., None]).sum(1) / m.sum(1, keepdim=True),
    "last": lambda h, m: h[torch.arange(len(h)), m.long().sum(1) - 1],
    "first": lambda h, m: h[:, 0],
    "average": lambda h, m: h.mean(1),
    "padding": lambda h, m: (h * (1 - m)[..., None]).sum(1) / (1 - m).sum(1, keepdim=True).clamp(min=1),
    "end": lambda h, m: h[:, -1],
}


class Tokens(nn.Module):
    """Vectors of tokens."""

    def __init__(self, *, padding_idx: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(60, 16, padding_idx=padding_idx)
        self.places = nn.Embedding(8, 16)
        self.layer = nn.Linear(16, 16)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.layer(self.table(input_ids) + self.places.weight)


class Encoder(nn.Module):
    """Vectors of texts, with what lies between them and their tokens."""

    def __init__(self, how: str, *, between: nn.Module, told: str = "mask") -> None:
        super().__init__()
        self.how, self.told, self.between = how, told, between
        self.tokens = Tokens(padding_idx=0 if told == "padding_idx" else None)

    def forward(self, ids: Tensor) -> Tensor:
        mask = ids != 0
        given = (
            {} if self.told == "padding_idx" else {"attention_mask": (~mask if self.told == "turned" else mask).long()}
        )
        return self.between(POOLINGS[self.how](self.tokens(ids, **given), mask.float()))


def trained(
    folder,
    how: str,
    *,
    lengths: tuple[int, int] = (3, 6),
    declared: bool = False,
    between: nn.Module | None = None,
    **more,
):
    torch.manual_seed(0)
    model = Encoder(how, between=between or nn.Identity(), **more)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    told = {"query": "", "document": ""} if declared else {}
    with collapse_probe.watch(model, optimizer=optimizer, run=folder, reference=False, **told) as watch:
        for _ in range(6):
            ids = torch.randint(1, 60, (16, 8))
            ids = ids.masked_fill(torch.arange(8) >= torch.randint(lengths[0], lengths[1] + 1, (16, 1)), 0)
            loss = cross_entropy(model(ids) @ model(ids).T, torch.arange(16))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return watch.live


def said(run) -> list[str]:
    return [one.message for one in run.of(Event) if one.name == "padding_pooled"]


@pytest.mark.parametrize("declared", [False, True], ids=["found", "declared"])
@pytest.mark.parametrize("told", ["mask", "padding_idx"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("mean", ""),
        ("last", ""),
        ("first", ""),
        ("average", "a mean of all tokens"),
        ("padding", "a mean of the padding alone"),
        ("end", "the last position"),
    ],
)
def test_padding_in_the_vectors_is_said_and_how(how, words, told, declared, tmp_path):
    run = trained(tmp_path / "run", how, told=told, declared=declared)
    assert all(one.startswith(words) for one in said(run)) and bool(said(run)) is bool(words)
    finding = next(one for one in diagnose(run).findings if one.code == "CP523")
    assert finding.status.value == ("warning" if words else "healthy")
    causes = [one.cause for one in diagnose(run).causes]
    assert ("padding_in_vectors" in causes) is bool(words)


@pytest.mark.parametrize(
    "about",
    [
        pytest.param({"lengths": (3, 8), "between": nn.Linear(16, 16)}, id="a layer in between"),
        pytest.param({"told": "turned"}, id="a mask that is 1 where others are 0"),
    ],
)
def test_what_cannot_be_told_is_not_said(about, tmp_path):
    run = trained(tmp_path / "run", "average" if "between" in about else "mean", **about)
    assert not said(run)
    assert next(one for one in diagnose(run).findings if one.code == "CP523").status.value == "not applicable"


@pytest.mark.parametrize(("shortest", "said"), [(8, True), (7, False)])
def test_texts_of_one_short_length_are_noted(shortest, said, tmp_path):
    summary = diagnose(trained(tmp_path / "run", "mean", lengths=(shortest, 8))).summary
    assert ("each of the first texts has exactly 8 tokens" in " ".join(summary.split())) is said
