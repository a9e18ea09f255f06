"""Numbers that are too small for their type, that are not finite, or that a bound holds."""

from __future__ import annotations

import math

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, mlp, softmax
from .common import FOOD, GROUP, MINI


class HalfHead(nn.Module):
    """A head whose weights have a half type, between vectors of single precision."""

    def __init__(self, dimension: int, kind: torch.dtype) -> None:
        super().__init__()
        self.net = mlp(dimension).to(kind)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors in single precision."""
        return self.net(x.to(self.net[0].weight.dtype)).float()


@program(
    GROUP,
    "underflow",
    "half_precision",
    onset=1,
    world=MINI,
    source="section 3, underflow; a model loaded in bfloat16 and trained as it is",
)
def loaded_and_trained_in_bfloat16(run: Run, *, planted: bool = True) -> None:
    """A head of random weights was loaded in bfloat16 to save memory, and AdamW trains it so at 1e-5."""
    head = HalfHead(run.world.dimension, torch.bfloat16 if planted else torch.float32)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-5, weight_decay=0.01)
    run.train(Towers(head), lambda q, d: softmax(q, d, scale=50.0), optimizer=optimizer, steps=200)


@program(
    GROUP,
    "divergence",
    "half_precision",
    onset=1,
    world=MINI,
    source="FlagOpen/FlagEmbedding#1370: float16 alone",
)
def adam_in_float16(run: Run, *, planted: bool = True) -> None:
    """Weights and Adam's moments are float16: squared gradients and eps of 1e-8 are both 0 there."""
    head = HalfHead(run.world.dimension, torch.float16 if planted else torch.float32)
    run.train(Towers(head), softmax, optimizer=torch.optim.Adam(head.parameters(), lr=1e-4), steps=60)


@program(
    GROUP,
    "divergence",
    "loss_computed_wrongly",
    "temperature_or_margin",
    onset=200,
    world=MINI,
    source="HobbitLong/SupContrast#141: a division by 0, here of a schedule that ends too early",
)
def temperature_schedule_ends_at_nought(run: Run, *, planted: bool = True) -> None:
    """A temperature falls linearly from .1 to 0 in 200 steps: all steps there were, until training was prolonged."""
    done = [0]

    def loss(query: Tensor, document: Tensor) -> Tensor:
        done[0] += 1
        temperature = 0.1 * max(0.0, 1 - done[0] / (200 if planted else 300))
        if not planted:
            temperature = max(temperature, 0.02)
        scores = cosines(query, document) / torch.tensor(temperature)
        return functional.cross_entropy(scores, torch.arange(len(query)))

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4, steps=260)


@program(
    GROUP,
    "divergence",
    "loss_computed_wrongly",
    onset=1,
    world=MINI,
    source="HobbitLong/SupContrast#141; a square root of 0 on a diagonal",
)
def root_of_the_distance_to_itself(run: Run, *, planted: bool = True) -> None:
    """A spreading term takes roots of all squared distances of a batch, each text's to itself among them."""

    def loss(query: Tensor, document: Tensor) -> dict[str, Tensor]:
        z = functional.normalize(document, dim=1)
        squared = (z[:, None] - z[None]).square().sum(dim=2)
        distance = squared.sqrt() if planted else (squared + 1e-6).sqrt()
        return {"contrast": softmax(query, document), "spread": 0.1 * functional.relu(1.2 - distance).mean()}

    run.train(Towers(identity(run.world.dimension)), loss, lr=1e-4, steps=120, batch=48)


class Hash(nn.Module):
    """Codes between -1 and 1, ever sharper as training goes on."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layer, self.act = identity(dimension), nn.Tanh()
        self.sharpness = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return codes."""
        return self.act(self.sharpness * self.layer(x) * math.sqrt(x.shape[1]) / 3)


@program(
    GROUP,
    "saturation",
    "temperature_or_margin",
    onset=60,
    world=MINI,
    source="jiangqy/DPSH-pytorch#10; continuation of a tanh whose steps are counted in batches",
)
def sharpness_grows_by_batches(run: Run, *, planted: bool = True) -> None:
    """A hash head's tanh gets sharper by half every 20 batches, which were to be every 20 epochs."""
    head = Hash(run.world.dimension)

    def sharpen(step: int, optimizer: torch.optim.Optimizer) -> None:
        if planted and step % 20 == 0:
            head.sharpness *= 1.5

    run.train(Towers(head), softmax, lr=1e-3, steps=300, before_step=sharpen, evaluations=5)


@program(
    GROUP,
    "forgetting",
    "steps_too_large",
    "random_head",
    onset=1,
    world=(MINI, FOOD),
    source="jiangqy/DPSH-pytorch#10",
)
def tanh_head_at_a_high_rate(run: Run, *, planted: bool = True) -> None:
    """A random layer with a tanh at its end, by Adam at .05."""
    head = nn.Sequential(nn.Linear(run.world.dimension, run.world.dimension), nn.Tanh())
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05 if planted else 5e-4)
    run.train(Towers(head), softmax, optimizer=optimizer, steps=200)
