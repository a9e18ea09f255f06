"""Residual corrections, their gates, and adapters that change nothing or change it for the worse."""

from __future__ import annotations

from collections.abc import Callable

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from ..parts import cosines

GROUP = "development"
MINI, MPNET = "minilm/medquad/scifact", "mpnet/medquad/scifact"
SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"
ELSEWHERE = "minilm/medquad/nfcorpus"


def in_batch(query: Tensor, document: Tensor, scale: float = 20.0) -> Tensor:
    """Return the softmax of each query's own document among those of the batch."""
    return functional.cross_entropy(scale * cosines(query, document), torch.arange(len(query)))


class Rewriter(nn.Module):
    """Rewrites a query: it plus ``gate`` times what a network makes of it."""

    def __init__(self, dimension: int, width: int = 256, gate: float = 1.0, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dimension, width), act(), nn.Linear(width, dimension))
        self.gate = nn.Parameter(torch.tensor(gate))

    def forward(self, query: Tensor) -> Tensor:
        """Return the rewritten query."""
        return query + self.gate * self.mlp(query)


TAPS = (Tap(stream="delta", at="mlp", role="correction"), Tap(stream="gate", at="gate", role="gate"))


def rewrite(
    run: Run,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    taps: tuple[Tap, ...] = TAPS,
    loss: Callable[[Tensor, Tensor], Tensor] = in_batch,
    extra: Callable[[Tensor], Tensor] | None = None,
    after: Callable[[], None] | None = None,
    steps: int = 240,
) -> None:
    """Train a rewriter of queries; the documents' vectors are an index that stays."""
    questions, answers = run.world.reference
    with run.watch(
        model, optimizer=optimizer, query="", taps=taps, raw=lambda: (questions, answers),
        reference=lambda: (model(questions), answers),
    ) as w:  # fmt: skip
        run.evaluate(w, 0, model, nn.Identity())
        for step, rows in enumerate(run.batches(steps, 64), start=1):
            x, index = run.world.query[rows], run.world.document[rows]
            rewritten = model(x)
            w.observe("document", index)
            terms = {"ranking": loss(rewritten, index)}
            if extra is not None:
                terms["extra"] = extra(x)
            w.terms(terms)
            optimizer.zero_grad()
            sum(terms.values()).backward()
            optimizer.step()
            if after is not None:
                after()
            if step % 60 == 0:
                run.evaluate(w, step, model, nn.Identity())


class _ScaledLowRank(nn.Module):
    """A frozen map and a low-rank change of it, scaled by alpha over rank."""

    def __init__(self, dimension: int, rank: int, scaling: float) -> None:
        super().__init__()
        self.base = nn.Linear(dimension, dimension, bias=False).requires_grad_(False)
        nn.init.eye_(self.base.weight)
        self.lora_a = nn.Linear(dimension, rank, bias=False)
        self.lora_b = nn.Linear(rank, dimension, bias=False)
        nn.init.zeros_(self.lora_b.weight)
        self.scaling = scaling

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scaling * self.lora_b(self.lora_a(x))


@program(GROUP, "identity", "not_trained", onset=0, world=(MINI,), source="own: alpha // rank; huggingface/trl#386")
def alpha_divided_as_a_whole_number(run: Run, *, planted: bool = True) -> None:
    """A low-rank change scaled by 16 // 32, which is 0: it is in the optimiser, and no gradient ever arrives."""
    alpha, rank = 16, 32
    model = _ScaledLowRank(run.world.dimension, rank, alpha // rank if planted else alpha / rank)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    taps = [Tap(stream="lora", at="lora_b", role="correction")]
    with run.watch(model, optimizer=optimizer, query="", document="", taps=taps) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = in_batch(model(run.world.query[rows]), model(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


@program(
    GROUP,
    "delta_collapse",
    "penalty_too_strong",
    onset=1,
    world=(MINI, SCIFACT),
    source="section 4, the founding case; a sum where a mean was meant",
)
def penalty_summed_over_all(run: Run, *, planted: bool = True) -> None:
    """The squared change of the query is summed over batch and dimensions; the weight is one for a mean of them."""
    model = Rewriter(run.world.dimension, gate=0.5, act=nn.Tanh)
    model.gate.requires_grad_(False)
    reduced = torch.sum if planted else torch.mean
    optimizer = torch.optim.Adam(model.mlp.parameters(), lr=1e-3)
    rewrite(run, model, optimizer, extra=lambda x: reduced(model.mlp(x).square()))


@program(
    GROUP,
    "delta_collapse",
    "penalty_too_strong",
    onset=1,
    world=(ELSEWHERE,),
    source="own: weights cut as those of a critic are",
)
def weights_cut_after_each_step(run: Run, *, planted: bool = True) -> None:
    """Weights are cut to a ten-thousandth after every step, a habit from critics with a Lipschitz bound."""
    model = Rewriter(run.world.dimension, act=nn.ReLU)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-4)
    most = 1e-4 if planted else 1.0

    @torch.no_grad()
    def cut() -> None:
        for one in model.mlp.parameters():
            one.clamp_(-most, most)

    rewrite(run, model, optimizer, after=cut, taps=TAPS[:1])


@program(
    GROUP,
    "gate_collapse",
    "random_head",
    "steps_too_small",
    "steps_too_large",
    onset=1,
    world=(MINI,),
    source="qdrant/demo-cloud-faq#1; a gate that is faster than what it lets through",
)
def gate_shuts_out_a_random_network(run: Run, *, planted: bool = True) -> None:
    """An open gate at .02 and a random network at 1e-6: the gate closes before there is anything to let through."""
    model = Rewriter(run.world.dimension, gate=1.0)
    groups = [
        {"params": model.mlp.parameters(), "lr": 1e-6 if planted else 1e-3},
        {"params": [model.gate], "lr": 0.02 if planted else 1e-3},
    ]
    rewrite(run, model, torch.optim.Adam(groups), steps=240)


@program(
    GROUP,
    "gate_collapse",
    "penalty_too_strong",
    onset=1,
    world=(SCIFACT,),
    source="own: the scalar is in the group that is decayed",
)
def gate_in_the_decayed_group(run: Run, *, planted: bool = True) -> None:
    """A gate for each dimension stands in the group with a decay of 400 that was meant for an embedding table."""

    class Channels(nn.Module):
        def __init__(self, dimension: int) -> None:
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(dimension, 128), nn.GELU(), nn.Linear(128, dimension))
            self.gate = nn.Parameter(torch.full((dimension,), 0.5))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.gate * self.mlp(x)

    model = Channels(run.world.dimension)
    groups = [
        {"params": list(model.mlp.parameters()), "weight_decay": 1e-2},
        {"params": [model.gate], "weight_decay": 400.0 if planted else 0.0},
    ]
    rewrite(run, model, torch.optim.AdamW(groups, lr=1e-3))


@program(
    GROUP,
    "gate_never_opened",
    "not_trained",
    onset=0,
    world=(MINI, SCIFACT),
    source="own: parameter groups by the number of axes; trainers-in-the-wild.md, llama-index",
)
def scalar_in_neither_group(run: Run, *, planted: bool = True) -> None:
    """Matrices go into one group and vectors into another; the gate, at 0, has no axis and goes into neither."""
    model = Rewriter(run.world.dimension, gate=0.0)
    groups = [
        {"params": [one for one in model.parameters() if one.ndim >= 2], "weight_decay": 0.01},
        {"params": [one for one in model.parameters() if one.ndim == 1], "weight_decay": 0.0},
    ]
    if not planted:
        groups.append({"params": [model.gate], "weight_decay": 0.0})
    rewrite(run, model, torch.optim.AdamW(groups, lr=1e-3))


class _Pooled(nn.Module):
    """A context that is pooled from a few views of a query, and mapped to its change."""

    def __init__(self, dimension: int, axis: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(nn.Linear(dimension, 64) for _ in range(4))
        self.mlp = nn.Sequential(nn.GELU(), nn.Linear(64, dimension))
        self.axis = axis

    def forward(self, query: Tensor) -> Tensor:
        views = torch.stack([view(query) for view in self.views], dim=1)
        pooled = views.mean(dim=self.axis, keepdim=True).expand_as(views).mean(dim=1)
        return query + self.mlp(pooled)


@program(
    GROUP,
    "constant_correction",
    "loss_computed_wrongly",
    "batch_dependent_vectors",
    onset=0,
    world=(MINI,),
    source="StarlightSearch/EmbedAnything#210; pooled over the wrong axis",
)
def pooled_over_the_batch(run: Run, *, planted: bool = True) -> None:
    """Views are averaged over the batch's axis in place of their own, so that all queries get one change."""
    model = _Pooled(run.world.dimension, axis=0 if planted else 1)
    rewrite(run, model, torch.optim.AdamW(model.parameters(), lr=1e-3), taps=TAPS[:1])


@program(
    GROUP,
    "constant_correction",
    "penalty_too_strong",
    onset=1,
    world=(MINI,),
    source="own: consistency under noise, priced until nothing of the input is left",
)
def consistent_to_the_end(run: Run, *, planted: bool = True) -> None:
    """What a query's change differs by under noise is priced: at 30,000 all queries are changed alike."""
    model = Rewriter(run.world.dimension, width=128)
    noise = torch.Generator().manual_seed(run.seed)
    weight = 3e4 if planted else 0.3

    def consistency(x: Tensor) -> Tensor:
        moved = x + 0.05 * torch.randn(x.shape, generator=noise)
        return weight * (model.mlp(moved) - model.mlp(x)).square().mean()

    rewrite(run, model, torch.optim.Adam(model.parameters(), lr=1e-3), extra=consistency)


@program(
    GROUP,
    "scale_explosion",
    "steps_too_large",
    onset=1,
    world=(MINI, ELSEWHERE),
    source="lucidrains/byol-pytorch#44, at a corrector",
)
def corrector_at_a_rate_of_a_tenth(run: Run, *, planted: bool = True) -> None:
    """A rectified corrector of the query at Adam's .1."""
    model = Rewriter(run.world.dimension, gate=1.0, act=nn.ReLU)
    model.gate.requires_grad_(False)
    optimizer = torch.optim.Adam(model.mlp.parameters(), lr=0.1 if planted else 1e-3)
    rewrite(run, model, optimizer, taps=TAPS[:1])


@program(
    GROUP,
    "harmful_correction",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI, NFCORPUS),
    source="section 4: a correction's sign",
)
def change_of_the_wrong_sign(run: Run, *, planted: bool = True) -> None:
    """The change is fitted to query minus document, and is added to the query; the twin fits document minus query."""
    model = Rewriter(run.world.dimension)
    nn.init.zeros_(model.mlp[2].weight)
    nn.init.zeros_(model.mlp[2].bias)
    model.gate.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.mlp.parameters(), lr=3e-4)
    with run.watch(model, optimizer=optimizer, query="", taps=TAPS[:1]) as w:
        run.evaluate(w, 0, model, nn.Identity())
        for step, rows in enumerate(run.batches(300, 64), start=1):
            query, document = run.world.query[rows], run.world.document[rows]
            rewritten = model(query)
            w.observe("document", document)
            wanted = query - document if planted else document - query
            loss = 50 * functional.mse_loss(rewritten - query, wanted)
            w.terms(residual=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, model, nn.Identity())
