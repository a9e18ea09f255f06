"""The whole public face as a user writes it; checked by a type checker, never run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, assert_type

import torch
from torch import Tensor, nn

import collapse_probe
from collapse_probe import LightningCallback, Run, Tap, Watch, WatchCallback, added, call, input, item, output, respred


def plain_loop(model: nn.Module, held_out: tuple[Tensor, Tensor], loader: Iterable[tuple[Tensor, Tensor]]) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    with collapse_probe.watch(
        model,
        optimizer=optimizer,
        query="tower",
        document="tower",
        reference=lambda: held_out,
        raw=lambda: held_out,
        run="runs/mine",
        similarity="dot",
        trained_by="cosine",
        examples=1000,
        every=10,
        reference_every=None,
        on_collapse="warn",
    ) as w:
        assert_type(w, Watch)
        for query, document in loader:
            terms = {"infonce": query.mean(), "spread": 0.1 * document.mean()}
            w.observe("query", query)
            w.observe("served", query, role="served")
            w.terms(terms, weights={"spread": 0.1})
            w.terms(total=query.sum(), infonce=query.mean())
            w.monitor(size=query.norm())
            w.monitor({"temperature": 0.05})
            w.step()
            w.window(epoch=1)
            w.evaluation("scifact", {"mrr": 0.5}, per_query={"mrr": {"1": 0.5}}, domain="out", variant="raw", step=0)
            assert_type(w.stop, bool)
    assert_type(w.run, Path | None)
    w.close()


def taps(adapter: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    chosen = [
        Tap(stream="correction", at="", take=added, role="correction"),
        Tap(stream="gate", at="residual_weight", role="gate"),
        Tap(stream="before", at=adapter, take=input),
        Tap(stream="second", at="layer.*", take=call(1, output)),
        Tap(stream="entry", at="", take=item("delta")),
        Tap(stream="by_hand"),
    ]
    collapse_probe.watch(
        adapter, optimizer=optimizers, taps=chosen, run=False, on_collapse=lambda finding: print(finding)
    )


def trainers(trainer: object, loss: nn.Module) -> None:
    assert_type(collapse_probe.watch(trainer, run=Path("runs/st"), baseline=True), Watch)
    assert_type(LightningCallback(run="runs/mine", every=5, on_collapse="stop").watch, Watch | None)
    callback = WatchCallback(run="runs/mine", loss=loss, evaluator=None)
    mine: Watch = callback.watch
    mine.close()
    with collapse_probe.autolog(run="runs/auto", on_collapse="stop"):
        pass
    collapse_probe.autolog().close()


def finished() -> None:
    found = collapse_probe.examine(
        "base", Path("checkpoints"), collections=["scifact"], pairs="dev.jsonl", run="runs/x"
    )
    assert_type(found.run, Path)
    assert_type(found.exit_code, int)
    assert_type(collapse_probe.diagnose(found).summary, str)


def before(loss: nn.Module, model: nn.Module, queries: Tensor, documents: Tensor) -> None:
    found = collapse_probe.preflight(loss, queries, documents, model=model, similarity="dot")
    assert_type(found.exit_code, int)
    collapse_probe.preflight(lambda q, d: {"pull": (q - d).square().mean()}, queries, documents)


def train(configuration: dict[str, Any], watch_folder: Path) -> None:
    with collapse_probe.watch(nn.Linear(2, 2), run=watch_folder):
        torch.manual_seed(configuration["seed"])


def ablations() -> None:
    base = {"loss": {"temperature": 0.05}, "lr": 1e-3}
    vary = {"loss.temperature": [1.0], "lr": {"steps_too_large": [1e-4]}}
    found = collapse_probe.ablate(train, base, vary=vary, seeds=5, folder="ablations/mine", engine="serial")
    assert_type(found.verdicts, dict[str, dict[str, str]])
    print(found, found.to_dict(), collapse_probe.write_report(found))
    print(collapse_probe.diagnose("runs/mine", ablation=found).causes)


def afterwards() -> None:
    run = Run.load("runs/mine")
    found = collapse_probe.diagnose(run, ignore=["CP411"])
    print(collapse_probe.diagnose("runs/mine"), collapse_probe.diagnose(Path("runs/mine")))
    assert_type(found.exit_code, int)
    assert_type(found.summary, str)
    assert_type([one.kind for one in found.kinds], list[str])
    print(
        found.status == "critical", found.causes, found.findings, found.retrieval, found.not_measured, found.to_dict()
    )
    assert_type(collapse_probe.write_report(run, "reports/mine"), Path)
    collapse_probe.write_report("runs/mine")
    print(
        collapse_probe.compare([run, Run.load("runs/other")]),
        run.status,
        run.steps,
        run.series("query/norm_mean").values,
    )


def on_the_way() -> None:
    assert_type(collapse_probe.interpolate("start", Path("end"), 0.25, "runs/quarter"), Path)


def founding() -> None:
    assert_type(respred.train("respred", pairs="pairs.jsonl", collections=["scifact"], epochs=1), Run)
