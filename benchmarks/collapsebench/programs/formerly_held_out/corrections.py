"""Adapters, corrections and gates; codes that saturate."""

from __future__ import annotations

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

import collapse_probe

from ..parts import cosines, identity
from .common import MPNET, NFCORPUS, Adapted, in_batch, numbered, planted, scored, watched


class Gate(nn.Module):
    """A sigmoid for each dimension, half open at first."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(dimension))

    def forward(self) -> Tensor:
        """Return how far it is open."""
        return self.logit.sigmoid()


class Gated(nn.Module):
    """Adds to a vector a gated correction."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.adapter = Adapted(dimension).adapter
        self.gate = Gate(dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return x and what the gate lets through."""
        return x + self.gate() * self.adapter(x)


@planted("identity", "not_trained", source="adapter-hub/adapters#260", world=NFCORPUS)
def adapter_added_after_optimizer(run: Run, *, right: bool = False) -> None:
    """A residual adapter of the query is put into the model when the optimiser is there already."""
    dimension = run.world.dimension
    model = nn.ModuleDict({"temperature": nn.ParameterList([torch.tensor(3.0)])})
    adapter = Adapted(dimension)
    if right:
        model["adapted"] = adapter
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model["adapted"] = adapter
    tap = collapse_probe.Tap(stream="correction", at="adapted.adapter", role="correction")
    with watched(run, model, optimizer=opt, query="adapted", taps=[tap]) as w:
        scored(run, 0, adapter, nn.Identity(), told=w)
        for rows in run.batches(300, 64):
            q, d = adapter(run.world.query[rows]), run.world.document[rows]
            w.observe("document", d)
            loss = in_batch(q, d, model["temperature"][0].exp())
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            model.zero_grad()
        scored(run, 300, adapter, nn.Identity(), told=w)


@planted("delta_collapse", "penalty_too_strong", source="diagnosis.md section 4, the founding case")
def decayed_delta(run: Run, *, right: bool = False) -> None:
    """A residual adapter of both sides with its own group in the optimiser."""
    model = Adapted(run.world.dimension, 128, zero=False)
    decay = 1e-2 if right else 100.0
    opt = torch.optim.AdamW([{"params": model.adapter.parameters(), "weight_decay": decay}], lr=5e-4)
    tap = collapse_probe.Tap(stream="delta", at="adapter", role="correction")
    with watched(run, model, optimizer=opt, taps=[tap], reference=lambda: tuple(map(model, run.world.reference))) as w:
        scored(run, 0, model)
        for _, rows in numbered(run, 300, 64):
            opt.zero_grad()
            loss = in_batch(model(run.world.query[rows]), model(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
        scored(run, 300, model)


@planted("gate_collapse", "penalty_too_strong", source="qdrant/demo-cloud-faq#1", world=MPNET)
def gate_under_a_budget(run: Run, *, right: bool = False) -> None:
    """A gated adapter that starts half open, with a price on the gate."""
    model = Gated(run.world.dimension)
    opt = torch.optim.Adam(
        [{"params": model.adapter.parameters()}, {"params": model.gate.parameters(), "lr": 0.1}], lr=1e-3
    )
    price = 0.0 if right else 3.0
    taps = [
        collapse_probe.Tap(stream="gate", at="gate", role="gate"),
        collapse_probe.Tap(stream="delta", at="adapter", role="correction"),
    ]
    with watched(run, model, optimizer=opt, taps=taps) as w:
        scored(run, 0, model, told=w)
        for rows in run.batches(300, 64):
            contrast = in_batch(model(run.world.query[rows]), model(run.world.document[rows]))
            sparse = price * model.gate().mean()
            w.terms({"contrast": contrast, "gate": sparse})
            (contrast + sparse).backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, model, told=w)


@planted("gate_never_opened", "not_trained", source="trainers-in-the-wild.md, llama-index; two zero factors")
def two_zero_factors(run: Run, *, right: bool = False) -> None:
    """A residual weight that starts at 0, before a network whose last layer starts at 0 or does not."""
    model = Adapted(run.world.dimension, 128, gate=0.0, zero=not right)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    taps = [
        collapse_probe.Tap(stream="gate", at="gate", role="gate"),
        collapse_probe.Tap(stream="delta", at="adapter", role="correction"),
    ]
    with watched(run, model, optimizer=opt, taps=taps, examples=9000) as w:
        scored(run, 0, model, told=w)
        for rows in run.batches(300, 64):
            opt.zero_grad()
            loss = in_batch(model(run.world.query[rows]), model(run.world.document[rows]))
            w.terms(infonce=loss)
            loss.backward()
            opt.step()
        scored(run, 300, model, told=w)


@planted("constant_correction", "dead_units", source="diagnosis.md section 3", world=NFCORPUS)
def corrected_by_its_bias(run: Run, *, right: bool = False) -> None:
    """A query corrector whose rectified layer starts with a bias of -1, or of 0."""
    dimension = run.world.dimension
    layers = nn.Sequential(nn.Linear(dimension, 256), nn.ReLU(), nn.Linear(256, dimension))
    nn.init.constant_(layers[0].bias, 0.0 if right else -1.0)
    opt = torch.optim.AdamW(layers.parameters(), lr=1e-3)

    def served(x: Tensor) -> Tensor:
        return x + 0.5 * layers(x)

    reference = run.world.reference
    with watched(run, layers, optimizer=opt, reference=lambda: (served(reference[0]), reference[1])) as w:
        scored(run, 0, served, nn.Identity(), told=w)
        for rows in run.batches(300, 64):
            x, d = run.world.query[rows], run.world.document[rows]
            correction = layers(x)
            q = x + 0.5 * correction
            w.observe("correction", correction, role="correction")
            w.observe("query", q)
            w.observe("document", d)
            loss = in_batch(q, d)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, served, nn.Identity(), told=w)


@planted("harmful_correction", "random_head", source="ioanacroi/qb-norm#4; with and without were never compared")
def correction_of_the_query(run: Run, *, right: bool = False) -> None:
    """What a network makes of the query is added to it, times 4; its last layer starts at random, or at zero."""
    model = Adapted(run.world.dimension, 256, gate=4.0, zero=right)
    model.gate.requires_grad_(False)
    opt = torch.optim.AdamW(model.adapter.parameters(), lr=5e-6)
    tap = collapse_probe.Tap(stream="correction", at="adapter", role="correction")
    query, document = run.world.query, run.world.document
    with watched(run, model, optimizer=opt, query="", taps=[tap]) as w:
        scored(run, 0, model, nn.Identity(), told=w)
        for step, rows in numbered(run, 300, 64):
            q, d = model(query[rows]), document[rows]
            w.observe("document", d)
            loss = in_batch(q, d)
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                scored(run, step, model, nn.Identity(), told=w)


@planted("saturation", "steps_too_large", source="jiangqy/DPSH-pytorch#10")
def bounded_codes(run: Run, *, right: bool = False) -> None:
    """A map that ends with tanh, so that its codes can be cut to bits later."""
    net = nn.Sequential(identity(run.world.dimension), nn.Tanh())
    opt = torch.optim.RMSprop(net.parameters(), lr=1e-4 if right else 1.0)
    with watched(run, net, optimizer=opt, raw=lambda: run.world.reference) as w:
        scored(run, 0, net)
        for rows in run.batches(300, 64):
            scores = cosines(net(run.world.query[rows]), net(run.world.document[rows]))
            weight = torch.eye(64) * 62 + 1
            loss = functional.binary_cross_entropy_with_logits(20 * scores - 8, torch.eye(64), weight=weight)
            w.terms(likelihood=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, net)
