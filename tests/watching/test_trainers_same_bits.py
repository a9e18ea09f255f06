"""Training with and without a watch leaves the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Pooling, Router, Transformer
from watching.trainers_support import (
    assert_equal,
    encoder,
    fingerprint,
    hf_trainer,
    pairs,
    search,
    seed_all,
    st_trainer,
)

from collapse_probe.journal import Event, Run
from collapse_probe.recording import Containment
from collapse_probe.watching import watch

Make = Callable[[Path, Path], Any]


def _router(bert: Path, out: Path) -> Any:
    sides = [[Transformer(str(bert)), Pooling(16)] for _ in range(2)]
    router = Router.for_query_document(query_modules=sides[0], document_modules=sides[1])
    model = SentenceTransformer(modules=[router], device="cpu")
    mapping = {"anchor": "query", "positive": "document"}
    return st_trainer(model, losses.MultipleNegativesRankingLoss(model), out, router_mapping=mapping)


def _softmax(bert: Path, out: Path, **arguments: Any) -> Any:
    model = encoder(bert)
    return st_trainer(model, losses.MultipleNegativesRankingLoss(model), out, data=pairs(negatives=True), **arguments)


def _cosine(bert: Path, out: Path) -> Any:
    model = encoder(bert)
    return st_trainer(model, losses.CosineSimilarityLoss(model), out, data=pairs(labels=True))


def _cached(bert: Path, out: Path) -> Any:
    model = encoder(bert)
    loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=3)
    return st_trainer(model, loss, out, gradient_accumulation_steps=2)


def _matryoshka(bert: Path, out: Path) -> Any:
    model = encoder(bert)
    inner = losses.MultipleNegativesRankingLoss(model)
    return st_trainer(model, losses.MatryoshkaLoss(model, inner, [16, 8, 4], n_dims_per_step=2), out)


def _evaluated(bert: Path, out: Path) -> Any:
    return _softmax(bert, out, evaluator=search(), eval_strategy="steps", eval_steps=5, eval_dataset=pairs(16, seed=9))


CASES: dict[str, Make] = {
    "MultipleNegativesRankingLoss": lambda bert, out: _softmax(bert, out, steps=50),
    "CosineSimilarityLoss": _cosine,
    "CachedMultipleNegativesRankingLoss": _cached,
    "MatryoshkaLoss": _matryoshka,
    "Router": _router,
    "accumulation": lambda bert, out: _softmax(bert, out, gradient_accumulation_steps=3),
    "bf16": lambda bert, out: _softmax(bert, out, bf16=True),
    "evaluator": _evaluated,
    "transformers": lambda bert, out: hf_trainer(out, steps=50),
    "transformers, evaluated": lambda bert, out: hf_trainer(
        out, eval_strategy="steps", eval_steps=5, gradient_accumulation_steps=3
    ),
}


def _trained(make: Make, bert: Path, folder: Path, **watched: Any) -> tuple[dict[str, Any], Any]:
    seed_all()
    trainer = make(bert, folder / "out")
    seed_all()
    watching = watch(trainer, **watched) if watched else None
    trainer.train()
    return fingerprint(trainer.model, trainer), watching


@pytest.mark.parametrize("case", CASES)
def test_a_watch_changes_no_bit(case: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")
    plain, _ = _trained(CASES[case], bert, tmp_path)
    watched, watching = _trained(CASES[case], bert, tmp_path, run=tmp_path / "run")
    assert_equal(plain, watched)
    assert Run.load(watching.run).status == "completed"
    assert all(torch.isfinite(torch.tensor(value)) for value in _heard(watching))


def _heard(watching: Any) -> list[float]:
    streams = [one for one in watching.recorder.streams.values() if one.steps]
    assert {one.stream for one in streams} & {"query", "left"}
    return [watching.live.series(f"{one.stream}/norm_mean").values[-1] for one in streams]


@pytest.mark.parametrize("case", ["MatryoshkaLoss", "CachedMultipleNegativesRankingLoss", "evaluator", "transformers"])
def test_probes_that_all_raise_change_no_bit(
    case: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT", raising=False)
    plain, _ = _trained(CASES[case], bert, tmp_path)
    run, tried = Containment.run, set()

    def raising(self: Containment, probe: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        if probe in ("beginning", "listening", "end", "closing", "training"):
            return run(self, probe, function, *args, **kwargs)
        tried.add(probe)
        return run(self, probe, _broken)

    monkeypatch.setattr(Containment, "run", raising)
    with pytest.warns(RuntimeWarning, match="training goes on") as warned:
        broken, watching = _trained(CASES[case], bert, tmp_path, run=tmp_path / "run")
    assert_equal(plain, broken)
    assert len([one for one in warned if "collapse-probe" in str(one.message)]) == 1
    failed = {one.subject for one in Run.load(watching.run).of(Event) if one.name == "error"}
    assert failed == tried and len(tried) > 5


def _broken() -> None:
    raise ValueError("a probe of ours is broken")
