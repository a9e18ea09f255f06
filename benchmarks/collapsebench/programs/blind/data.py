"""Mistakes of data: too few, too narrow, beside the wrong partner, or taught the wrong way."""

from __future__ import annotations

import torch
from loop import Run
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from .. import program
from .common import CLAIMS, GROUP, LARGE, MINI, Residual, eye_linear, nce


@program(
    GROUP,
    "forgetting",
    "narrow_data",
    "steps_too_large",
    onset=1,
    world=(MINI, CLAIMS),
    source="mertyg/vision-language-models-are-bows#4",
)
def distillation_weight_under_another_name(run: Run, *, planted: bool = True) -> None:
    """A term that holds the encoder's own similarities is configured under a key that nobody reads: its weight is 0."""
    config = {"lr": 3e-3, "distil_weight" if planted else "distill_weight": 100.0}
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config["lr"])
    weight = config.get("distill_weight", 0.0)

    def angles(z: Tensor) -> Tensor:
        z = functional.normalize(z, dim=1)
        return z @ z.T

    with run.watch(
        net,
        optimizer=optimizer,
        reference=lambda: tuple(map(net, run.world.reference)),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(400, 32), start=1):
            raw = torch.cat([run.world.query[idx], run.world.document[idx]])
            new = net(raw)
            terms = {
                "contrast": nce(new[:32], new[32:]),
                "distill": weight * (angles(new) - angles(raw)).square().mean(),
            }
            w.terms(terms)
            sum(terms.values()).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 80 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "overfitting",
    "too_few_pairs",
    "memorised_documents",
    onset=1,
    world=(MINI, LARGE),
    source="gauravchak/two_tower_models#3",
)
def subset_of_the_debugging_session(run: Run, *, planted: bool = True) -> None:
    """A slice of 16 pairs is left from debugging: a residual adapter sees the same full batch 400 times."""
    size = 16
    model = Residual(run.world.dimension, 384)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.2e-3)
    kept = size if planted else len(run.world.query)
    with run.watch(
        model,
        optimizer=optimizer,
        examples=kept,
        reference=lambda: tuple(map(model, run.world.reference)),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, model, model)
        for step, idx in enumerate(run.batches(400, size, rows=kept), start=1):
            q, d = model(run.world.query[idx]), model(run.world.document[idx])
            loss = (nce(q, d, 0.2) + nce(d, q, 0.2)) / 2
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, model, model)


@program(
    GROUP, "mismatched_pairs", "wrong_pairs", onset=141, world=(MINI, LARGE), source="cloneofsimo/lora#197; two loaders"
)
def two_loaders_that_shuffle(run: Run, *, planted: bool = True) -> None:
    """Queries and documents have a loader each; from the second epoch on both shuffle, each by itself."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-4)

    def loaders(epoch: int) -> zip:
        def one(data: Tensor, seed: int) -> DataLoader:
            generator = torch.Generator().manual_seed(seed)
            return DataLoader(data, 64, shuffle=epoch > 0, drop_last=True, generator=generator)

        seed = 1000 * run.seed + epoch
        return zip(one(run.world.query, seed), one(run.world.document, seed + 500 * planted), strict=True)

    step = 0
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for epoch in range(2):
            for q, d in loaders(epoch):
                step += 1
                loss = nce(net(q), net(d))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if step % 70 == 0:
                    run.evaluate(w, step, net, net)
            w.window(epoch=epoch + 1)
        run.evaluate(w, step, net, net)


@program(
    GROUP,
    "false_negatives",
    "false_negatives",
    onset=1,
    world=(MINI, LARGE),
    source="FlagOpen/FlagEmbedding#1400; a memory of documents",
)
def memory_larger_than_the_data(run: Run, *, planted: bool = True) -> None:
    """A memory of 1,600 documents beside 320 pairs: it holds each own document five times, as a negative."""
    pairs, memory_size = 320, 1600
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    memory, owner = torch.empty(0, run.world.dimension), torch.empty(0, dtype=torch.long)
    with run.watch(net, optimizer=optimizer, examples=pairs) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(250, 80, rows=pairs), start=1):
            q, d = (functional.normalize(net(x[idx]), dim=1) for x in (run.world.query, run.world.document))
            old = q @ memory.T
            if not planted:
                old = old.masked_fill(owner[None] == idx[:, None], -1e4)
            scores = torch.cat([q @ d.T, old], dim=1) / 0.05
            loss = functional.cross_entropy(scores, torch.arange(len(idx)))
            w.terms(xbm=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            memory, owner = torch.cat([memory, d.detach()])[-memory_size:], torch.cat([owner, idx])[-memory_size:]
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "loss_against_retrieval",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI, LARGE),
    source="princeton-nlp/SimCSE#62; section 4: the loss is computed wrongly",
)
def own_document_masked_as_itself(run: Run, *, planted: bool = True) -> None:
    """A diagonal is masked as a text's score with itself, where it holds the own document; the next best is taught."""
    net = eye_linear(run.world.dimension)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    itself = torch.eye(64, dtype=torch.bool)
    with run.watch(net, optimizer=optimizer) as w:
        run.evaluate(w, 0, net, net)
        for step, idx in enumerate(run.batches(250, 64), start=1):
            q, d = (functional.normalize(net(x[idx]), dim=1) for x in (run.world.query, run.world.document))
            scores = 20 * q @ d.T
            if planted:
                scores = scores.masked_fill(itself, -1e9)
            best = scores.argmax(dim=1) if planted else torch.arange(64)
            loss = functional.cross_entropy(scores, best)
            w.terms(nearest=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)
