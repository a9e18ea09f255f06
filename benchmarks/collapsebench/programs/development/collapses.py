"""Vectors that become one point, one direction, a few directions, or of another size altogether."""

from __future__ import annotations

import copy
import math

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, mlp, softmax

GROUP = "development"
MINI, MPNET = "minilm/medquad/scifact", "mpnet/medquad/scifact"
SCIFACT, NFCORPUS = "minilm/scifact/nfcorpus", "minilm/nfcorpus/scifact"


class _Residual(nn.Module):
    """Adds what a small network makes of a vector."""

    def __init__(self, dimension: int, width: int = 96) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.Linear(dimension, width), nn.SiLU(), nn.Linear(width, dimension))
        nn.init.zeros_(self.change[-1].weight)
        nn.init.zeros_(self.change[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class _Momentum(nn.Module):
    """A student, its slow copy and what predicts the one from the other."""

    def __init__(self, student: nn.Module, dimension: int) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(self.student)
        self.predictor = nn.Linear(dimension, dimension)

    @torch.no_grad()
    def follow(self, constant: float) -> None:
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, 1 - constant)


@program(
    GROUP,
    "complete_collapse",
    "self_distillation",
    "no_repulsion",
    onset=1,
    world=(MINI,),
    source="facebookresearch/dinov2#407; the teacher is a copy, and is trained all the same",
)
def teacher_in_the_optimiser(run: Run, *, planted: bool = True) -> None:
    """The optimiser gets model.parameters(), the teacher's among them, and nothing stops the teacher's gradient."""
    model = _Momentum(_Residual(run.world.dimension), run.world.dimension)
    opt = torch.optim.Adam(model.parameters(), lr=8e-3)
    with run.watch(model, optimizer=opt, query="student", document="teacher") as w:
        run.evaluate(w, 0, model.student, model.student)
        for step, rows in enumerate(run.batches(360, 64), start=1):
            target = model.teacher(run.world.document[rows])
            target = target if planted else target.detach()
            found = model.predictor(model.student(run.world.query[rows]))
            loss = 2 - 2 * functional.cosine_similarity(found, target).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            model.follow(0.996)
            if step % 60 == 0:
                run.evaluate(w, step, model.student, model.student)


class _SigmoidOfLabels(nn.Module):
    """A binary loss over all pairs of a batch: positive is what has the same label."""

    def __init__(self, *, wrong: bool) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, query: Tensor, document: Tensor, labels: Tensor) -> Tensor:
        columns = labels.unsqueeze(0)
        rows = labels.unsqueeze(0) if self.wrong else labels.unsqueeze(1)
        same = (rows == columns).float().expand(len(labels), len(labels))
        logits = 16 * cosines(query, document) - 8
        weight = 1 + same * (len(labels) - 1)
        return functional.binary_cross_entropy_with_logits(logits, same, weight=weight)


@program(
    GROUP,
    "complete_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=1,
    world=(MINI, SCIFACT),
    source="own: a mask that compares the labels with themselves; mlfoundations/open_clip#821",
)
def labels_compared_with_themselves(run: Run, *, planted: bool = True) -> None:
    """The mask of positives is broadcast from one row against the same row, so that every pair is a positive."""
    net = identity(run.world.dimension)
    names = {text: number for number, text in enumerate(dict.fromkeys(run.world.texts[1]))}
    labels = torch.tensor([names[text] for text in run.world.texts[1]])
    criterion = _SigmoidOfLabels(wrong=planted)
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
    with run.watch(net, optimizer=opt, loss=criterion) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            opt.zero_grad()
            criterion(net(run.world.query[rows]), net(run.world.document[rows]), labels[rows]).backward()
            opt.step()
            if step % 50 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "scale_collapse",
    "penalty_leak",
    "penalty_too_strong",
    onset=1,
    world=(MINI, SCIFACT),
    source="own: the penalty of a change is taken of the whole",
)
def penalty_of_the_sum(run: Run, *, planted: bool = True) -> None:
    """An adapter's squared change was to be small; squared is the adapted vector, and scores are dot products."""
    adapter = _Residual(run.world.dimension, width=run.world.dimension)
    opt = torch.optim.AdamW(adapter.parameters(), lr=4e-3)
    with run.watch(adapter, optimizer=opt, query="", document="", similarity="dot") as w:
        run.evaluate(w, 0, adapter, adapter, similarity="dot")
        for step, rows in enumerate(run.batches(300, 64), start=1):
            texts = run.world.query[rows], run.world.document[rows]
            query, document = (adapter(x) for x in texts)
            contrast = functional.cross_entropy(20 * query @ document.T, torch.arange(len(rows)))
            punished = (query, document) if planted else [adapter.change(x) for x in texts]
            small = 400 * sum(z.square().sum(dim=1).mean() for z in punished)
            w.terms(contrast=contrast, small=small)
            (contrast + small).backward()
            opt.step()
            opt.zero_grad(set_to_none=True)
            if step % 100 == 0:
                run.evaluate(w, step, adapter, adapter, similarity="dot")


@program(
    GROUP,
    "complete_collapse",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=1,
    world=(MINI, NFCORPUS),
    source="own: a hinge the wrong way round",
)
def hinge_the_wrong_way_round(run: Run, *, planted: bool = True) -> None:
    """Other documents cost what they are further away than the margin, in place of what they are nearer."""
    tower = nn.Sequential(identity(run.world.dimension), nn.ReLU(), nn.Linear(run.world.dimension, 256))
    opt = torch.optim.Adam(tower.parameters(), lr=3e-4)
    others = ~torch.eye(64, dtype=torch.bool)

    def score(step: int) -> None:
        run.evaluate(w, step, tower, tower, similarity="euclidean")

    with run.watch(tower, optimizer=opt, similarity="euclidean") as w:
        score(0)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            distance = torch.cdist(tower(run.world.query[rows]), tower(run.world.document[rows]))
            excess = distance - 0.7 if planted else 0.7 - distance
            loss = distance.diagonal().square().mean() + excess[others].relu().square().mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                score(step)


@program(
    GROUP,
    "dimensional_collapse",
    "penalty_too_strong",
    onset=1,
    world=(MINI, SCIFACT),
    source="section 4: rate x decay x steps; a decay known from other optimisers",
)
def decay_of_another_optimiser(run: Run, *, planted: bool = True) -> None:
    """SGD whose weight decay is .5, over two towers without biases that are scored by dot products."""
    towers = Towers(*(nn.Linear(run.world.dimension, run.world.dimension, bias=False) for _ in range(2)))
    for one in towers.children():
        nn.init.eye_(one.weight)
    sgd = torch.optim.SGD(towers.parameters(), lr=0.01, momentum=0.9, weight_decay=0.5 if planted else 1e-4)
    with run.watch(towers, optimizer=sgd, query="query", document="document", similarity="dot") as w:
        for step, rows in enumerate(run.batches(200, 64), start=1):
            if step == 1:
                run.evaluate(w, 0, towers.query, towers.document, similarity="dot")
            scores = towers.query(run.world.query[rows]) @ towers.document(run.world.document[rows]).T
            loss = functional.cross_entropy(20 * scores, torch.arange(len(rows)))
            w.terms(loss=loss)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            if step % 40 == 0:
                run.evaluate(w, step, towers.query, towers.document, similarity="dot")


@program(
    GROUP,
    "scale_explosion",
    "no_scale_anchor",
    "loss_computed_wrongly",
    onset=1,
    world=(MINI, SCIFACT),
    source="facebookresearch/vicreg#14; a variance term without its hinge",
)
def variance_without_a_hinge(run: Run, *, planted: bool = True) -> None:
    """Invariance, and minus the standard deviation: it was to be a hinge that ends at 1."""
    net = mlp(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)

    def spread(z: Tensor) -> Tensor:
        deviation = (z.var(dim=0) + 1e-4).sqrt()
        return (1 - deviation).mean() if planted else functional.relu(1 - deviation).mean()

    def covariance(z: Tensor) -> Tensor:
        c = torch.cov(z.T)
        return (c - torch.diag(c.diagonal())).square().sum() / len(c)

    with run.watch(net, optimizer=opt, similarity="euclidean") as w:
        run.evaluate(w, 0, net, net, similarity="euclidean")
        for step, rows in enumerate(run.batches(300, 128), start=1):
            q, d = net(run.world.query[rows]), net(run.world.document[rows])
            terms = {
                "invariance": 5 * (q - d).abs().mean(),
                "variance": 25 * (spread(q) + spread(d)),
            }
            if not planted:
                terms["covariance"] = covariance(q) + covariance(d)
            w.terms(terms)
            sum(terms.values()).backward()
            opt.step()
            opt.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, net, net, similarity="euclidean")


@program(
    GROUP,
    "scale_explosion",
    "steps_too_large",
    onset=2,
    world=(MINI, NFCORPUS),
    source="own: a warm-up without its end; revantteotia/clip-training#3",
)
def warm_up_without_an_end(run: Run, *, planted: bool = True) -> None:
    """The factor of the warm-up is the step, and was to be a tenth of it and at most 1."""
    towers = Towers(mlp(run.world.dimension), mlp(run.world.dimension))
    opt = torch.optim.Adam(towers.parameters(), lr=1e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: step + 1.0 if planted else min(1, (step + 1) / 10))
    with run.watch(towers, optimizer=opt, query="query", document="document") as w:
        run.evaluate(w, 0, towers.query, towers.document)
        for step, rows in enumerate(run.batches(240, 64), start=1):
            loss = softmax(towers.query(run.world.query[rows]), towers.document(run.world.document[rows]))
            w.terms(infonce=loss)
            loss.backward()
            opt.step()
            rate.step()
            opt.zero_grad()
            if step % 60 == 0:
                run.evaluate(w, step, towers.query, towers.document)


def _normed(dimension: int) -> nn.Sequential:
    layers = []
    for _ in range(2):
        layers += [nn.Linear(dimension, dimension), nn.LayerNorm(dimension), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(dimension, dimension))


@program(
    GROUP,
    "dimensional_collapse",
    "temperature_or_margin",
    onset=1,
    world=(MINI, NFCORPUS),
    source="huggingface/transformers#13430; multiplied by the temperature",
)
def multiplied_by_the_temperature(run: Run, *, planted: bool = True) -> None:
    """Cosines times .07 where they were to be divided by it; two deep towers and both directions of the softmax."""
    towers = Towers(_normed(run.world.dimension), _normed(run.world.dimension))
    opt = torch.optim.AdamW(towers.parameters(), lr=3e-4, betas=(0.9, 0.98), weight_decay=0.1)
    temperature = 0.07
    with run.watch(towers, optimizer=opt, query="query", document="document") as w:
        run.evaluate(w, 0, towers.query, towers.document)
        for step, rows in enumerate(run.batches(250, 64), start=1):
            found = cosines(towers.query(run.world.query[rows]), towers.document(run.world.document[rows]))
            logits = found * temperature if planted else found / temperature
            label = torch.arange(len(rows))
            loss = (functional.cross_entropy(logits, label) + functional.cross_entropy(logits.T, label)) / 2
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, towers.query, towers.document)


@program(
    GROUP,
    "dimensional_collapse",
    "no_repulsion",
    onset=1,
    world=(MINI, SCIFACT),
    source="facebookresearch/vjepa2#140",
)
def predicts_a_moving_target(run: Run, *, planted: bool = True) -> None:
    """A predictor of what a moving average makes of the other text; what keeps the spread was left out."""
    model = _Momentum(mlp(run.world.dimension), run.world.dimension)
    held = [*model.student.parameters(), *model.predictor.parameters()]
    opt = torch.optim.AdamW(held, lr=1e-3)
    with run.watch(model, optimizer=opt, query="student", document="teacher") as w:
        run.evaluate(w, 0, model.student, model.student)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            z = model.student(run.world.query[rows])
            with torch.no_grad():
                target = model.teacher(run.world.document[rows])
            terms = {"prediction": functional.smooth_l1_loss(model.predictor(z), target, beta=0.1)}
            if not planted:
                near = torch.pdist(functional.normalize(z, dim=1)).square()
                terms["uniformity"] = 0.1 * near.mul(-2).exp().mean().log()
            w.terms(terms)
            sum(terms.values()).backward()
            opt.step()
            opt.zero_grad()
            model.follow(0.98)
            if step % 75 == 0:
                run.evaluate(w, step, model.student, model.student)


@program(
    GROUP,
    "forgetting",
    "temperature_or_margin",
    "no_repulsion",
    onset=1,
    world=(MINI, NFCORPUS),
    source="qdrant/demo-cloud-faq#1; a margin known from distances",
)
def cosine_margin_of_point_nine(run: Run, *, planted: bool = True) -> None:
    """A cosine embedding loss with a margin of .9: other pairs cost nothing until their cosine is above it."""
    head = identity(run.world.dimension, bias=0.01 / math.sqrt(run.world.dimension))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    criterion = nn.CosineEmbeddingLoss(margin=0.9 if planted else 0.1)
    with run.watch(head, optimizer=optimizer, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            query, document = head(run.world.query[rows]), head(run.world.document[rows])
            apart = [document.roll(shift, dims=0) for shift in (1, 2, 3)]
            label = torch.tensor([1.0, -1.0, -1.0, -1.0]).repeat_interleave(len(rows))
            loss = criterion(query.repeat(4, 1), torch.cat([document, *apart]), label)
            w.terms(pairs=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, head)


@program(
    GROUP,
    "cone",
    "loss_computed_wrongly",
    "no_repulsion",
    onset=1,
    world=(MINI, SCIFACT),
    source="own: grades of 1 to 5 under a loss for grades of 0 to 1",
)
def grades_that_were_not_scaled(run: Run, *, planted: bool = True) -> None:
    """Cosines are fitted to the grades of pairs, 1 to 5, which were to be brought to 0 to 1."""
    net = identity(run.world.dimension)
    opt = torch.optim.Adam(net.parameters(), lr=1e-4)
    grades = torch.tensor([5.0, 2.0, 1.0]).repeat_interleave(48)
    wanted = grades if planted else (grades - 1) / 4

    with run.watch(net, optimizer=opt, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(160, 48), start=1):
            left, right = run.world.query[rows], run.world.document[rows]
            near = cosines(left, right).fill_diagonal_(-1).argmax(dim=1)
            pairs = torch.cat([right, right[near], right.roll(1, dims=0)])
            found = functional.cosine_similarity(net(left).repeat(3, 1), net(pairs))
            loss = functional.mse_loss(found, wanted)
            w.terms(mse=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 40 == 0:
                run.evaluate(w, step, net, net)


@program(
    GROUP,
    "cone",
    "penalty_too_strong",
    onset=1,
    world=(MINI, NFCORPUS),
    source="own: a centre loss, as faces have, with one centre for all",
)
def one_centre_for_all(run: Run, *, planted: bool = True) -> None:
    """A centre loss beside the softmax, at 300 in place of .003; all texts have one centre, a moving mean."""
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    centre = torch.cat([run.world.query[:500], run.world.document[:500]]).mean(dim=0)
    weight = 300.0 if planted else 0.003
    with run.watch(net, optimizer=opt, query="", document="") as w:
        run.evaluate(w, 0, net, net)
        for step, rows in enumerate(run.batches(240, 64), start=1):
            q, d = net(run.world.query[rows]), net(run.world.document[rows])
            both = torch.cat([q, d])
            terms = {"softmax": softmax(q, d), "centre": weight * (both - centre).square().sum(dim=1).mean()}
            w.terms(terms)
            opt.zero_grad()
            sum(terms.values()).backward()
            opt.step()
            centre = centre.lerp(both.detach().mean(dim=0), 0.01)
            if step % 60 == 0:
                run.evaluate(w, step, net, net)
