"""Gates that close or never open, and corrections that are the same for all, do harm, or stay at nothing."""

from __future__ import annotations

import math

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, SideCorrection, clip_loss, forever, in_batch, loader


class HardConcrete(nn.Module):
    """A gate for each dimension, stretched so that it can be exactly 0 or 1, noisy in training."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.ones(count))

    def forward(self) -> Tensor:
        """Return the gates."""
        logits = self.log_alpha
        if self.training:
            u = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
            logits = 1.5 * (u.logit() + logits)
        return (1.2 * torch.sigmoid(logits) - 0.1).clamp(0, 1)

    def open_probability(self) -> Tensor:
        """Return how likely each gate is not 0."""
        return torch.sigmoid(self.log_alpha - math.log(0.1 / 1.1) * 2 / 3)


class Pruned(nn.Module):
    """A frozen vector and a correction, of which gates choose the dimensions."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.corrector = nn.Sequential(nn.Linear(dimension, 192), nn.Tanh(), nn.Linear(192, dimension, bias=False))
        self.gate = HardConcrete(dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector with what the gates let through."""
        return x + self.gate() * self.corrector(x)


@program(
    GROUP,
    "gate_collapse",
    "penalty_too_strong",
    onset=1,
    world=(MINI, LARGE),
    source="section 3: gates; an L0 penalty that is summed over gates where its weight was found for their mean",
)
def price_of_each_open_gate(run: Run, *, planted: bool = True) -> None:
    """Hard concrete gates over a correction's dimensions pay for being open: a sum, where a mean was meant."""
    model = Pruned(run.world.dimension)
    opt = torch.optim.Adam(
        [{"params": model.corrector.parameters(), "lr": 5e-4}, {"params": model.gate.parameters(), "lr": 2e-2}]
    )
    price = 0.02

    def scored(step: int) -> None:
        model.eval()
        run.evaluate(w, step, model, model)
        model.train()

    taps = [Tap(stream="gate", at="gate", role="gate"), Tap(stream="corrector", at="corrector", role="correction")]
    with run.watch(model, optimizer=opt, taps=taps, query="", document="", examples=len(run.world.query)) as w:
        scored(0)
        batches = forever(run, 64)
        for step in range(1, 301):
            q, d = next(batches)
            opt.zero_grad()
            odds = model.gate.open_probability()
            terms = {"retrieval": in_batch(model(q), model(d)), "l0": price * (odds.sum() if planted else odds.mean())}
            w.terms(terms)
            sum(terms.values()).backward()
            opt.step()
            if step % 100 == 0:
                scored(step)
        model.eval()


class TanhGated(nn.Module):
    """A branch behind tanh of a number that starts at nothing and is not trained at once."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.LayerNorm(dimension), nn.Linear(dimension, 256), nn.SiLU())
        self.out = nn.Linear(256, dimension)
        self.f_branch = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector with the gated branch."""
        return x + torch.tanh(self.f_branch) * self.out(self.branch(x))


@program(
    GROUP,
    "gate_never_opened",
    "not_trained",
    onset=0,
    world=(MINI, FOOD),
    source="jeya-maria-jose/Medical-Transformer#70; gates that are to be trained from a later epoch on",
)
def gate_waits_for_the_tenth_epoch(run: Run, *, planted: bool = True) -> None:
    """A gate gets requires_grad in epoch 10, a figure of another data set's long training; this one has 3 epochs."""
    model = TanhGated(run.world.dimension)
    optimizer = torch.optim.NAdam(model.parameters(), lr=1e-3)
    taps = [Tap(stream="f_branch", at="f_branch", role="gate"), Tap(stream="branch", at="out", role="correction")]
    opens_in, step = 10 if planted else 0, 0
    with run.watch(
        model, optimizer=optimizer, taps=taps, reference=lambda: tuple(map(model, run.world.reference))
    ) as w:
        run.evaluate(w, 0, model, model)
        for epoch in range(3):
            if epoch == opens_in:
                model.f_branch.requires_grad_(True)
            for q, d in loader(run, 96, epoch=epoch):
                step += 1
                q, d = model(torch.cat([q, d])).chunk(2)
                w.observe("query", q)
                w.observe("document", d)
                loss = in_batch(q, d)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            w.window(epoch=epoch + 1)
            run.evaluate(w, step, model, model)


class Highway(nn.Module):
    """A gate of each text mixes the vector with a network's, as highway layers do."""

    def __init__(self, dimension: int, squash: nn.Module) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(dimension, 320), nn.GELU(), nn.Linear(320, dimension))
        self.carry = nn.Sequential(nn.Linear(dimension, 1), squash)
        nn.init.constant_(self.carry[0].bias, -4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture."""
        gate = self.carry(x)
        return (1 - gate) * x + gate * self.transform(x)


@program(
    GROUP,
    "gate_never_opened",
    "dead_units",
    "not_trained",
    onset=0,
    world=MINI,
    source="qiuzh20/gated_attention#10; a highway bias of -4 under a piecewise sigmoid",
)
def highway_bias_under_a_hard_sigmoid(run: Run, *, planted: bool = True) -> None:
    """The sigmoid of a highway gate was replaced by the hard one, which is exactly 0 at the usual bias of -4."""
    model = Highway(run.world.dimension, nn.Hardsigmoid() if planted else nn.Sigmoid())
    taps = [
        Tap(stream="carry", at="query.carry", role="gate"),
        Tap(stream="transform", at="query.transform", role="correction"),
    ]
    run.train(Towers(model), in_batch, lr=1e-3, weight_decay=0.0, steps=250, batch=48, taps=taps)


class Topical(nn.Module):
    """A learnt offset for each topic, a text's topic being its nearest centre."""

    def __init__(self, dimension: int, topics: int = 96) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(topics, dimension))
        self.offsets = nn.Embedding(topics, dimension)
        nn.init.zeros_(self.offsets.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return every text's offset."""
        return self.offsets(torch.cdist(x, self.centres).argmin(dim=1))


def _centres(x: Tensor, count: int) -> Tensor:
    found = x[torch.linspace(0, len(x) - 1, count).long()].clone()
    for _ in range(8):
        own = (x @ found.T).argmax(dim=1)
        sums = torch.zeros_like(found).index_add_(0, own, x)
        found = functional.normalize(torch.where(sums.norm(dim=1, keepdim=True) > 0, sums, found), dim=1)
    return found


@program(
    GROUP,
    "constant_correction",
    "weights_not_loaded",
    onset=0,
    world=MINI,
    source="princeton-nlp/SimCSE#100; buffers of another name under strict=False",
)
def codebook_under_another_name(run: Run, *, planted: bool = True) -> None:
    """The centres of topics are loaded under a name that the module does not have: all texts have topic 0."""
    topical = Topical(run.world.dimension)
    saved = {"codebook" if planted else "centres": _centres(run.world.query, 96)}
    topical.load_state_dict(saved, strict=False)
    opt = torch.optim.Adam(topical.parameters(), lr=2e-3)
    raw = run.world.reference

    def rewritten(x: Tensor) -> Tensor:
        return x + topical(x)

    with run.watch(
        topical, optimizer=opt, reference=lambda: (rewritten(raw[0]), raw[1]), raw=lambda: raw, similarity="cosine"
    ) as w:
        run.evaluate(w, 0, rewritten, nn.Identity())
        for step, rows in enumerate(run.batches(400, 128), start=1):
            x, d = run.world.query[rows], run.world.document[rows]
            offset = topical(x)
            w.observe("offset", offset, role="correction")
            w.observe("query", x + offset)
            w.observe("document", d)
            loss = in_batch(x + offset, d)
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, rewritten, nn.Identity())


class Feedback(nn.Module):
    """Adds to a query what it finds in a memory of documents."""

    def __init__(self, memory: Tensor) -> None:
        super().__init__()
        self.register_buffer("memory", memory)
        self.value = nn.Linear(memory.shape[1], memory.shape[1], bias=False)
        self.amount = nn.Parameter(torch.tensor(0.1))
        nn.init.eye_(self.value.weight)

    def forward(self, x: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Return the correction of queries; rows of the memory can be left out, one for each query."""
        scores = x @ self.memory.T / 0.03
        if left_out is not None:
            scores = scores.scatter(1, left_out[:, None], -torch.inf)
        return self.amount * self.value(scores.softmax(dim=1) @ self.memory)


@program(
    GROUP,
    "harmful_correction",
    "leak",
    "memorised_documents",
    onset=1,
    world=(MINI, CLAIMS),
    source="section 4: label or test leak; feedback from a memory that holds the answer",
)
def feedback_that_finds_its_own_answer(run: Run, *, planted: bool = True) -> None:
    """A query is expanded by documents of the training set, among which its own one is never left out."""
    feedback = Feedback(run.world.document)
    optimizer = torch.optim.AdamW(
        [{"params": feedback.value.parameters(), "lr": 3e-4}, {"params": [feedback.amount], "lr": 1e-2}]
    )
    reference = run.world.reference

    def expanded(x: Tensor) -> Tensor:
        return x + feedback(x)

    tap = Tap(stream="feedback", at="", role="correction")
    with run.watch(
        feedback, optimizer=optimizer, taps=[tap], reference=lambda: (expanded(reference[0]), reference[1])
    ) as w:
        run.evaluate(w, 0, expanded, nn.Identity())
        for step, rows in enumerate(run.batches(200, 64), start=1):
            x, d = run.world.query[rows], run.world.document[rows]
            q = x + feedback(x, None if planted else rows)
            w.observe("query", q)
            w.observe("document", d)
            loss = in_batch(q, d)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, expanded, nn.Identity())


class Lookahead:
    """Slow weights that follow an optimiser's fast ones, which then go on from the slow ones."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, alpha: float, every: int = 5) -> None:
        self.optimizer, self.alpha, self.every, self.done = optimizer, alpha, every, 0
        self.fast = [one for group in optimizer.param_groups for one in group["params"]]
        self.slow = [one.detach().clone() for one in self.fast]

    @torch.no_grad()
    def step(self) -> None:
        """Take a fast step, and now and then a slow one."""
        self.optimizer.step()
        self.done += 1
        if self.done % self.every == 0:
            for slow, fast in zip(self.slow, self.fast, strict=True):
                slow.lerp_(fast, self.alpha)
                fast.copy_(slow)


@program(
    GROUP,
    "identity",
    "steps_too_small",
    "self_distillation",
    onset=1,
    world=(MINI, FOOD),
    source="section 4: a moving average's constant is off; slow weights",
)
def slow_weights_by_the_constant_of_an_average(run: Run, *, planted: bool = True) -> None:
    """A wrapper of slow weights is given .001, as an average has it, for its share of .5: most is thrown back."""
    model = SideCorrection(run.world.dimension)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    ahead = Lookahead(opt, alpha=0.001 if planted else 0.5)
    taps = [Tap(stream="net", at="net", role="correction")]
    with run.watch(model, optimizer=opt, taps=taps, raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(250, 64), start=1):
            opt.zero_grad()
            loss = clip_loss(model(run.world.query[rows]), model(run.world.document[rows]))
            loss.backward()
            ahead.step()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)
