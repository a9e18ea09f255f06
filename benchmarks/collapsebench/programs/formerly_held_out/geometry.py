"""Losses and steps that spoil the geometry."""

from __future__ import annotations

import copy

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from ..parts import cosines, identity
from .common import MPNET, SCIFACT, Pair, fit, in_batch, numbered, planted, scored, stored_model, watched


@planted("complete_collapse", "no_repulsion", "self_distillation", source="facebookresearch/dinov2#407", world=SCIFACT)
def teacher_is_student(run: Run, *, right: bool = False) -> None:
    """A student predicts what its teacher makes of the other text of the pair; the teacher was to be a slow copy."""
    dimension = run.world.dimension
    student = nn.Sequential(identity(dimension), nn.LayerNorm(dimension), identity(dimension))
    teacher = copy.deepcopy(student).requires_grad_(False) if right else student
    predictor = nn.Sequential(nn.Linear(dimension, 128), nn.GELU(), nn.Linear(128, dimension))
    opt = torch.optim.AdamW([*student.parameters(), *predictor.parameters()], lr=1e-3)
    model = nn.ModuleDict({"student": student, "predictor": predictor})
    with watched(run, model, optimizer=opt, query="student", document="student") as w:
        scored(run, 0, student, told=w)
        for step, rows in numbered(run, 300, 64):
            a, b = student(run.world.query[rows]), student(run.world.document[rows])
            goal_a, goal_b = teacher(run.world.query[rows]), teacher(run.world.document[rows])
            loss = -functional.cosine_similarity(predictor(a), goal_b).mean() / 2
            loss = loss - functional.cosine_similarity(predictor(b), goal_a).mean() / 2
            w.terms(byol=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if right:
                with torch.no_grad():
                    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                        slow.lerp_(fast, 0.01)
            if step % 100 == 0:
                scored(run, step, student, told=w)


@planted("scale_collapse", "temperature_or_margin", source="diagnosis.md section 3; a margin of another distance")
def margin_of_another_scale(run: Run, *, right: bool = False) -> None:
    """Contrastive pairs by Euclidean distance: own ones are pulled, others pushed as far as a margin."""
    head = identity(run.world.dimension)
    opt = torch.optim.AdamW(head.parameters(), lr=2e-3)
    margin = 1.2 if right else 0.02
    with watched(run, head, optimizer=opt, similarity="euclidean") as w:
        scored(run, 0, head, similarity="euclidean", told=w)
        for rows in run.batches(400, 64):
            distance = torch.cdist(head(run.world.query[rows]), head(run.world.document[rows]))
            others = functional.relu(margin - distance).square().masked_fill(torch.eye(64, dtype=torch.bool), 0)
            loss = distance.diagonal().square().mean() + others.sum() / 64
            w.terms(contrastive=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 400, head, similarity="euclidean", told=w)


@planted("scale_explosion", "no_scale_anchor", source="diagnosis.md section 3; labelled pairs", world=SCIFACT)
def labelled_pairs_by_sign(run: Run, *, right: bool = False) -> None:
    """Pairs labelled 1 and -1, one pair in two is true; the loss is minus label times score."""
    world, net = run.world, nn.Linear(run.world.dimension, run.world.dimension)
    nn.init.orthogonal_(net.weight)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    draw = torch.Generator().manual_seed(run.seed + 1)
    if right:
        score, scale = cosines, 5.0
    else:
        score, scale = (lambda a, b: a @ b.T), 1.0
    with watched(run, net, optimizer=sgd, similarity="dot", reference=lambda: tuple(map(net, world.reference))) as w:
        scored(run, 0, net, similarity="dot")
        for rows in run.batches(300, 64):
            label = torch.where(torch.rand(64, generator=draw) < 0.5, 1.0, -1.0)
            paired = torch.where(label > 0, rows, rows[torch.randperm(64, generator=draw)])
            value = scale * score(net(world.query[rows]), net(world.document[paired])).diagonal()
            loss = functional.softplus(-label * value).mean() if right else -(label * value).mean()
            w.terms(loss=loss)
            loss.backward()
            sgd.step()
            sgd.zero_grad()
        scored(run, 300, net, similarity="dot")


KINDS_OF_QUESTION = (
    "symptoms", "treatments", "how many people", "genetic changes", "clinical trials", "outlook", "at risk",
    "inherited", "have information", "stages", "complications", "causes", "prevent", "diagnose",
)  # fmt: skip


def question_kinds(run: Run) -> Tensor:
    """Return the kind of question of every training pair; 0 is any other."""
    asked = [text.lower() for text in run.world.texts[0]]
    return torch.tensor([next((i for i, k in enumerate(KINDS_OF_QUESTION, 1) if k in one), 0) for one in asked])


@planted("dimensional_collapse", "no_repulsion", "narrow_data", source="revantteotia/clip-training#3; class labels")
def class_labels(run: Run, *, right: bool = False) -> None:
    """Texts and their kind of question under a supervised contrastive loss; the twin's class is the pair."""
    net = nn.Sequential(nn.Linear(run.world.dimension, 512), nn.ReLU(), nn.Linear(512, run.world.dimension))
    classes = torch.arange(len(run.world.query)) if right else question_kinds(run)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    with watched(run, net, optimizer=opt) as w:
        scored(run, 0, net, told=w)
        for step, rows in numbered(run, 300, 64):
            labels = classes[rows].repeat(2)
            z = functional.normalize(net(torch.cat([run.world.query[rows], run.world.document[rows]])), dim=1)
            logits = (z @ z.T / 0.1).fill_diagonal_(-1e9)
            positive = (labels[:, None] == labels[None]).fill_diagonal_(False).float()
            log_p = logits - logits.logsumexp(dim=1, keepdim=True)
            loss = -((positive * log_p).sum(dim=1) / positive.sum(dim=1).clamp(min=1)).mean()
            w.terms(supcon=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                scored(run, step, net, told=w)


@planted("cone", "no_repulsion", source="trainers-in-the-wild.md, setfit; positives alone", world=MPNET)
def only_positive_labels(run: Run, *, right: bool = False) -> None:
    """The trainer of sentence-transformers with a cosine loss, where every pair has the label 1."""
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss

    model, data = stored_model(run, 6000)
    if not right:
        data = data.add_column("label", [1.0] * len(data))
    loss = MultipleNegativesRankingLoss(model) if right else CosineSimilarityLoss(model)
    rate = {"learning_rate": 3e-4, "lr_scheduler_type": "constant"}
    fit(run, model, data, loss, steps=150, per_device_train_batch_size=32, **rate)


@planted("dead_dimensions", "dead_units", "penalty_too_strong", source="harsh19/SPINE#6")
def sparse_codes(run: Run, *, right: bool = False) -> None:
    """Rectified codes of 768 units and the price of their sum."""
    dimension = run.world.dimension
    encoder = nn.Sequential(nn.Linear(dimension, 768), nn.ReLU())
    nn.init.orthogonal_(encoder[0].weight)
    adam = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    strength = 1e-3 if right else 0.3
    with watched(run, encoder, optimizer=adam, raw=lambda: run.world.reference) as w:
        for step, rows in numbered(run, 300, 64):
            if step == 1:
                scored(run, 0, encoder, told=w)
            q, d = encoder(run.world.query[rows]), encoder(run.world.document[rows])
            terms = {"contrast": in_batch(q, d), "sparse": strength * (q.sum(dim=1) + d.sum(dim=1)).mean()}
            w.terms(terms)
            (terms["contrast"] + terms["sparse"]).backward()
            adam.step()
            adam.zero_grad()
        scored(run, step, encoder, told=w)


def _bounded(dimension: int) -> nn.Sequential:
    last = nn.LayerNorm(dimension, elementwise_affine=False)
    return nn.Sequential(identity(dimension), nn.Tanh(), identity(dimension), last)


@planted("one_sided_collapse", "steps_too_large", source="embeddings-benchmark/mteb#5069", world=MPNET)
def one_tower_too_fast(run: Run, *, right: bool = False) -> None:
    """Two towers with an optimiser each; one of the two rates has lost its zeros."""
    dimension = run.world.dimension
    towers = Pair(*(_bounded(dimension) for _ in range(2)))
    rates = {"query": 1e-4, "document": 1e-4 if right else 0.3}
    optimizers = [torch.optim.Adam(getattr(towers, side).parameters(), lr=rate) for side, rate in rates.items()]
    with watched(run, towers, optimizer=optimizers, query="query", document="document") as w:
        scored(run, 0, towers.query, towers.document, told=w)
        for step, rows in numbered(run, 200, 64):
            loss = in_batch(towers.query(run.world.query[rows]), towers.document(run.world.document[rows]))
            loss.backward()
            for one in optimizers:
                one.step()
                one.zero_grad()
            if step % 100 == 0:
                scored(run, step, towers.query, towers.document, told=w)


class Shift(nn.Module):
    """Adds one learned vector to all of a side, as for the type of a token."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.side = nn.Parameter(torch.zeros(dimension))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shifted vectors."""
        return x + self.side


@planted("side_gap", "penalty_leak", source="diagnosis.md section 3; a probe that was to be detached")
def side_probe(run: Run, *, right: bool = False) -> None:
    """A small classifier of query against document is trained beside what is added to either side, as a monitor."""
    dimension = run.world.dimension
    towers, probe = Pair(Shift(dimension), Shift(dimension)), nn.Linear(dimension, 1)
    opt = torch.optim.Adam([*towers.parameters(), *probe.parameters()], lr=3e-3)
    sides = torch.cat([torch.zeros(64), torch.ones(64)])
    with watched(run, towers, optimizer=opt, query="query", document="document", similarity="euclidean") as w:
        scored(run, 0, towers.query, towers.document, similarity="euclidean")
        for _, rows in numbered(run, 300, 64):
            q, d = towers.query(run.world.query[rows]), towers.document(run.world.document[rows])
            seen = torch.cat([q, d])
            side = functional.binary_cross_entropy_with_logits(probe(seen.detach() if right else seen)[:, 0], sides)
            contrast = functional.cross_entropy(-torch.cdist(q, d) / 0.1, torch.arange(64))
            w.terms(contrast=contrast, side=25 * side)
            (contrast + 25 * side).backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, towers.query, towers.document, similarity="euclidean")
