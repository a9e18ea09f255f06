"""Trainings that look alarming and are well: little moves, much repeats, losses stay high, nought or below nought."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from .. import program
from .common import CLAIMS, FOOD, GROUP, LARGE, MINI, SideCorrection, clip_loss, forever, in_batch, loader, square


class LowRank(nn.Module):
    """A frozen square layer and the product of two thin ones beside it."""

    def __init__(self, dimension: int, rank: int) -> None:
        super().__init__()
        self.base = square(dimension).requires_grad_(False)
        self.lora_a, self.lora_b = nn.Linear(dimension, rank, bias=False), nn.Linear(rank, dimension, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output with the product's."""
        return self.base(x) + self.lora_b(self.lora_a(x))


@program(GROUP, None, world=(MINI, LARGE), source="section 3: identity; a correction that is small and useful")
def product_of_rank_four(run: Run, *, planted: bool = True) -> None:
    """An adapter of rank 4 beside a frozen layer: 2 % of the weights move, and that little helps."""
    model = LowRank(run.world.dimension, 4 if planted else 64)
    trained = [one for one in model.parameters() if one.requires_grad]
    opt = torch.optim.AdamW(trained, lr=2e-3 if planted else 1e-4, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.0, total_iters=300)
    taps = [Tap(stream="lora", at="lora_b", role="correction")]
    with run.watch(model, optimizer=opt, taps=taps, raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, model, model)
        for step, (q, d) in zip(range(1, 301), forever(run, 64), strict=False):
            loss = clip_loss(model(q), model(d))
            loss.backward()
            opt.step()
            schedule.step()
            opt.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, model, model)


@program(GROUP, None, world=(MINI, LARGE), source="fartashf/vsepp#6; FlagOpen/FlagEmbedding#1400, handled by a mask")
def eight_wordings_under_a_mask(run: Run, *, planted: bool = True) -> None:
    """Batches hold eight wordings of each question with equal documents, which a mask takes out of the candidates."""
    net = square(run.world.dimension)
    opt = torch.optim.Adam(net.parameters(), lr=1e-4)
    draw = torch.Generator().manual_seed(run.seed)
    copies = 8 if planted else 1

    def masked(q: Tensor, d: Tensor, own: Tensor) -> Tensor:
        sims = 20 * functional.normalize(q, dim=1) @ functional.normalize(d, dim=1).T
        equal = (own[:, None] == own[None]).fill_diagonal_(False)
        return functional.cross_entropy(sims.masked_fill(equal, float("-inf")), torch.arange(len(q)))

    with run.watch(net, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(200, 16), start=1):
            rows = rows.repeat_interleave(copies)
            asked = run.world.query[rows]
            asked = asked + 0.2 * torch.randn(asked.shape, generator=draw) / asked.shape[1] ** 0.5
            masked(net(asked), net(run.world.document[rows]), rows).backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI, CLAIMS), source="section 3: no learning; a tower that is frozen on purpose")
def documents_of_last_year(run: Run, *, planted: bool = True) -> None:
    """The document tower is in the model and the optimiser, and frozen, since its index cannot be made again."""
    document = SideCorrection(run.world.dimension) if planted else nn.Identity()
    model = Towers(SideCorrection(run.world.dimension), document.requires_grad_(False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    run.train(model, in_batch, optimizer=optimizer, steps=250, batch=64)


@program(GROUP, None, world=(MINI, LARGE), source="huggingface/transformers#13430; a scale that starts at 1")
def scale_that_starts_at_one(run: Run, *, planted: bool = True) -> None:
    """A learnt scale of cosines starts at 1: the loss stays near its chance level for long, and retrieval rises."""
    net = square(run.world.dimension)
    log_scale = nn.Parameter(torch.tensor(1.0 if planted else 20.0).log())
    optimizer = torch.optim.AdamW(
        [{"params": net.parameters(), "lr": 3e-5, "weight_decay": 0.0}, {"params": [log_scale], "lr": 1e-2}]
    )
    data = forever(run, 64)
    with run.watch(net, optimizer=optimizer, reference=lambda: tuple(map(net, run.world.reference))) as w:
        run.evaluate(w, 0, net, net)
        for step in range(1, 401):
            q, d = (functional.normalize(net(one), dim=1) for one in next(data))
            logits = log_scale.exp() * q @ d.T
            target = torch.arange(64)
            loss = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
            w.terms(contrastive=loss)
            w.monitor(scale=log_scale.exp())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, net, net)


@program(GROUP, None, world=(MINI, LARGE), source="FlagOpen/FlagEmbedding#403; omoindrot/tensorflow-triplet-loss#59")
def margin_that_most_triplets_meet(run: Run, *, planted: bool = True) -> None:
    """Triplets with one random negative and a margin of .15: nine of ten are met, and the mean loss is nearly 0."""
    margin = 0.15 if planted else 0.3

    def triplets(q: Tensor, d: Tensor) -> Tensor:
        own = functional.cosine_similarity(q, d)
        other = functional.cosine_similarity(q, d.roll(1, dims=0))
        return functional.relu(other - own + margin).mean()

    rate = 3e-4 if planted else 1e-4
    run.train(Towers(square(run.world.dimension)), triplets, lr=rate, weight_decay=0.0, steps=300, batch=96)


@program(GROUP, None, world=(MINI, LARGE), source="section 3: a transient that recovers; a rate that overshoots early")
def early_rate_that_overshoots(run: Run, *, planted: bool = True) -> None:
    """Thirty steps at a rate of 5e-3 cost retrieval; a pull to the start and a falling rate bring it back."""
    net = square(run.world.dimension)
    start = [one.detach().clone() for one in net.parameters()]
    opt = torch.optim.Adam(net.parameters(), lr=1e-4)

    def rate(step: int) -> float:
        if planted and 20 < step <= 50:
            return 1e-2
        return 3e-4 if planted and step <= 200 else 1e-4

    with run.watch(net, optimizer=opt, query="", document="", raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(350, 64), start=1):
            opt.param_groups[0]["lr"] = rate(step)
            q, d = net(run.world.query[rows]), net(run.world.document[rows])
            pull = sum((one - old).square().sum() for one, old in zip(net.parameters(), start, strict=True))
            terms = {"softmax": in_batch(q, d), "pull": 0.02 * pull}
            w.terms(terms)
            opt.zero_grad()
            sum(terms.values()).backward()
            opt.step()
            if step in (20, 35, 50, 100, 150, 200, 275, 350):
                run.evaluate(w, step, net, net)


class Instructed(nn.Module):
    """A learnt prompt that is mixed into every text before a correction."""

    def __init__(self, dimension: int, length: float) -> None:
        super().__init__()
        self.prompt = nn.Parameter(functional.normalize(torch.randn(dimension), dim=0) * length)
        self.body = SideCorrection(dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors of prompted texts."""
        return self.body(x + self.prompt)


@program(GROUP, None, world=(MINI, CLAIMS), source="section 3: cone; one instruction for both sides")
def one_prompt_on_both_sides(run: Run, *, planted: bool = True) -> None:
    """A prompt that is longer than the text itself is in all vectors of both sides: cosines are all above .6."""
    model = Instructed(run.world.dimension, 1.3 if planted else 0.1)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.0)
    step = 0
    with run.watch(model, optimizer=opt, query="body", document="body") as w:
        run.evaluate(w, 0, model, model)
        for epoch in range(2 if len(run.world.query) > 1000 else 20):
            for q, d in loader(run, 64, epoch=epoch):
                loss = in_batch(model(q), model(d), 0.03)
                loss.backward()
                opt.step()
                opt.zero_grad()
                step += 1
            w.window(epoch=epoch + 1)
            run.evaluate(w, step, model, model)


class Gated(nn.Module):
    """A branch, and a gate of each text that starts nearly closed."""

    def __init__(self, dimension: int, bias: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(dimension, 256), nn.GELU(), nn.Linear(256, dimension))
        self.gate = nn.Sequential(nn.Linear(dimension, 1), nn.Sigmoid())
        nn.init.constant_(self.gate[0].bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector with the gated branch."""
        return x + self.gate(x) * self.branch(x)


@program(GROUP, None, world=(MINI, FOOD), source="section 3: learnt small gates")
def gates_of_a_few_hundredths(run: Run, *, planted: bool = True) -> None:
    """Gates of texts start at .02 and stay below a tenth, before a branch that is large enough to help all the same."""
    model = Gated(run.world.dimension, -4.0 if planted else -2.5)
    taps = [
        Tap(stream="gate", at="query.gate", role="gate"),
        Tap(stream="branch", at="query.branch", role="correction"),
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 if planted else 5e-4, weight_decay=0.0)
    run.train(Towers(model), in_batch, optimizer=optimizer, steps=200, batch=64, taps=taps)


@program(GROUP, None, world=(MINI, LARGE), source="facebookresearch/simsiam#21; a divergence given probabilities")
def divergence_of_probabilities(run: Run, *, planted: bool = True) -> None:
    """A divergence is given probabilities where it wants logarithms: the loss is below 0, and still has its sense."""
    model = SideCorrection(run.world.dimension)
    target = torch.full((64, 64), 0.1 / 63).fill_diagonal_(0.9)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-4)
    with run.watch(model, optimizer=opt, raw=lambda: run.world.reference) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            q, d = (functional.normalize(model(x[rows]), dim=1) for x in (run.world.query, run.world.document))
            odds = (20 * q @ d.T).softmax(dim=1)
            loss = functional.kl_div(odds if planted else odds.log(), target, reduction="batchmean")
            w.terms(kl=loss)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)
