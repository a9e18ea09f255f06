"""Training with and without a watch leaves the same bits: weights, losses and random states."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_loops import random_state, seed_all
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Pooling, Router, Transformer
from watching.trainers_support import encoder, hf_trainer, pairs, save_bert, search, st_trainer

from collapse_probe.diagnosis import diagnose
from collapse_probe.journal import Run
from collapse_probe.recording import Containment
from collapse_probe.watching import watch

STEPS, FEW = 32, 12
"""So many that every step is read at first, then one in ten, over four epochs; and fewer."""

Make = Callable[[Path, Path], Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a BERT of one layer: what is done a step counts here, not how large it is."""
    return save_bert(tmp_path_factory.mktemp("small"), layers=1)


def _st(bert: Path, out: Path, kind: Callable[..., Any] = losses.MultipleNegativesRankingLoss, **arguments: Any) -> Any:
    model = encoder(bert)
    return st_trainer(model, kind(model), out, **{"steps": STEPS, **arguments})


def _router(bert: Path, out: Path) -> Any:
    sides = [[Transformer(str(bert)), Pooling(16)] for _ in range(2)]
    router = Router.for_query_document(query_modules=sides[0], document_modules=sides[1])
    model = SentenceTransformer(modules=[router], device="cpu")
    mapping = {"anchor": "query", "positive": "document"}
    loss = losses.MultipleNegativesRankingLoss(model)
    return st_trainer(model, loss, out, steps=STEPS, router_mapping=mapping)


def _cached(bert: Path, out: Path) -> Any:
    model = encoder(bert)
    loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=5)
    return st_trainer(model, loss, out, steps=STEPS)


def _matryoshka(bert: Path, out: Path) -> Any:
    model = encoder(bert)
    inner = losses.MultipleNegativesRankingLoss(model)
    return st_trainer(model, losses.MatryoshkaLoss(model, inner, [16, 8, 4], n_dims_per_step=2), out, steps=STEPS)


def _evaluated(bert: Path, out: Path) -> Any:
    data = {"data": pairs(negatives=True), "eval_dataset": pairs(16, seed=9)}
    return _st(bert, out, evaluator=search(), eval_strategy="steps", eval_steps=10, **data)


CASES: dict[str, Make] = {
    "MultipleNegativesRankingLoss": lambda bert, out: _st(bert, out, data=pairs(negatives=True)),
    "CosineSimilarityLoss": lambda bert, out: _st(bert, out, losses.CosineSimilarityLoss, data=pairs(labels=True)),
    "CachedMultipleNegativesRankingLoss": _cached,
    "MatryoshkaLoss": _matryoshka,
    "Router": _router,
    "accumulation": lambda bert, out: _st(bert, out, gradient_accumulation_steps=3, per_device_train_batch_size=4),
    "bf16": lambda bert, out: _st(bert, out, bf16=True),
    "evaluator": _evaluated,
    "transformers": lambda bert, out: hf_trainer(out, steps=STEPS),
    "transformers, accumulation": lambda bert, out: hf_trainer(out, steps=STEPS, gradient_accumulation_steps=3),
    "transformers, bf16": lambda bert, out: hf_trainer(out, steps=STEPS, bf16=True),
    "transformers, evaluated": lambda bert, out: hf_trainer(out, steps=STEPS, eval_strategy="steps", eval_steps=10),
}


def _checkpointed(reentrant: bool) -> Make:
    given = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": reentrant}}
    return lambda bert, out: _st(bert, out, steps=FEW, **given)


def _adapted(bert: Path, out: Path) -> Any:
    from peft import LoraConfig, get_peft_model

    model = encoder(bert)
    adapter = LoraConfig(target_modules=["query", "value"], r=4, lora_dropout=0.1)
    model[0].model = get_peft_model(model[0].model, adapter)
    return st_trainer(model, losses.MultipleNegativesRankingLoss(model), out, steps=FEW)


WAYS: dict[str, Make] = {
    "checkpointing": _checkpointed(False),
    "checkpointing, reentrant": _checkpointed(True),
    "CachedGISTEmbedLoss": lambda bert, out: _st(
        bert,
        out,
        lambda model: losses.CachedGISTEmbedLoss(model, encoder(bert), mini_batch_size=3),
        steps=FEW,
    ),
    "MegaBatchMarginLoss": lambda bert, out: _st(
        bert, out, lambda model: losses.MegaBatchMarginLoss(model, mini_batch_size=4), steps=FEW
    ),
    "compiled": lambda bert, out: _st(bert, out, steps=FEW, torch_compile=True, torch_compile_backend="eager"),
    "transformers, compiled": lambda bert, out: hf_trainer(
        out, steps=FEW, torch_compile=True, torch_compile_backend="aot_eager"
    ),
    "PEFT": _adapted,
}
"""Further ways to train, of which fewer steps are enough."""


@dataclass
class Left:
    """What a training leaves, and the loss of every micro-batch."""

    weights: dict[str, torch.Tensor]
    losses: torch.Tensor
    logs: str
    random: tuple[torch.Tensor, str, Any]

    def assert_equal(self, other: Left) -> None:
        """Assert that another training left the same bits."""
        assert self.logs == other.logs
        assert torch.equal(self.losses, other.losses)
        assert self.weights.keys() == other.weights.keys()
        for name, value in self.weights.items():
            assert torch.equal(value, other.weights[name]), name
        assert torch.equal(self.random[0], other.random[0])
        assert self.random[1:] == other.random[1:]


def _left(trainer: Any, heard: Sequence[torch.Tensor] = ()) -> Left:
    untimed = ("runtime", "samples_per_second", "steps_per_second")
    logs = [{k: v for k, v in one.items() if not k.endswith(untimed)} for one in trainer.state.log_history]
    weights = {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
    return Left(weights, torch.stack([*heard, torch.zeros(())]), repr(logs), random_state())


def _trained(case: str, bert: Path, folder: Path, **watched: Any) -> tuple[Left, Any]:
    """Train; return what is left, and the watch."""
    seed_all()
    torch._dynamo.reset()
    trainer = (CASES | WAYS)[case](bert, folder / "out")
    inner, heard = trainer.training_step, []

    def step(*args: Any, **kwargs: Any) -> torch.Tensor:
        # So that a draw of ours from any of the three generators would change a loss.
        heard.append(inner(*args, **kwargs) + torch.rand(()) + np.random.rand() + random.random())
        return heard[-1].clone()

    trainer.training_step = step
    seed_all()
    watching = watch(trainer, **watched) if watched else None
    trainer.train()
    steps = STEPS if case in CASES else FEW
    assert trainer.state.global_step == steps and len(heard) >= steps
    return _left(trainer, heard), watching


@pytest.fixture(scope="module")
def unwatched(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Left]:
    """What each training leaves without a watch, trained once."""
    known: dict[str, Left] = {}

    def get(case: str) -> Left:
        if case not in known:
            known[case], _ = _trained(case, small, tmp_path_factory.mktemp("plain"))
        return known[case]

    return get


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("case", [*CASES, *WAYS])
def test_a_watch_changes_no_bit(case: str, small: Path, unwatched: Any, tmp_path: Path) -> None:
    if case == "PEFT" and importlib.util.find_spec("peft") is None:
        pytest.skip("peft is not installed")
    watched, watching = _trained(case, small, tmp_path, run=tmp_path / "run")
    unwatched(case).assert_equal(watched)
    assert Run.load(watching.run).status == "completed"
    assert all(torch.isfinite(torch.tensor(value)) for value in _heard(watching))


@pytest.mark.parametrize(
    "draw", [lambda: torch.rand(1), np.random.rand, random.random], ids=["torch", "numpy", "python"]
)
def test_the_comparison_sees_a_single_random_number(draw: Any, tmp_path: Path) -> None:
    trainer = hf_trainer(tmp_path)
    seed_all()
    before = _left(trainer)
    before.assert_equal(_left(trainer))
    draw()
    with pytest.raises(AssertionError):
        before.assert_equal(_left(trainer))


def _heard(watching: Any) -> list[float]:
    # Vectors cut to some columns have unit length, and no norms are read of them.
    streams = [one for name, one in watching.recorder.streams.items() if one.steps and "@" not in name]
    assert {one.stream for one in streams} & {"query", "left"}
    return [watching.live.series(f"{one.stream}/norm_mean").values[-1] for one in streams]


ALIKE = {"CosineSimilarityLoss", "bf16", "transformers, bf16", "transformers, accumulation"}
"""What is listened to in the same places as in another case: probes raise there."""


@pytest.mark.parametrize("case", [case for case in CASES if case not in ALIKE])
def test_probes_that_all_raise_change_no_bit(
    case: str, small: Path, unwatched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = unwatched(case)
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")
    run, tried = Containment.run, set()

    def raising(self: Containment, probe: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        if probe in ("beginning", "listening", "end", "closing", "training"):
            return run(self, probe, function, *args, **kwargs)
        tried.add(probe)
        return run(self, probe, _broken)

    monkeypatch.setattr(Containment, "run", raising)
    with pytest.warns(RuntimeWarning, match="training goes on") as warned:
        broken, watching = _trained(case, small, tmp_path, run=tmp_path / "run")
    plain.assert_equal(broken)
    assert len([one for one in warned if "collapse-probe" in str(one.message)]) == 1
    failed = [one["what"] for one in diagnose(watching.run).errors]
    assert sorted(failed) == sorted(tried) and len(tried) > 5


def _broken() -> None:
    raise ValueError("a probe of ours is broken")
