"""Whether padding is pooled, of small encoders whose mask or padding_idx says what padding is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import collapse_probe
from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Event
from collapse_probe.recording import Call, Containment
from collapse_probe.reporting import write_report
from collapse_probe.watching import _pooling
from collapse_probe.watching._pooling import PaddingCheck

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


class Crossed(nn.Module):
    """Looks both sides' tokens up before it goes on with the first; the sum over padding, which is zeros, is none."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.drop = nn.Embedding(60, 16, padding_idx=0), nn.Dropout(0.2)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        one, other = self.table(a), self.table(b)
        return self.drop(one).sum(1), self.drop(other).sum(1)


def test_the_mask_of_the_other_side_is_not_taken_for_a_texts_own(tmp_path):
    torch.manual_seed(0)
    model = Crossed()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with collapse_probe.watch(model, optimizer=optimizer, run=tmp_path / "run", reference=False) as watch:
        for _ in range(6):
            ids = torch.randint(1, 60, (2, 16, 8))
            a, b = ids.masked_fill(torch.arange(8) >= torch.randint(3, 7, (2, 16, 1)), 0)
            one, other = model(a, b)
            cross_entropy(one @ other.T, torch.arange(16)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert watch.live.series("padding/share").values.tolist() == [0.0] and not said(watch.live)


def test_few_rows_of_tokens_are_held_and_what_changes_them_in_place_changes_none_of_it():
    contains = Containment(lambda probe, message: None)
    nothing = {"cut": lambda at: None, "same": lambda texts, at: None, "paused": lambda: False}
    check = PaddingCheck(lambda how, share: None, **nothing, containment=contains)
    tokens, mask = torch.randn(1000, 8, 16), (torch.arange(8) < 4).expand(1000, 8).long()
    check.hear(Call(nn.Identity(), (), {"attention_mask": mask}, tokens))
    tokens.zero_()
    (held,) = check._tokens
    assert held.tokens.untyped_storage().nbytes() < tokens.nbytes / 10 and held.tokens.any()


def test_a_failure_of_ours_in_a_forward_does_not_reach_it(tmp_path, monkeypatch):
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")
    monkeypatch.setattr(_pooling, "kept_tokens", lambda call, tensor: 1 / 0)
    with pytest.warns(RuntimeWarning, match="padding failed"):
        run = trained(tmp_path / "run", "average", declared=True)
    assert [one.subject for one in run.of(Event) if one.name == "error"] == ["padding"]


def test_a_single_token_is_no_text_that_is_cut():
    def held(length: int) -> _pooling.Tokens:
        kept = torch.ones(16, length, dtype=torch.bool)
        return _pooling.Tokens(16, torch.randn(16, length, 4), kept, [kept.long()], nn.Identity())

    assert [_pooling._cut_to([held(length)]) for length in (1, 2, 8, 30)] == [0, 0, 8, 0]


def test_a_single_number_that_nothing_is_held_against_has_no_figure(tmp_path):
    trained(tmp_path / "run", "average")
    text = write_report(tmp_path / "run", tmp_path / "report").read_text()
    assert "Vectors are made of padding" in text and "happened_1" not in text


def of_texts(folder, texts) -> list[Event]:
    """Train an encoder on batches of query ids, each with documents of their own."""
    torch.manual_seed(0)
    model = Encoder("mean", between=nn.Identity())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with collapse_probe.watch(model, optimizer=optimizer, run=folder, reference=False) as watch:
        for ids in texts:
            loss = cross_entropy(model(ids) @ model(torch.randint(1, 60, (16, 8))).T, torch.arange(16))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return told(watch)


def told(watch) -> list[Event]:
    return [one for one in watch.live.of(Event) if one.name == "one_text"]


class Prompted(nn.Module):
    """Decodes a fixed prompt, which looks at what an encoder made of the text."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Tokens(), Decoder()

    def forward(self, ids: Tensor) -> Tensor:
        states = self.encoder(ids, torch.ones_like(ids))
        prompt = PROMPT.repeat(len(ids), 1)
        return self.decoder(prompt, torch.ones_like(prompt), states).mean(1)


class Decoder(Tokens):
    def forward(self, input_ids: Tensor, attention_mask: Tensor, states: Tensor) -> Tensor:
        return super().forward(input_ids) + states.mean(1, keepdim=True)


@pytest.mark.parametrize("kind", ["a prompt that is decoded", "a buffer that is filled again"])
def test_what_only_looks_like_one_text_is_not_said(kind, tmp_path):
    torch.manual_seed(0)
    model = Prompted() if kind.startswith("a prompt") else Encoder("mean", between=nn.Identity())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    buffer = torch.zeros(16, 8, dtype=torch.long)
    with collapse_probe.watch(model, optimizer=optimizer, run=tmp_path / "run", reference=False) as watch:
        for step in range(6):
            buffer.copy_(torch.randint(1, 60, (16, 8)) if kind.startswith("a prompt") else PROMPT.roll(step))
            cross_entropy(model(buffer) @ model(torch.randint(1, 60, (16, 8))).T, torch.arange(16)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert not told(watch)


PROMPT = torch.tensor([7, 3, 3, 9, 41, 5, 8, 2])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        pytest.param([PROMPT.repeat(16, 1)] * 6, True, id="one prompt"),
        pytest.param([PROMPT.roll(step).repeat(16, 1) for step in range(6)], False, id="one query a step"),
        pytest.param([torch.arange(1, 9).repeat(16, 1)] * 6, False, id="positions"),
        pytest.param([torch.cat([PROMPT.repeat(15, 1), PROMPT.flip(0)[None]])] * 6, False, id="one differs"),
    ],
)
def test_texts_that_are_all_one_are_said(texts, said, tmp_path):
    found = of_texts(tmp_path / "run", texts)
    assert [one.message for one in found] == (
        ["all 16 texts of a side are the same 8 tokens, in two steps"] if said else []
    )


def test_tokens_that_may_be_of_texts_without_padding_tell_nothing():
    """Both sides' masks are tried, where a module is given none: the other side's says nothing of these."""
    tokens, ids = torch.randn(16, 8, 4), torch.randint(1, 50, (16, 8))
    others = torch.arange(8) < torch.randint(3, 6, (16, 1))
    held = [
        _pooling.Tokens(16, tokens, kept, [ids.masked_fill(~kept, 0)], nn.Identity())
        for kept in (others, torch.ones(16, 8, dtype=torch.bool))
    ]
    assert _pooling._told(tokens.mean(dim=1), held[:1]) == ("average", pytest.approx((~others).float().mean().item()))
    assert _pooling._told(tokens.mean(dim=1), held) is None
