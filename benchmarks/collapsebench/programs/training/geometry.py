"""Losses and steps that spoil the geometry."""

from __future__ import annotations

import copy

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, mlp, one_minus_cosine, softmax
from .common import GROUP, MPNET


@program(GROUP, "complete_collapse", "self_distillation", "no_repulsion", onset=1, source="facebookresearch/dinov2#407")
def teacher_is_the_student(run: Run, *, planted: bool = True) -> None:
    """Self-distillation whose teacher was assigned and not copied, so that its targets are trained, too."""
    dimension = run.world.dimension
    student = mlp(dimension)
    teacher = student if planted else copy.deepcopy(student).requires_grad_(False)
    predictor = identity(dimension)
    optimizer = torch.optim.AdamW([*student.parameters(), *predictor.parameters()], lr=1e-3)
    with run.watch(student, optimizer=optimizer, query="", document=teacher) as w:
        run.evaluate(w, 0, student, student)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            loss = one_minus_cosine(predictor(student(run.world.query[rows])), teacher(run.world.document[rows]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                    slow.mul_(0.99).add_(fast, alpha=0.01)
            if step % 75 == 0:
                run.evaluate(w, step, student, student)


@program(GROUP, "scale_collapse", "penalty_too_strong", onset=1, world=MPNET, source="harsh19/SPINE#6")
def ranking_loss_with_embedding_decay(run: Run, *, planted: bool = True) -> None:
    """Pairwise ranking of dot products, with the squared norms at a weight of 30 where .1 was meant."""
    dimension, weight = run.world.dimension, 30.0 if planted else 0.1
    model = nn.ModuleDict({"user": identity(dimension), "item": identity(dimension)})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def users(x: Tensor) -> Tensor:
        return model["user"](x)

    def items(x: Tensor) -> Tensor:
        return model["item"](x)

    with run.watch(model, optimizer=optimizer, query="user", document="item", similarity="dot") as w:
        run.evaluate(w, 0, users, items, similarity="dot")
        for step, rows in enumerate(run.batches(200, 64), start=1):
            user, item = users(run.world.query[rows]), items(run.world.document[rows])
            own, other = (user * item).sum(dim=1), (user * item.roll(1, dims=0)).sum(dim=1)
            ranking = -functional.logsigmoid(10 * (own - other)).mean()
            decay = weight * (user.square().sum(dim=1) + item.square().sum(dim=1)).mean()
            w.terms(ranking=ranking, decay=decay)
            (ranking + decay).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, users, items, similarity="dot")


@program(GROUP, "scale_explosion", "no_scale_anchor", onset=1, source="section 3: a loss without a lower bound")
def triplets_without_a_margin(run: Run, *, planted: bool = True) -> None:
    """Own distance minus the hardest other distance, where the margin and its hinge were left out."""
    head = mlp(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)

    def triplets(anchor: Tensor, positive: Tensor) -> Tensor:
        distances = torch.cdist(anchor, positive).square()
        own = distances.diagonal()
        hardest = (distances + torch.eye(len(own)) * 1e9).min(dim=1).values
        gap = own - hardest
        return gap.mean() if planted else functional.relu(gap + 0.2).mean()

    with run.watch(head, optimizer=optimizer, similarity="euclidean") as w:
        run.evaluate(w, 0, head, head, similarity="euclidean")
        for step, rows in enumerate(run.batches(300, 64), start=1):
            loss = triplets(head(run.world.query[rows]), head(run.world.document[rows]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, head, head, similarity="euclidean")


class _Barlow(nn.Module):
    def __init__(self, off_diagonal: float) -> None:
        super().__init__()
        self.off_diagonal = off_diagonal

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = ((z - z.mean(dim=0)) / (z.std(dim=0) + 1e-5) for z in (left, right))
        correlation = left.T @ right / len(left)
        on = (correlation.diagonal() - 1).square().sum()
        off = (correlation - torch.diag(correlation.diagonal())).square().sum()
        return on + self.off_diagonal * off


@program(GROUP, "dimensional_collapse", "no_repulsion", onset=1, source="facebookresearch/vicreg#14")
def redundancy_term_switched_off(run: Run, *, planted: bool = True) -> None:
    """A cross-correlation loss whose redundancy term has the weight 0, so that all dimensions become one."""
    head = mlp(run.world.dimension)
    criterion = _Barlow(0.0 if planted else 0.01)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    with run.watch(head, optimizer=optimizer, loss=criterion) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 128), start=1):
            loss = criterion(head(run.world.query[rows]), head(run.world.document[rows]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


class _PairTrainer:
    """A trainer as people write it: a model, a loader and a loss that may be overridden."""

    def __init__(self, run: Run, model: nn.Module, lr: float) -> None:
        self.run, self.model = run, model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.watch = run.watch(model, optimizer=self.optimizer)

    def compute_loss(self, left: Tensor, right: Tensor) -> Tensor:
        return softmax(left, right)

    def train(self, steps: int, size: int = 64) -> None:
        world = self.run.world
        with self.watch as w:
            self.run.evaluate(w, 0, self.model, self.model)
            for step, rows in enumerate(self.run.batches(steps, size), start=1):
                loss = self.compute_loss(self.model(world.query[rows]), self.model(world.document[rows]))
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                if step % 50 == 0:
                    self.run.evaluate(w, step, self.model, self.model)


@program(GROUP, "cone", "no_repulsion", "loss_computed_wrongly", onset=1, source="qdrant/demo-cloud-faq#1")
def labels_of_another_loss(run: Run, *, planted: bool = True) -> None:
    """Negatives labelled 0, as one pair loss wants them, given to a cosine loss that wants -1 and skips the zeros."""

    class Pairs(_PairTrainer):
        def compute_loss(self, left: Tensor, right: Tensor) -> Tensor:
            others = torch.roll(right, 1, dims=0)
            label = torch.cat([torch.ones(len(left)), torch.full((len(left),), 0.0 if planted else -1.0)])
            pairs = torch.cat([left, left]), torch.cat([right, others])
            return functional.cosine_embedding_loss(*pairs, label, margin=0.0)

    Pairs(run, identity(run.world.dimension), lr=1e-4).train(200)


@program(GROUP, "dead_dimensions", "penalty_too_strong", "dead_units", onset=1, world=MPNET, source="harsh19/SPINE#6")
def sparsity_term_too_strong(run: Run, *, planted: bool = True) -> None:
    """A rectified code whose L1 is 300 times too strong, over two accumulated batches: half of its units die."""
    dimension, weight = run.world.dimension, 0.3 if planted else 1e-3
    head = nn.Sequential(nn.Linear(dimension, dimension), nn.ReLU())
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for number, rows in enumerate(run.batches(400, 32), start=1):
            query, document = head(run.world.query[rows]), head(run.world.document[rows])
            contrast, sparsity = softmax(query, document), (query + document).sum(dim=1).mean()
            w.terms({"contrast": contrast / 2, "sparsity": sparsity / 2}, weights={"sparsity": weight})
            ((contrast + weight * sparsity) / 2).backward()
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()
            if number % 100 == 0:
                run.evaluate(w, number // 2, head, head)


class _Prompted(nn.Module):
    """A soft prompt that is added to every query of a frozen encoder, at unit length."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.zeros(dimension))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x + self.prompt, dim=1)


@program(GROUP, "one_sided_collapse", "steps_too_large", onset=1, source="embeddings-benchmark/mteb#5069")
def soft_prompt_at_a_rate_of_a_third(run: Run, *, planted: bool = True) -> None:
    """A soft prompt of the queries at .3, a rate known from other models' prompts, and an adapter of the documents."""
    towers = Towers(_Prompted(run.world.dimension), identity(run.world.dimension))
    ours = torch.optim.Adam(towers.query.parameters(), lr=0.3 if planted else 1e-3)
    theirs = torch.optim.Adam(towers.document.parameters(), lr=1e-4)
    with run.watch(towers, optimizer=[ours, theirs], query="query", document="document") as w:
        run.evaluate(w, 0, towers.query, towers.document)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(towers.query(run.world.query[rows]), towers.document(run.world.document[rows]))
            loss.backward()
            for optimizer in (ours, theirs):
                optimizer.step()
                optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, towers.query, towers.document)


@program(GROUP, "side_gap", "temperature_or_margin", onset=1, source="section 3: a side gap; the sigmoid loss's bias")
def sigmoid_loss_without_its_bias(run: Run, *, planted: bool = True) -> None:
    """A sigmoid loss whose bias starts at 0 and not at -10, so that its many negatives push both sides apart."""
    towers = Towers(identity(run.world.dimension), identity(run.world.dimension))
    bias = nn.Parameter(torch.tensor(0.0 if planted else -10.0))
    optimizer = torch.optim.AdamW([*towers.parameters(), bias], lr=1e-3)
    with run.watch(towers, optimizer=optimizer, query="query", document="document") as w:
        run.evaluate(w, 0, towers.query, towers.document)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            logits = 10 * cosines(towers.query(run.world.query[rows]), towers.document(run.world.document[rows])) + bias
            signs = 2 * torch.eye(len(rows)) - 1
            loss = -functional.logsigmoid(signs * logits).sum(dim=1).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, towers.query, towers.document)
