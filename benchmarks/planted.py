"""Nine mistakes of a first afternoon, planted in trainings of real vectors: what is named by step 20.

    python benchmarks/planted.py [--steps 20] [--seed 0]

Every training stops after so many steps and is judged then, as it would be by somebody who looks. The last line is of
the same training without a mistake.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import torch
from _common import SHARED, table
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

import collapse_probe

sys.path.append(str(Path(__file__).parent / "collapsebench"))
from worlds import World, world

BATCH = 64


class Head(nn.Module):
    """A residual head over frozen vectors; the second layer begins near zero, as adapters do."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.normal_(self.second.weight, std=0.01)

    def forward(self, z: Tensor) -> Tensor:
        return normalize(z + self.second(self.first(z).tanh()), dim=1)


class Tokens(nn.Module):
    """An encoder of words hashed into a table, pooled by a mask, trained from a random start."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.table, self.out, self.masked = nn.Embedding(4096, 128), nn.Linear(128, 128), masked

    def forward(self, ids: Tensor) -> Tensor:
        mask = torch.zeros_like(ids) if self.masked else (ids > 0).long()
        pooled = (self.table(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return self.out(pooled)


def softmax(query: Tensor, document: Tensor, temperature: float = 0.05) -> Tensor:
    """Return the in-batch softmax loss."""
    scores = normalize(query, dim=1) @ normalize(document, dim=1).T
    return cross_entropy(scores / temperature, torch.arange(len(query)))


def train(
    of: World,
    run: str,
    *,
    steps: int,
    seed: int,
    rate: float = 1e-3,
    shift: int = 0,
    loss: Callable[[Tensor, Tensor], Tensor] = softmax,
    model: nn.Module | None = None,
    trained: Callable[[nn.Module], list[nn.Parameter]] | None = None,
    served: Callable[[nn.Module, Tensor], Tensor] | None = None,
    autocast: torch.dtype | None = None,
    texts: tuple[Tensor, Tensor] | None = None,
) -> collapse_probe.Diagnosis:
    """Train some steps with what is planted, watched, and return the diagnosis."""
    torch.manual_seed(seed)
    model = model or Head(of.dimension)
    query, document = texts or (of.query, of.document)
    held_out = of.reference if texts is None else (query[-300:], document[-300:])
    document = document.roll(shift, dims=0)
    optimizer = torch.optim.AdamW(trained(model) if trained else model.parameters(), lr=rate)
    kind = next(model.parameters()).dtype

    def through(z: Tensor) -> Tensor:
        found = model(z if z.dtype == torch.long else z.to(kind))
        return found if served is None else served(model, found)

    watch = collapse_probe.watch(
        model,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: (through(held_out[0]), through(held_out[1])),
        raw=None if texts is not None else (lambda: held_out),
        run=run,
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(query) - 300, (BATCH,), generator=generator)
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            value = loss(through(query[rows]), through(document[rows]))
        watch.terms(loss=value)
        if value.requires_grad:
            value.backward()
        optimizer.step()
        optimizer.zero_grad()
    watch.close()
    return collapse_probe.diagnose(watch)


def words(of: World) -> tuple[Tensor, Tensor]:
    """Return the first 24 words of every text as numbers of a table, 0 where there is none."""
    ids = [[[1 + sum(word.encode()) * 31 % 4095 for word in text.split()[:24]] for text in side] for side in of.texts]
    return tuple(torch.tensor([row + [0] * (24 - len(row)) for row in side]) for side in ids)  # type: ignore[return-value]


def without_stop(width: int) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    """Return a head with a predictor, and its loss without the stop-gradient that keeps it from a single point."""
    head = Head(width)
    head.predictor = nn.Linear(width, width)

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return -cosine_similarity(head.predictor(query), document, dim=1).mean()

    return head, loss


def planted(of: World) -> dict[str, tuple[dict, tuple[str, ...], str]]:
    """Return what is planted: arguments of a training, what is a right answer, and when it can be known.

    A right answer is the first cause that is named, or words of the first screen where no cause can be told: what is
    left out may be meant to be, and of vectors that are one from the first batch on no reading says which part lost the
    text.
    """
    head, pulls = without_stop(of.dimension)
    half = Head(of.dimension).to(torch.bfloat16)
    return {
        "parameters missing from the optimiser": (
            {"trained": lambda m: list(m.first.parameters())},
            ("no optimiser holds them",),
            "first step",
        ),
        "a detached head": ({"loss": lambda q, d: softmax(q.detach(), d.detach())}, ("not_trained",), "first step"),
        "learning rate 0": ({"rate": 0.0}, ("not_trained", "steps_too_small"), "first step"),
        "pairs shifted by one row": ({"shift": 1}, ("wrong_pairs",), "first batches"),
        "an attention mask of zeros": (
            {"model": Tokens(masked=True), "texts": words(of)},
            ("embeddings are equal at step 0",),
            "first batch",
        ),
        "a stop-gradient forgotten": (
            {"model": head, "loss": pulls, "rate": 1e-2},
            ("no_repulsion", "self_distillation"),
            "once it moves",
        ),
        "a temperature of 10": (
            {"loss": lambda q, d: softmax(q, d, 10.0)},
            ("temperature_or_margin",),
            "first batches",
        ),
        "an overflow of float16": (
            {"loss": lambda q, d: softmax(q * 3e4, d * 3e4) + (q.half() * 3e4).square().mean().float()},
            ("half_precision", "loss_computed_wrongly", "steps_too_large"),
            "first step",
        ),
        "updates below half an ulp in bfloat16": ({"model": half, "rate": 1e-6}, ("half_precision",), "first steps"),
        "nothing": ({}, (), ""),
    }


@click.command()
@click.option("--steps", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(steps: int, seed: int) -> None:
    """Print what is named."""
    if not SHARED.is_dir():
        raise SystemExit("the folder of real vectors is not beside the repository")
    of, rows = world("minilm/medquad/scifact"), []
    for name, (given, right, known) in planted(copy.copy(of)).items():
        with tempfile.TemporaryDirectory() as folder:
            found = train(of, f"{folder}/run", steps=steps, seed=seed, **given)
        causes = [one.cause for one in found.causes]
        said = " ".join(found.summary.split())
        named = any(one in said or one in causes[:1] for one in right) if right else not found.kinds
        kinds = ", ".join(dict.fromkeys(one.kind for one in found.kinds)) or "-"
        rows.append([name, known, found.status.value, kinds, ", ".join(causes) or "-", "yes" if named else "no"])
    print(table(["planted", "can be known", f"status at step {steps}", "kinds", "causes", "right"], rows))


if __name__ == "__main__":
    main()
