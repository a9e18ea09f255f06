"""Adapters, corrections and gates; codes that saturate."""

from __future__ import annotations

import torch
from loop import Run
from torch import nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from ..parts import softmax
from .common import GROUP, MPNET, PREDICTOR, SCIFACT, Hash, LowRank, Predictor, frozen_documents, nothing


@program(GROUP, "identity", "not_trained", onset=0, world=MPNET, source="adapter-hub/adapters#260")
def adapter_made_after_its_optimiser(run: Run, *, planted: bool = True) -> None:
    """An optimiser that was built before the adapter was added, so that it holds the temperature alone."""
    model, scale = LowRank(run.world.dimension), nn.Parameter(torch.tensor(3.0))
    held = [scale] if planted else [scale, *model.up.parameters(), *model.down.parameters()]
    optimizer = torch.optim.AdamW(held, lr=1e-3)
    taps = [Tap(stream="adapter", at="up", role="correction")]
    with run.watch(model, optimizer=optimizer, query="", document="", taps=taps) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            loss = softmax(model(run.world.query[rows]), model(run.world.document[rows]), scale=scale.exp())
            loss.backward()
            optimizer.step()
            model.zero_grad()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


@program(GROUP, "delta_collapse", "penalty_too_strong", onset=1, source="section 3: which of the two factors vanished")
def correction_penalised_away(run: Run, *, planted: bool = True) -> None:
    """A correction of the query whose squared norm is penalised 100 times too much; its gate is fixed."""
    head = Predictor(run.world.dimension, gate=0.5)
    head.gate.requires_grad_(False)
    optimizer = torch.optim.AdamW(head.net.parameters(), lr=1e-3)
    weight = 100.0 if planted else 0.1
    frozen_documents(
        run, head, optimizer, penalty=lambda query: weight * head.net(query).square().sum(dim=1).mean(), scale=20.0
    )


@program(GROUP, "gate_collapse", "penalty_too_strong", onset=1, source="qdrant/demo-cloud-faq#1")
def gate_decayed_to_nothing(run: Run, *, planted: bool = True) -> None:
    """A gate that starts open, with a penalty of its own that was meant to keep it small."""
    head = Predictor(run.world.dimension, gate=0.5)
    groups = [{"params": head.net.parameters(), "lr": 1e-4}, {"params": [head.gate], "lr": 1e-2}]
    weight = 30.0 if planted else 0.01
    frozen_documents(
        run, head, torch.optim.AdamW(groups, weight_decay=0.0), penalty=lambda query: weight * head.gate.abs()
    )


@program(GROUP, "gate_never_opened", "not_trained", onset=0, source="section 3: a gate at 0")
def both_factors_start_at_zero(run: Run, *, planted: bool = True) -> None:
    """A gate at 0 before a last layer at 0: neither factor lets a gradient reach the other."""
    head = Predictor(run.world.dimension, gate=0.0)
    if planted:
        nn.init.zeros_(head.net[-1].weight)
        nn.init.zeros_(head.net[-1].bias)
    frozen_documents(run, head, torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.0))


@program(GROUP, "constant_correction", "penalty_too_strong", onset=1, source="section 3: constancy")
def decay_spares_the_biases_alone(run: Run, *, planted: bool = True) -> None:
    """Weights decayed at 30 and biases not at all, so that every query is corrected alike."""
    head = Predictor(run.world.dimension, gate=0.5)
    groups = [
        {"params": [one for one in head.net.parameters() if one.ndim > 1], "weight_decay": 30.0 if planted else 0.01},
        {"params": [one for one in head.parameters() if one.ndim < 2], "weight_decay": 0.0},
    ]
    frozen_documents(run, head, torch.optim.AdamW(groups, lr=1e-3))


@program(GROUP, "harmful_correction", "no_repulsion", "steps_too_large", onset=1, world=SCIFACT, source="section 1")
def regressed_on_the_documents(run: Run, *, planted: bool = True) -> None:
    """A correction fitted to the own document's vector alone, by a smooth L1 loss, over a fixed index."""
    head = Predictor(run.world.dimension, gate=1.0)
    nn.init.zeros_(head.net[-1].weight)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    with run.watch(head, optimizer=optimizer, query="", taps=PREDICTOR) as w:
        run.evaluate(w, 0, head, nothing)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            found, document = head(run.world.query[rows]), run.world.document[rows]
            w.observe("document", document)
            loss = 100 * functional.smooth_l1_loss(found, document) if planted else softmax(found, document)
            w.terms(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, nothing)


@program(GROUP, "saturation", "steps_too_large", onset=1, world=MPNET, source="jiangqy/DPSH-pytorch#10")
def hash_head_at_a_high_rate(run: Run, *, planted: bool = True) -> None:
    """A hash head of 128 bits whose rate is 100 times what its tanh bears."""
    head = Hash(run.world.dimension, 128, sharpness=4.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.035 if planted else 3.5e-4)
    with run.watch(head, optimizer=optimizer, taps=[Tap(stream="codes", at="bound", role="hidden")]) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            query, document = head(run.world.query[rows]), head(run.world.document[rows])
            loss = softmax(query, document, scale=10.0)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)
