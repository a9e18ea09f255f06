"""Whose weights a training leaves: of the last step, of an earlier one, of the start, or others."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from plain_loops import random_state, seed_all
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from watching.trainers_support import best_weights, encoder, hf_trainer, pairs, search, st_trainer

from collapse_probe import diagnose, watch, write_report
from collapse_probe.journal import Evaluation, Event
from collapse_probe.recording import digest
from collapse_probe.watching import open_watches

State = dict[str, Tensor]
STEPS, BEST = 24, 11


class Tower(nn.Module):
    """A trunk that is normalised over batches, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.1))
        self.head = nn.Linear(16, 8)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.trunk(rows))


def trained(
    *, best: Callable[[Tower], Any] | None = None, end: Callable[[Tower, Any], None] | None = None, **options: Any
) -> tuple[Tower, Any]:
    """Train a tower, with what is called at the best step and, with what that gave, after the last one."""
    seed_all()
    model = Tower()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    watched = options.pop("watched", True)
    w = watch(model, optimizer=optimizer, query="", document="", run=False, **options) if watched else None
    kept = None
    for step in range(1, STEPS + 1):
        rows = torch.randn(16, 8)
        loss = cross_entropy(normalize(model(rows)) @ normalize(model(rows + 0.1)).T, torch.arange(16))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == BEST and best is not None:
            kept = best(model)
    if end is not None:
        end(model, kept)
    if w is not None:
        w.close()
    return model, w


def copied(model: nn.Module) -> State:
    return copy.deepcopy(model.state_dict())


def live(model: nn.Module) -> Any:
    return model.state_dict()


def put_back(model: nn.Module, state: State) -> None:
    model.load_state_dict(state)


def by_hand(model: nn.Module, state: State) -> None:
    with torch.no_grad():
        for name, one in model.named_parameters():
            one.copy_(state[name])


def others(model: nn.Module, state: State) -> None:
    model.load_state_dict(Tower().state_dict())


def away_and_back(model: nn.Module, state: State) -> None:
    last = copied(model)
    model.load_state_dict(state)
    model.load_state_dict(last)


def part(model: Tower, state: State) -> None:
    model.head.load_state_dict({name: state[f"head.{name}"] for name in ("weight", "bias")})


def averaged(model: nn.Module, state: State) -> None:
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_swa_multi_avg_fn())
    before = Tower()
    before.load_state_dict(state)
    for one in (model, before):
        average.update_parameters(one)
    torch.optim.swa_utils.update_bn([torch.randn(16, 8)], average)
    for one, other in zip(model.parameters(), average.module.parameters(), strict=True):
        one.data.copy_(other.data)


def beneath(model: nn.Module, state: State) -> None:
    for name, one in model.named_parameters():
        one.data = state[name].clone()


STEP = f"the delivered weights are those of step {BEST}, not of step {STEPS}, the last"
LIVE = f"the delivered weights are those of step {STEPS}, the last: what was loaded then is the live weights"
OTHER = f"the delivered weights are others than those of step {STEPS}, the last"


@pytest.mark.parametrize(
    ("best", "end", "said"),
    [
        (None, None, ""),
        (copied, None, ""),
        (copied, put_back, STEP),
        (copied, by_hand, STEP),
        (copied, beneath, STEP),
        (copied, averaged, OTHER),
        (None, lambda model, _: torch.optim.swa_utils.AveragedModel(model).update_parameters(model), ""),
        (live, put_back, LIVE),
        (copied, others, OTHER),
        (copied, part, OTHER),
        (copied, away_and_back, ""),
        (copied, lambda model, state: model.double(), ""),
    ],
)
def test_whose_weights_are_left_is_said(best: Any, end: Any, said: str) -> None:
    _, w = trained(best=best, end=end, reference=False)
    found = [one.message for one in w.live.of(Event) if one.name == "delivered"]
    assert [one.startswith(said) for one in found] == ([True] if said else [])
    assert ("\nDelivered" in diagnose(w).summary) == bool(said)


def test_who_writes_weights_after_every_step_puts_none_back() -> None:
    """As a critic whose weights are clamped, by the loop or by ``.data``."""
    for write in (lambda one: one.clamp_(-0.2, 0.2), lambda one: one.data.clamp_(-0.2, 0.2)):
        seed_all()
        model = Tower()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with watch(model, optimizer=optimizer, query="", document="", run=False, reference=False) as w:
            for _ in range(6):
                model(torch.randn(16, 8)).square().mean().backward()
                optimizer.step()
                with torch.no_grad():
                    for one in model.parameters():
                        write(one)
        assert not [one for one in w.live.of(Event) if one.name == "delivered"]


def test_the_start_is_said_where_it_is_delivered() -> None:
    seed_all()
    start = copied(Tower())
    _, w = trained(end=lambda model, _: model.load_state_dict(start))
    assert diagnose(w).delivered["step"] == 0
    assert f"\nDelivered  the start, not step {STEPS}, the last" in diagnose(w).summary


def test_what_is_scored_when_weights_are_put_back_is_of_their_step() -> None:
    """What is read last would else be called the last step's, and a collapse that came after the best one be gone."""

    def end(model: Tower, state: State) -> None:
        if state is not None:
            model.load_state_dict(state)
        (w,) = open_watches()
        w.evaluation("mine", {"ndcg@10": 0.5})

    runs = [trained(best=best, end=end)[1] for best in (copied, None)]
    steps = [{one.collection: one.step for one in w.live.of(Evaluation)} for w in runs]
    assert steps == [{"mine": at, "reference pairs": STEPS} for at in (BEST, STEPS)]
    put_back, left = (w.live.series("pairs/d_prime", on="reference") for w in runs)
    assert len(put_back) > 1 and list(put_back.steps) == list(left.steps)
    assert put_back.values.tolist() == left.values.tolist(), "read before they were put back"


def test_no_bit_changes_and_no_hook_is_left() -> None:
    ends = []
    for watched in (False, True):
        model, _ = trained(best=copied, end=put_back, watched=watched)
        ends.append((model.state_dict(), random_state()))
    assert all(torch.equal(one, ends[1][0][name]) for name, one in ends[0][0].items())
    assert torch.equal(ends[0][1][0], ends[1][1][0]) and ends[0][1][1:] == ends[1][1][1:]
    assert not any(one._state_dict_pre_hooks or one._load_state_dict_pre_hooks for one in model.modules())


def test_a_copy_of_a_watched_model_tells_nobody_what_it_loads() -> None:
    """Bug: while it was watched, a model whose module was named could not be pickled, nor saved by ``torch.save``."""
    model = Tower()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with watch(model, optimizer=optimizer, query="", document="", run=False) as w:
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            other.load_state_dict(copied(other))
        assert w._left is not None and not w._left.loaded


def test_a_state_that_is_asked_for_at_every_step_is_read_at_few() -> None:
    """As a loop does that keeps a moving average of the weights."""
    model = Tower()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with watch(model, optimizer=optimizer, query="", document="", run=False, reference=False) as w:
        for _ in range(60):
            model(torch.randn(4, 8)).sum().backward()
            optimizer.step()
            model.state_dict()
        assert w._left is not None and len(w._left._kept) <= 1 + 20 + 6


def test_what_a_loss_trains_beside_the_model_is_noted(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    loss = losses.SoftmaxLoss(model, 16, num_labels=2)
    data = pairs().add_column("label", [0, 1] * 32)
    trainer = st_trainer(model, loss, tmp_path / "out", steps=2, data=data)
    w = watch(trainer, run=tmp_path / "run", reference=False)
    trainer.train()
    (note,) = [one.message for one in w.live.of(Event) if one.subject == "trained beside"]
    assert note == "trained, and no part of the model that is saved: SoftmaxLoss.classifier"


def test_the_report_says_whose_weights_are_delivered(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    trainer = st_trainer(
        model,
        losses.MultipleNegativesRankingLoss(model),
        tmp_path / "out",
        steps=6,
        evaluator=search(),
        **best_weights("eval_toy_cosine_mrr@10", greater=False),
    )
    w = watch(trainer, run=tmp_path / "run", baseline=False)
    trainer.train()
    step = trainer.state.best_model_checkpoint.rpartition("-")[2]
    said = f"the delivered weights are those of step {step}, not of step 6, the last"
    text = write_report(w, tmp_path / "report", figures=False).read_text()
    assert step != "6" and f"| Delivered | {said} |" in text and f"\nDelivered  step {step}, not step 6" in text
    page = (tmp_path / "report" / "index.html").read_text()
    assert said in page


def test_where_the_watch_ends_before_the_best_weights_are_loaded_the_trainer_is_believed(tmp_path: Path) -> None:
    """As it does where programs take numbers: the trainer's last log comes first."""
    trainer = hf_trainer(
        tmp_path / "out",
        steps=6,
        **best_weights("eval_loss", greater=True),
        label_names=["query"],
        learning_rate=1e-2,
    )
    w = watch(trainer, run=False)
    events = next(one for one in trainer.callback_handler.callbacks if type(one).__name__ == "Events")
    events._reports = SimpleNamespace(programs=["one"], send=lambda *_: None, verdict=lambda *_: None)
    trainer.train()
    assert diagnose(w).delivered["step"] == int(trainer.state.best_model_checkpoint.rpartition("-")[2]) < 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8])
def test_a_digest_is_of_bits_wherever_they_lie(dtype: torch.dtype) -> None:
    whole = torch.arange(23).to(dtype)
    shifted = torch.cat([whole[:1], whole])[1:]
    assert digest([whole]).tolist() == digest([shifted]).tolist() == digest([whole.clone()]).tolist()
    for place in (0, 22):
        changed = whole.clone()
        changed[place] += 1
        assert digest([whole]).tolist() != digest([changed]).tolist()
    assert digest([]).shape == (0,) and digest([torch.zeros(0), torch.zeros(())]).tolist() == [0, 0]


def test_the_start_is_what_training_began_with_and_not_what_the_watch_did():
    seed_all()
    model = Tower()
    before = copied(Tower())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer=optimizer, query="", document="", run=False) as w:
        model.load_state_dict(before)
        for _ in range(5):
            model(torch.randn(16, 8)).square().mean().backward()
            optimizer.step()
        model.load_state_dict(before)
    said = [one.message for one in w.live.of(Event) if one.name == "delivered"]
    assert said == ["the delivered weights are those of the start, not of step 5, the last"]
