"""Reference pairs: replayed from the first steps where the user gives none, and read with everything put back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from plain_loops import OneTower, descend, infonce, pairs, random_state, tower
from torch import Tensor, nn

from collapse_probe import diagnose, measures
from collapse_probe.errors import InputError
from collapse_probe.journal import Evaluation, Event
from collapse_probe.journal.vocabulary import Role
from collapse_probe.recording import Replay, StartWeights, Tap, item
from collapse_probe.recording import _reference as reference_module
from collapse_probe.watching import Watch, _text_pairs, watch
from collapse_probe.watching._text_pairs import TextPairs

SIDES = {"query": "", "document": ""}


def train(model: nn.Module, steps: int, *, embed: Any = None, **options: Any) -> Watch:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    w = watch(model, optimizer=optimizer, run=False, **{**SIDES, **options})
    embed = embed or (lambda model, x: model(x))
    for a, b in pairs(steps, rows=16):
        descend(optimizer, infonce(embed(model, a), embed(model, b)))
    return w


def separation(query: Tensor, document: Tensor) -> float:
    sample = measures.Sample(
        streams={"query": query, "document": document}, roles={"query": Role.query, "document": Role.document}
    )
    return float(measures.read(sample, on="reference", wanted=["pairs/d_prime"])["pairs/d_prime"])


@pytest.mark.parametrize("sides", [SIDES, {"query": None, "document": None}, {"query": "tower", "document": "tower"}])
def test_readings_exist_at_step_0_in_between_and_at_the_end(sides):
    torch.manual_seed(0)
    model = OneTower(dropout=0.2)
    before = copy.deepcopy(model).eval()
    w = train(model, 300, **sides)
    w.close()
    found = w.live.series("pairs/d_prime", on="reference")
    steps = found.steps.tolist()
    assert steps[0] == 0 and steps[-1] == 300 and len(set(steps)) >= 3
    # Where streams had to be found, the inputs of the first step had gone by.
    kept = list(pairs(20, rows=16))[sides["query"] is None :]
    query, document = (before(torch.cat([pair[side] for pair in kept])) for side in (0, 1))
    whole = [
        value for step, value, n in zip(steps, found.values, found.n, strict=True) if step == 0 and n == 16 * len(kept)
    ]
    assert whole == [pytest.approx(separation(query, document), rel=1e-4)]
    model.eval()
    query, document = (model(torch.cat([pair[side] for pair in kept])) for side in (0, 1))
    assert found.last == pytest.approx(separation(query, document), rel=1e-4)


def test_what_reading_disturbs_is_put_back():
    model = OneTower(dropout=0.2)
    model.tower[1].eval()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    modes = [part.training for part in model.modules()]

    def drawing() -> tuple[Tensor, Tensor]:
        x = torch.randn(20, 12)
        assert not any(part.training for part in model.modules()) and not torch.is_grad_enabled()
        return model(x), model(x + 0.1)

    state = random_state()
    w = watch(model, run=False, reference=drawing, raw=drawing, **SIDES)
    w.close()
    after = random_state()
    assert torch.equal(state[0], after[0]) and state[1:] == after[1:]
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert {on for _, on, _ in w.live.keys} == {"reference", "raw"}


def test_modes_are_put_back_where_the_reference_raises(monkeypatch):
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")
    model = OneTower(dropout=0.2)

    def fails() -> tuple[Tensor, Tensor]:
        raise KeyError("mine")

    with pytest.warns(RuntimeWarning, match="reference pairs failed"):
        w = watch(model, run=False, reference=fails, **SIDES)
    assert all(part.training for part in model.modules())
    w.close()
    assert [one.subject for one in w.live.of(Event) if one.name == "error"] == ["reference pairs"]


def test_weights_that_are_too_large_to_keep_are_said(monkeypatch):
    inner = StartWeights.__init__
    monkeypatch.setattr(StartWeights, "__init__", lambda self, target: inner(self, target, most=64))
    w = train(OneTower(), 25)
    w.close()
    found = w.live.series("pairs/d_prime", on="reference")
    assert found.steps.tolist()[0] == 20 and found.steps.tolist()[-1] == 25
    said = [one.message for one in w.live.of(Event) if one.subject == "reference pairs"]
    assert any("step 0" in one for one in said)


class Shared(nn.Module):
    """Two sides that are one module of two names, or two modules of which one weight is tied."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 8))
        self.right = nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 8)) if tied else self.left
        self.right[0].weight = self.left[0].weight
        self.head = nn.Linear(8, 8)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.left(a)), self.right(b)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_that_have_two_names_are_put_back(tied):
    trained, scored = [], []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Shared(tied=tied)
        before, optimizer = copy.deepcopy(model), torch.optim.SGD(model.parameters(), lr=0.5)
        w = watch(model, optimizer=optimizer, run=False) if watched else None
        for a, b in (kept := list(pairs(30, rows=16))):
            descend(optimizer, infonce(*model(a, b)))
        if w is not None:
            w.close()
            found = w.live.series("pairs/d_prime", on="reference")
            scored = found.where(found.steps == 0).values
        trained.append(model.state_dict())
    assert all(torch.equal(one, trained[1][name]) for name, one in trained[0].items())
    whole = [torch.cat(side) for side in zip(*(before(*pair) for pair in kept[1:20]), strict=True)]
    assert separation(*whole) in [pytest.approx(one, rel=1e-4) for one in scored]


class OfDictionaries(nn.Module):
    """Takes what a tokenizer gives, and changes it in place, as some models do."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = tower()

    def forward(self, features: dict[str, Tensor], scale: float = 1.0) -> dict[str, Tensor]:
        x = features.pop("x") * features["mask"]
        return {"mask": features["mask"], "embedding": self.tower(x) * scale}


def test_inputs_that_are_dictionaries_are_kept_as_they_were():
    model = OfDictionaries()

    def embed(model: nn.Module, x: Tensor) -> Tensor:
        return model({"x": x.clone(), "mask": torch.ones(1)}, scale=2.0)["embedding"]

    taps = [Tap(stream=side, at="", take=item("embedding"), role=side) for side in ("query", "document")]
    w = train(model, 22, embed=embed, query="", document="")
    w.close()
    assert w.live.series("pairs/d_prime", on="reference").steps.tolist()[0] == 0
    assert taps


def test_no_more_than_64_mb_are_kept(monkeypatch):
    monkeypatch.setattr(reference_module, "REPLAYED_BYTES", 5 * 2 * 16 * 12 * 4)
    w = train(OneTower(), 22)
    w.close()
    assert set(w.live.series("pairs/d_prime", on="reference").n.tolist()) == {80}


def test_a_first_batch_that_is_larger_than_all_that_may_be_kept_is_not_kept(monkeypatch):
    monkeypatch.setattr(reference_module, "REPLAYED_BYTES", 100)
    w = train(OneTower(), 22)
    w.close()
    assert not len(w.live.series("pairs/d_prime", on="reference"))
    assert any(one.subject == "reference pairs" for one in w.live.of(Event))


def test_no_more_than_512_pairs_are_kept():
    replay = Replay(nn.Identity(), nn.Identity())
    from collapse_probe.recording import Call

    for _ in range(40):
        one = Call(replay.query, (torch.randn(32, 4),), {}, None)
        replay.keep(one, one, rows=(32, 32))
    assert replay.complete and replay.rows == 512


def test_no_reference_where_none_is_wanted():
    w = train(OneTower(), 25, reference=False)
    w.close()
    assert {on for _, on, _ in w.live.keys} == {"batch"} and w.live.config.reference is None


def test_a_callable_is_read_at_step_0_at_evaluations_and_at_the_end():
    model = OneTower()
    a, b = next(pairs(1, rows=64))
    calls = []

    def given() -> tuple[Tensor, Tensor]:
        calls.append(model.training)
        return model(a), model(b)

    w = train(model, 5, reference=given)
    w.evaluation("mine", {"ndcg@10": 0.5})
    w.evaluation("other", {"ndcg@10": 0.5})
    w.close()
    assert w.live.series("pairs/d_prime", on="reference").steps.tolist() == [0, 5]
    assert calls == [False, False]
    assert w.live.config.reference is not None and not w.live.config.reference.seen


def test_a_cheap_callable_is_read_every_so_many_steps():
    a, b = next(pairs(1, rows=64))
    model = OneTower()
    w = train(model, 20, reference=lambda: (model(a), model(b)), reference_every=5)
    w.close()
    assert w.live.series("pairs/d_prime", on="reference").steps.tolist() == [0, 5, 10, 15, 20]


class Texts(nn.Module):
    """Encodes texts, as sentence-transformers does."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 8)

    def forward(self, texts: list[str]) -> Tensor:
        return torch.stack([self.table(torch.tensor(list(text.encode()))).mean(0) for text in texts])

    def encode(self, texts: list[str], *, convert_to_tensor: bool, show_progress_bar: bool) -> Tensor:
        return self(texts)


def test_texts_are_read_by_a_model_that_encodes_them(tmp_path):
    texts = [(f"question {i} {chr(97 + i)}", f"answer {i} {chr(97 + i)}") for i in range(8)]
    model = Texts()
    for given in (texts, _file(tmp_path, texts)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        w = watch(model, optimizer=optimizer, run=False, reference=given, **SIDES)
        descend(optimizer, infonce(model([q for q, _ in texts]), model([d for _, d in texts])))
        w.close()
        assert w.live.series("pairs/d_prime", on="reference").steps.tolist() == [0, 1]
        assert w.live.series("pairs/d_prime", on="reference").n.tolist() == [8, 8]


def test_texts_that_share_a_document_do_not_count_against_each_other():
    texts = [(f"question {i} {chr(97 + i)}", f"answer {i // 2}") for i in range(8)]
    w = watch(Texts(), run=False, reference=texts, **SIDES)
    w.close()
    found = [one for one in w.live.of(Evaluation) if one.role == "reference"]
    assert {(one.n_queries, one.n_documents) for one in found} == {(8, 4)}


def test_vectors_of_an_evaluation_are_read_as_a_call_of_the_pairs():
    model = Texts()
    texts = [("a", "x"), ("b", "y"), ("c", "x"), ("d", "z")]
    pairs = TextPairs(model, [query for query, _ in texts], [document for _, document in texts])
    mine, theirs = pairs(), pairs.of_rows(model(pairs.queries), model(pairs.documents))
    assert mine[2].tolist() == [0, 1, 0, 2]
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))
    assert len(pairs(2)) == 2


def _file(folder: Any, texts: list[tuple[str, str]]) -> str:
    import json

    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps({"query": q, "document": d}) + "\n" for q, d in texts), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("given", [3, [("a", "b", "c")], [1, 2], "absent.jsonl", [("a", "b")]])
def test_a_reference_that_is_none_is_refused(given):
    with pytest.raises(InputError) as said:
        watch(Texts(), run=False, reference=given, **SIDES)
    assert "\n" not in str(said.value)


def test_texts_need_a_model_that_encodes():
    with pytest.raises(InputError, match=r"has no encode\(\)"):
        watch(OneTower(), run=False, reference=[("a", "b"), ("c", "d")])


class Projected(nn.Module):
    """An encoder whose loss is taken after a projector that nobody serves."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head, self.projector = tower(), nn.Linear(8, 8), nn.Linear(8, 8)
        self.idle = nn.Linear(8, 8)

    def embed(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def projected(**options: Any) -> Watch:
    torch.manual_seed(0)
    model = Projected()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    held_out = next(pairs(1, rows=64, seed=1))
    given = {"reference": lambda: tuple(model.embed(one) for one in held_out), **options}
    with watch(model, optimizer=optimizer, run=False, query="projector", document="projector", **given) as w:
        for a, b in pairs(22):
            descend(optimizer, infonce(model.projector(model.embed(a)), model.projector(model.embed(b))))
        assert not any(part._forward_pre_hooks for part in (model.encoder, model.head))
    return w


def test_what_reference_pairs_do_not_go_through_is_trained_and_not_scored():
    w = projected()
    scored = {one.name: one.scored for one in w.live.modules}
    assert scored == {"encoder": True, "head": True, "projector": False, "idle": None}
    assert [one.why for one in diagnose(w).not_measured if "projector" in one.what]


def test_what_is_scored_is_unknown_where_no_module_is_called_for_it():
    held_out = next(pairs(1, rows=64, columns=8, seed=1))
    for reference in (False, lambda: held_out):
        scored = {one.name: one.scored for one in projected(reference=reference).live.modules}
        assert scored == {"encoder": None, "head": None, "projector": True, "idle": None}


def read_pairs(w: Watch, n: int) -> tuple[list[int], list[float]]:
    """Return the steps and the ranks of all readings of so many pairs, which are all that there are."""
    w.close()
    assert set(w.live.series("pairs/d_prime", on="reference").n.tolist()) <= {n, 128}
    found = [one for one in w.live.of(Evaluation) if one.role == "reference"]
    assert {one.n_queries for one in found} == {n}
    return [one.step for one in found], [one.metrics["mrr"] for one in found]


def fit(batches: Any, *, inner: int = 1, **options: Any) -> Watch:
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    w = watch(model, optimizer=optimizer, run=False, **{**SIDES, **options})
    for a, b in batches:
        for _ in range(inner):
            descend(optimizer, infonce(model(a), model(b)))
    return w


@pytest.mark.parametrize(("steps", "inner"), [(1, 60), (60, 1)])
def test_pairs_that_come_again_are_kept_once(steps, inner):
    batch = next(pairs(1, rows=16))
    w = fit([batch] * steps, inner=inner)
    known, ranks = read_pairs(w, 16)
    assert known[0] == 0 and ranks[-1] > 0.9
    said = [one.message for one in w.live.of(Event) if one.subject == "reference pairs"]
    assert len(said) == 1 and said[0].startswith("16 distinct pairs")


def test_rows_that_come_again_in_other_batches_are_kept_once():
    a, b = next(pairs(1, rows=24))
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(24, generator=generator)[:16] for _ in range(40)]
    read_pairs(fit([(a[order], b[order]) for order in orders]), 24)


def test_repeats_leave_room_for_further_pairs():
    w = fit(pairs(5, rows=128), inner=4)
    known, _ = read_pairs(w, 512)
    assert known[0] == 0
    read_pairs(fit(pairs(5, rows=100), inner=4), 500)


def test_equal_documents_of_several_queries_are_one_right_answer():
    batches = []
    for a, b in pairs(30, rows=16):
        batches.append((a, b[:8].repeat_interleave(2, dim=0)))
    w = fit(batches)
    w.close()
    found = [one for one in w.live.of(Evaluation) if one.role == "reference"]
    assert {(one.n_queries, one.n_documents) for one in found} == {(320, 160)}
    # Two queries that share their document do not each stand in the other's way.
    perfect = measures.compare(torch.eye(2), torch.eye(2)[:1], similarity="dot", own=torch.tensor([0, 0]))
    assert float(perfect.tied.max()) == 0


class OfTokens(nn.Module):
    """Reads padded tokens, as a transformer does."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        kept = attention_mask[..., None].float()
        return (self.table(input_ids) * kept).sum(1) / kept.sum(1)


def test_padding_makes_no_other_pair():
    torch.manual_seed(0)
    model = OfTokens()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens = torch.randint(1, 50, (8, 5))
    w = watch(model, optimizer=optimizer, run=False, **SIDES)
    for step in range(21):
        width = 5 + step % 3
        ids, mask = torch.full((8, width), 9), torch.zeros(8, width)
        ids[:, :5], mask[:, :5] = tokens, 1
        sides = [model(input_ids=one, attention_mask=mask) for one in (ids, ids.flip(0))]
        descend(optimizer, infonce(*sides))
    read_pairs(w, 8)


def test_a_closure_is_read_from_step_0_on():
    torch.manual_seed(0)
    model = OneTower()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    before = copy.deepcopy(model)
    w = watch(model, optimizer=optimizer, run=False, **SIDES)
    batches = list(pairs(22, rows=8))
    for a, b in batches:

        def closure(a: Tensor = a, b: Tensor = b) -> Tensor:
            optimizer.zero_grad()
            loss = infonce(model(a), model(b))
            loss.backward()
            return loss

        optimizer.step(closure)
    known, ranks = read_pairs(w, 160)
    query, document = (before(torch.cat([pair[side] for pair in batches[:20]])) for side in (0, 1))
    assert known[0] == 0 and ranks[0] == pytest.approx(float(measures.mrr(query, document, similarity="cosine")))


def test_steps_that_are_said_by_hand_have_a_start():
    torch.manual_seed(0)
    model = OneTower()
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    w = watch(model, run=False, **SIDES)
    batches = list(pairs(22, rows=8))
    for a, b in batches:
        descend(optimizer, infonce(model(a), model(b)))
        w.step()
    known, ranks = read_pairs(w, 160)
    query, document = (before(torch.cat([pair[side] for pair in batches[:20]])) for side in (0, 1))
    assert known[0] == 0 and ranks[0] == pytest.approx(float(measures.mrr(query, document, similarity="cosine")))


def test_texts_are_encoded_by_one_process_where_several_share_an_evaluation(monkeypatch):
    class Shared:
        device = "cpu"

        def encode(self, texts, *, device=None, convert_to_tensor=True, show_progress_bar=False):
            assert device == "cpu", "it is sent to the other processes"
            return torch.zeros(len(texts), 2)

    monkeypatch.setattr(_text_pairs, "processes", lambda: 2)
    query, document = TextPairs(Shared(), ["a", "b"], ["c", "d"])()
    assert query.shape == document.shape == (2, 2)


@pytest.mark.parametrize("again", [True, False])
def test_an_epoch_is_over_where_the_first_pairs_come_again(again):
    """Then all reference pairs are read: beside the last new ones, by about the same weights."""
    batches = list(pairs(45))
    w = fit([*batches[:25], *batches[:20]] if again else batches)
    w.close()
    assert [one.step for one in w.live.of(Event) if one.name == "seen_again"] == ([30] if again else [])
    full = w.live.series("pairs/mrr", on="reference")
    assert (30 in full.steps[full.n == full.n.max()].tolist()) is again
