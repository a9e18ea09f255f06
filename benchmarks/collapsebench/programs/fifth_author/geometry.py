"""Vectors that end as one point, in one direction, in few directions, or with one side left out."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from .common import GROUP, MED, MED_LARGE, NF, SCI, BiEncoder, info_nce, square, unit


class Swapped(nn.Module):
    """Swapped prediction: what a text is assigned to is predicted from its partner."""

    def __init__(self, width: int, prototypes: int, rounds: int) -> None:
        super().__init__()
        self.prototypes = nn.Linear(width, prototypes, bias=False)
        self.rounds = rounds

    @torch.no_grad()
    def assign(self, scores: Tensor) -> Tensor:
        """Return soft assignments, evened out over the prototypes by alternate scaling."""
        q = (scores / 0.05).exp()
        for _ in range(self.rounds):
            q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
            q = q / q.sum(dim=1, keepdim=True) / q.shape[0]
        return q / q.sum(dim=1, keepdim=True)

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the mean of both directions."""
        with torch.no_grad():
            self.prototypes.weight.copy_(unit(self.prototypes.weight))
        s1, s2 = self.prototypes(unit(z1)), self.prototypes(unit(z2))
        one = -(self.assign(s1) * (s2 / 0.1).log_softmax(dim=1)).sum(dim=1).mean()
        two = -(self.assign(s2) * (s1 / 0.1).log_softmax(dim=1)).sum(dim=1).mean()
        return (one + two) / 2


@program(
    GROUP,
    "complete_collapse",
    "self_distillation",
    "no_repulsion",
    "loss_computed_wrongly",
    onset=1,
    world=(MED, SCI),
    source="facebookresearch/swav: assignments that are not evened out",
)
def assignments_without_a_round_of_scaling(run: Run, *, planted: bool = True) -> None:
    """The number of scaling rounds of the assignments comes from a config that lacks it, and is 0."""
    dim = run.world.dimension
    trunk = nn.Sequential(nn.Linear(dim, 512), nn.ReLU(), nn.Linear(512, 128))
    criterion = Swapped(128, 128, rounds=0 if planted else 3)
    opt = torch.optim.Adam([*trunk.parameters(), *criterion.parameters()], lr=1e-3)
    with run.watch(trunk, optimizer=opt, loss=criterion) as w:
        run.evaluate(w, 0, trunk, trunk)
        for it, rows in enumerate(run.batches(300, 128), 1):
            loss = criterion(trunk(run.world.query[rows]), trunk(run.world.document[rows]))
            opt.zero_grad()
            loss.backward()
            opt.step()
            if it % 75 == 0:
                run.evaluate(w, it, trunk, trunk)


@program(
    GROUP,
    "cone",
    "no_repulsion",
    "loss_computed_wrongly",
    onset=1,
    world=(MED, MED_LARGE),
    source="label_smoothing of a confidence",
)
def confidence_given_as_smoothing(run: Run, *, planted: bool = True) -> None:
    """A confidence of .9 in the labels is handed to ``label_smoothing``, which wants the rest to 1."""
    smoothing = 0.9 if planted else 0.1
    head = square(run.world.dimension)

    def loss(q: Tensor, d: Tensor) -> Tensor:
        return functional.cross_entropy(20 * unit(q) @ unit(d).T, torch.arange(len(q)), label_smoothing=smoothing)

    run.train(Towers(head), loss, lr=1e-3, steps=300)


class AlignUniform(nn.Module):
    """Alignment and uniformity on the unit sphere."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return both terms."""
        x, y = unit(x), unit(y)
        spread = [torch.pdist(one).square().mul(-2).exp().mean().log() for one in (x, y)]
        return {"align": (x - y).norm(dim=1).square().mean(), "uniform": self.sign * sum(spread) / 2}


@program(
    GROUP,
    "complete_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=1,
    world=(MED, SCI),
    source="own: a loss that is reported as a gain",
)
def uniformity_as_a_gain(run: Run, *, planted: bool = True) -> None:
    """Uniformity is logged as a gain, so it got a minus; the minus stands in what is minimised, too."""
    net = nn.Sequential(nn.Linear(run.world.dimension, 256), nn.SiLU(), square(256))
    objective = AlignUniform(-1.0 if planted else 1.0)
    opt = torch.optim.RAdam(net.parameters(), lr=5e-4)
    with run.watch(net, optimizer=opt) as w:
        run.evaluate(w, 0, net, net)
        for it, rows in enumerate(run.batches(250, 64), 1):
            parts = objective(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(parts)
            opt.zero_grad(set_to_none=False)
            (parts["align"] + parts["uniform"]).backward()
            opt.step()
            if it % 50 == 0:
                run.evaluate(w, it, net, net)


class Codebooks(nn.Module):
    """Parts of a vector are each replaced by the nearest of 256 codes; gradients pass straight through."""

    def __init__(self, width: int, part: int = 12, codes: int = 256) -> None:
        super().__init__()
        self.part = part
        self.codes = nn.Parameter(torch.randn(width // part, codes, part))
        self.price = torch.zeros(())

    @torch.no_grad()
    def take(self, x: Tensor) -> None:
        """Start at vectors of the data."""
        chosen = x[torch.randperm(len(x))[: self.codes.shape[1]]]
        self.codes[:, : len(chosen)].copy_(chosen.unflatten(1, (-1, self.part)).transpose(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the coded vectors."""
        parts = x.unflatten(1, (-1, self.part)).transpose(0, 1)
        nearest = torch.cdist(parts.detach(), self.codes.detach()).argmin(dim=2)
        found = torch.gather(self.codes, 1, nearest[..., None].expand(-1, -1, self.part))
        self.price = (found - parts.detach()).square().sum(dim=2).mean() + (
            0.25 * (parts - found.detach()).square().sum(dim=2).mean()
        )
        return (parts + (found - parts).detach()).transpose(0, 1).flatten(1)


@program(
    GROUP,
    "one_sided_collapse",
    "dead_units",
    "random_head",
    onset=0,
    world=(MED, NF),
    source="lucidrains/vector-quantize-pytorch: codebook collapse",
)
def codes_far_from_the_data(run: Run, *, planted: bool = True) -> None:
    """Codebooks for the queries start at deviation 1, far from the data's .05: the codes next to 0 take everything."""
    dim = run.world.dimension
    book = Codebooks(dim)
    model = BiEncoder(nn.Sequential(square(dim), book), square(dim))
    if not planted:
        book.take(run.world.query)
    opt = torch.optim.AdamW(
        [
            {"params": [*model.q_enc[0].parameters(), *model.d_enc.parameters()], "lr": 2e-4},
            {"params": [book.codes], "lr": 1e-3},
        ],
        weight_decay=0,
    )
    with run.watch(
        model,
        optimizer=opt,
        query="q_enc",
        document="d_enc",
        reference=lambda: (model.q_enc(run.world.reference[0]), model.d_enc(run.world.reference[1])),
    ) as w:
        run.evaluate(w, 0, model.q_enc, model.d_enc)
        for it, rows in enumerate(run.batches(250, 64), 1):
            out = model(run.world.query[rows], run.world.document[rows])
            contrast = info_nce(out["q_reps"], out["d_reps"])
            w.terms(contrast=contrast, codes=book.price)
            (contrast + book.price).backward()
            opt.step()
            opt.zero_grad()
            if it % 50 == 0:
                run.evaluate(w, it, model.q_enc, model.d_enc)


@program(
    GROUP,
    "side_gap",
    "false_negatives",
    onset=1,
    world=(MED_LARGE,),
    source="mlfoundations/open_clip#821; google-research/big_vision: sigmoid loss",
)
def eight_views_of_a_question(run: Run, *, planted: bool = True) -> None:
    """A batch holds eight noisy views of a question; a sigmoid loss takes the document of the other seven for wrong."""
    dim = run.world.dimension
    model = BiEncoder(square(dim), square(dim))
    opt = torch.optim.AdamW(model.parameters(), lr=3e-4)
    noise = torch.Generator().manual_seed(run.seed)
    group = torch.arange(64) // 8
    labels = torch.eye(64) if planted else (group[:, None] == group).float()
    with run.watch(model, optimizer=opt, query="q_enc", document="d_enc") as w:
        run.evaluate(w, 0, model.q_enc, model.d_enc)
        for it, rows in enumerate(run.batches(300, 8), 1):
            rows = rows.repeat_interleave(8)
            kept = torch.rand(64, dim, generator=noise) > 0.2
            out = model(run.world.query[rows] * kept, run.world.document[rows])
            logits = 10 * unit(out["q_reps"]) @ unit(out["d_reps"]).T - 5
            loss = -functional.logsigmoid((2 * labels - 1) * logits).sum(dim=1).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            if it % 75 == 0:
                run.evaluate(w, it, model.q_enc, model.d_enc)


def _off_diagonal(c: Tensor) -> Tensor:
    return c.flatten()[:-1].view(len(c) - 1, len(c) + 1)[:, 1:]


@program(
    GROUP,
    "dimensional_collapse",
    "loss_computed_wrongly",
    onset=1,
    world=(MED, SCI),
    source="facebookresearch/barlowtwins: one line made of two",
)
def every_correlation_towards_one(run: Run, *, planted: bool = True) -> None:
    """Barlow Twins in one line: the 1 is taken off the whole matrix, so dimensions are to be equal, not independent."""
    dim = run.world.dimension
    trunk = nn.Sequential(nn.Linear(dim, 384), nn.LeakyReLU(), nn.Linear(384, 256))

    def loss(q: Tensor, d: Tensor) -> Tensor:
        c = ((q - q.mean(0)) / (q.std(0) + 1e-6)).T @ ((d - d.mean(0)) / (d.std(0) + 1e-6)) / len(q)
        if planted:
            off = _off_diagonal((c - 1).square()).sum()
            return 0.01 * ((c - 1).diagonal().square().sum() + 0.02 * off)
        return 0.01 * ((c.diagonal() - 1).square().sum() + 0.02 * _off_diagonal(c).square().sum())

    run.train(Towers(trunk), loss, lr=5e-4, steps=300, batch=128)


@program(
    GROUP,
    "dead_dimensions",
    "dead_units",
    "steps_too_large",
    onset=1,
    world=(MED, MED_LARGE),
    source="lucidrains/byol-pytorch#44: a rate for LARS",
)
def one_cycle_of_another_optimiser(run: Run, *, planted: bool = True) -> None:
    """A one-cycle schedule up to a rate of SGD drives Adam; codes are rectified, and most of them never fire again."""
    dim = run.world.dimension
    coder = nn.Sequential(nn.Linear(dim, 512), nn.ReLU())
    opt = torch.optim.Adam(coder.parameters(), lr=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.3 if planted else 1e-3, total_steps=301)

    def advance(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step > 1:
            cycle.step()

    run.train(Towers(coder), lambda q, d: info_nce(q, d, 0.1), optimizer=opt, before_step=advance, steps=300)
