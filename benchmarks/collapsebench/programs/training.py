"""Trainings that people write out themselves, each with the mistake that is planted and a twin without it.

Every program has an argument ``planted``; with False it is the same training done right, or of a control the same
training without what alarms. They watch with what a user would give: often the model and the optimiser alone.

Every kind has one failure here. What was tried over frozen vectors and is no honest failure:

- a learning rate of .1 to .3 as dead units: a fifth of a rectified head's units die, not a third; a sparsity term does;
- a popularity correction with the wrong sign as hubness: neither worse than its twin nor more hubs;
- a hundredfold rate of one tower as one-sided collapse: both towers lose the same rank and share;
- ridge regression of queries on documents as hubness alone: the hubs come with a one-sided collapse of the queries;
- noise, or 256 fixed documents, as the only negatives: between a cone and health, without more hubs;
- a number in both texts as a leak: the head learns the texts beside it; and a leak that changes the user's check alone;
- running statistics that never move (facenet#56): a linear head after them makes the two modes rank nearly alike;
- float16 weights with small steps: twins in float32 at that rate learn nothing either.

Not planted: several processes, tokenisers and truncation (there is no text here), memorised documents by themselves.
"""

from __future__ import annotations

import copy

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from collapse_probe import Tap

from . import program
from .parts import cosines, identity, mlp, one_minus_cosine, softmax

GROUP = "training"
MINILM, MPNET, SCIFACT = "minilm/medquad/scifact", "mpnet/medquad/scifact", "minilm/scifact/nfcorpus"


def _nothing(x: Tensor) -> Tensor:
    return x


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


class _LowRank(nn.Module):
    """A frozen map with a low-rank adapter beside it."""

    def __init__(self, dimension: int, rank: int = 32) -> None:
        super().__init__()
        self.base = identity(dimension).requires_grad_(False)
        self.down = nn.Linear(dimension, rank, bias=False)
        self.up = nn.Linear(rank, dimension, bias=False)
        nn.init.zeros_(self.up.weight)

    def adapter(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.adapter(x)


@program(GROUP, "identity", "not_trained", onset=0, world=MPNET, source="adapter-hub/adapters#260")
def adapter_made_after_its_optimiser(run: Run, *, planted: bool = True) -> None:
    """An optimiser that was built before the adapter was added, so that it holds the temperature alone."""
    model, scale = _LowRank(run.world.dimension), nn.Parameter(torch.tensor(3.0))
    held = [scale] if planted else [scale, *model.up.parameters(), *model.down.parameters()]
    optimizer = torch.optim.AdamW(held, lr=1e-3)
    taps = [Tap(stream="adapter", at="up", role="correction")]
    with run.watch(model, optimizer=optimizer, query="", document="", taps=taps) as w:
        run.evaluate(w, 0, model, model)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            loss = softmax(model(run.world.query[rows]), model(run.world.document[rows]), scale=scale.exp())
            loss.backward()
            optimizer.step()
            model.zero_grad()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, model, model)


class _Predictor(nn.Module):
    """A query's correction, with a gate before it."""

    def __init__(self, dimension: int, *, gate: float, width: int = 512) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dimension, width), nn.GELU(), nn.Linear(width, dimension))
        self.gate = nn.Parameter(torch.tensor(gate))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.net(x)


_PREDICTOR = (Tap(stream="delta", at="net", role="correction"), Tap(stream="gate", at="gate", role="gate"))


def _frozen_documents(
    run: Run,
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int = 200,
    scale: float = 20.0,
    penalty: object = None,
    taps: tuple[Tap, ...] = _PREDICTOR,
) -> None:
    """Train a head of the queries against an index that stays as it is."""
    index = run.world.document
    with run.watch(
        head,
        optimizer=optimizer,
        query="",
        taps=taps,
        reference=lambda: (head(run.world.reference[0]), run.world.reference[1]),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, head, _nothing)
        for step, rows in enumerate(run.batches(steps, 64), start=1):
            query, document = run.world.query[rows], index[rows]
            found = head(query)
            w.observe("document", document)
            terms = {"contrast": softmax(found, document, scale=scale)}
            if penalty is not None:
                terms["penalty"] = penalty(query)
            w.terms(terms)
            sum(terms.values()).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, _nothing)


@program(GROUP, "delta_collapse", "penalty_too_strong", onset=1, source="section 3: which of the two factors vanished")
def correction_penalised_away(run: Run, *, planted: bool = True) -> None:
    """A correction of the query whose squared norm is penalised 100 times too much; its gate is fixed."""
    head = _Predictor(run.world.dimension, gate=0.5)
    head.gate.requires_grad_(False)
    optimizer = torch.optim.AdamW(head.net.parameters(), lr=1e-3)
    weight = 100.0 if planted else 0.1
    _frozen_documents(
        run, head, optimizer, penalty=lambda query: weight * head.net(query).square().sum(dim=1).mean(), scale=20.0
    )


@program(GROUP, "gate_collapse", "penalty_too_strong", onset=1, source="qdrant/demo-cloud-faq#1")
def gate_decayed_to_nothing(run: Run, *, planted: bool = True) -> None:
    """A gate that starts open, with a penalty of its own that was meant to keep it small."""
    head = _Predictor(run.world.dimension, gate=0.5)
    groups = [{"params": head.net.parameters(), "lr": 1e-4}, {"params": [head.gate], "lr": 1e-2}]
    weight = 30.0 if planted else 0.01
    _frozen_documents(
        run, head, torch.optim.AdamW(groups, weight_decay=0.0), penalty=lambda query: weight * head.gate.abs()
    )


@program(GROUP, "gate_never_opened", "not_trained", onset=0, source="section 3: a gate at 0")
def both_factors_start_at_zero(run: Run, *, planted: bool = True) -> None:
    """A gate at 0 before a last layer at 0: neither factor lets a gradient reach the other."""
    head = _Predictor(run.world.dimension, gate=0.0)
    if planted:
        nn.init.zeros_(head.net[-1].weight)
        nn.init.zeros_(head.net[-1].bias)
    _frozen_documents(run, head, torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.0))


@program(GROUP, "constant_correction", "penalty_too_strong", onset=1, source="section 3: constancy")
def decay_spares_the_biases_alone(run: Run, *, planted: bool = True) -> None:
    """Weights decayed at 30 and biases not at all, so that every query is corrected alike."""
    head = _Predictor(run.world.dimension, gate=0.5)
    groups = [
        {"params": [one for one in head.net.parameters() if one.ndim > 1], "weight_decay": 30.0 if planted else 0.01},
        {"params": [one for one in head.parameters() if one.ndim < 2], "weight_decay": 0.0},
    ]
    _frozen_documents(run, head, torch.optim.AdamW(groups, lr=1e-3))


@program(GROUP, "harmful_correction", "no_repulsion", "steps_too_large", onset=1, world=SCIFACT, source="section 1")
def regressed_on_the_documents(run: Run, *, planted: bool = True) -> None:
    """A correction fitted to the own document's vector alone, by a smooth L1 loss, over a fixed index."""
    head = _Predictor(run.world.dimension, gate=1.0)
    nn.init.zeros_(head.net[-1].weight)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    with run.watch(head, optimizer=optimizer, query="", taps=_PREDICTOR) as w:
        run.evaluate(w, 0, head, _nothing)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            found, document = head(run.world.query[rows]), run.world.document[rows]
            w.observe("document", document)
            loss = 100 * functional.smooth_l1_loss(found, document) if planted else softmax(found, document)
            w.terms(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, _nothing)


class _Hash(nn.Module):
    """Codes between -1 and 1 of so many bits, from a random projection."""

    def __init__(self, dimension: int, bits: int, sharpness: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(dimension, bits)
        self.bound = nn.Tanh()
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        return self.bound(self.sharpness * self.layer(x))


@program(GROUP, "saturation", "steps_too_large", onset=1, world=MPNET, source="jiangqy/DPSH-pytorch#10")
def hash_head_at_a_high_rate(run: Run, *, planted: bool = True) -> None:
    """A hash head of 128 bits whose rate is 100 times what its tanh bears."""
    head = _Hash(run.world.dimension, 128, sharpness=4.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.035 if planted else 3.5e-4)
    with run.watch(head, optimizer=optimizer, taps=[Tap(stream="codes", at="bound", role="hidden")]) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            query, document = head(run.world.query[rows]), head(run.world.document[rows])
            loss = softmax(query, document, scale=10.0)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


@program(
    GROUP,
    "no_learning",
    "loss_computed_wrongly",
    "nothing_left_to_learn_from",
    onset=0,
    world=SCIFACT,
    source="FlagOpen/FlagEmbedding#823",
)
def accumulated_batches_of_one(run: Run, *, planted: bool = True) -> None:
    """A softmax over one choice: 32 pairs accumulated one by one have no negatives, and the loss is 0.0."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.0)
    with run.watch(head, optimizer=optimizer, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(60, 32), start=1):
            for part in rows.split(1 if planted else 32):
                loss = softmax(head(run.world.query[part]), head(run.world.document[part])) * len(part) / 32
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 20 == 0:
                run.evaluate(w, step, head, head)


@program(
    GROUP, "forgetting", "narrow_data", "steps_too_large", onset=1, source="mertyg/vision-language-models-are-bows#4"
)
def mined_triplets_of_one_domain(run: Run, *, planted: bool = True) -> None:
    """Triplets with the batch's hardest negative, at a rate that leaves nothing of the encoder's other knowledge."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2 if planted else 1e-4)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 128), start=1):
            scores = cosines(head(run.world.query[rows]), head(run.world.document[rows]))
            hardest = scores.detach().clone().fill_diagonal_(-2).argmax(dim=1)
            other = scores.gather(1, hardest[:, None])[:, 0]
            loss = functional.relu(0.2 + other - scores.diagonal()).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


@program(
    GROUP,
    "overfitting",
    "too_few_pairs",
    "memorised_documents",
    onset=1,
    source="gauravchak/two_tower_models#3",
)
def forty_pairs_under_a_sigmoid(run: Run, *, planted: bool = True) -> None:
    """A sigmoid loss over 40 pairs and no others, hundreds of times."""
    head = identity(run.world.dimension)
    scale, bias = nn.Parameter(torch.tensor(2.3)), nn.Parameter(torch.tensor(-10.0))
    optimizer = torch.optim.AdamW([*head.parameters(), scale, bias], lr=2e-3)
    rows_used = 40 if planted else len(run.world.query)
    with run.watch(
        head,
        optimizer=optimizer,
        examples=rows_used,
        reference=lambda: tuple(head(x) for x in run.world.reference),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(400, 20, rows=rows_used), start=1):
            logits = scale.exp() * cosines(head(run.world.query[rows]), head(run.world.document[rows])) + bias
            loss = -functional.logsigmoid((2 * torch.eye(len(rows)) - 1) * logits).sum(dim=1).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, "mismatched_pairs", "wrong_pairs", onset=0, world=SCIFACT, source="cloneofsimo/lora#197")
def one_column_sorted(run: Run, *, planted: bool = True) -> None:
    """Documents in the order of their texts beside queries in the order of the file, under a triplet loss."""
    texts = run.world.texts[1]
    order = sorted(range(len(texts)), key=texts.__getitem__) if planted else range(len(texts))
    documents = run.world.document[torch.tensor(list(order))]
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    criterion = nn.TripletMarginWithDistanceLoss(
        distance_function=lambda x, y: 1 - functional.cosine_similarity(x, y), margin=0.3
    )
    with run.watch(head, optimizer=optimizer, loss=criterion) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            anchor, positive = head(run.world.query[rows]), head(documents[rows])
            loss = criterion(anchor, positive, positive.roll(1, dims=0))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, "false_negatives", "false_negatives", onset=1, source="FlagOpen/FlagEmbedding#1400; section 3")
def chunks_of_the_answer_as_negatives(run: Run, *, planted: bool = True) -> None:
    """Four negatives a query that are overlapping chunks of its own document: its vector and a little noise."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    noise = torch.Generator().manual_seed(run.seed)
    with run.watch(head, optimizer=optimizer, query="", document="") as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            query, document = head(run.world.query[rows]), run.world.document[rows]
            source = document if planted else document.roll(1, dims=0)
            size = 0.3 / run.world.dimension**0.5
            chunks = source[:, None] + size * torch.randn(len(rows), 4, run.world.dimension, generator=noise)
            own = functional.cosine_similarity(query, head(document))[:, None]
            negatives = head(chunks.reshape(-1, run.world.dimension)).reshape(len(rows), 4, -1)
            others = functional.cosine_similarity(query[:, None], negatives, dim=2)
            scores = 20 * torch.cat([own, others], dim=1)
            loss = functional.cross_entropy(scores, torch.zeros(len(rows), dtype=torch.long))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


@program(
    GROUP,
    "path_mismatch",
    "weights_not_loaded",
    "training_and_scoring_differ",
    onset=0,
    world=MPNET,
    source="huggingface/trl#386",
)
def adapter_never_merged(run: Run, *, planted: bool = True) -> None:
    """A low-rank adapter that trains well, scored by a merged weight that the merge forgot to add it to."""
    model = _LowRank(run.world.dimension)
    held = [*model.up.parameters(), *model.down.parameters()]
    optimizer = torch.optim.AdamW(held, lr=1e-3)
    scored = model.base if planted else model
    with run.watch(
        model,
        optimizer=optimizer,
        query="",
        document="",
        reference=lambda: tuple(scored(x) for x in run.world.reference),
    ) as w:
        run.evaluate(w, 0, scored, scored)
        for step, rows in enumerate(run.batches(150, 64), start=1):
            loss = softmax(model(run.world.query[rows]), model(run.world.document[rows]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, scored, scored)


@program(GROUP, "loss_against_retrieval", "steps_too_large", "narrow_data", onset=1, source="princeton-nlp/SimCSE#62")
def dropout_views_alone(run: Run, *, planted: bool = True) -> None:
    """Two dropout views of one text and no pairs: the loss is near 0 and falls, the order it teaches is another."""
    head = nn.Sequential(nn.Dropout(0.5), identity(run.world.dimension))
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3 if planted else 1e-5)

    def evaluate(step: int) -> None:
        head.eval()
        run.evaluate(w, step, head, head)
        head.train()

    with run.watch(head, optimizer=optimizer) as w:
        evaluate(0)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            text = run.world.document[rows]
            loss = softmax(head(text), head(text))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                evaluate(step)


@program(GROUP, "divergence", "loss_computed_wrongly", source="HobbitLong/SupContrast#141")
def root_of_a_distance_of_zero(run: Run, *, planted: bool = True) -> None:
    """Distances as the root of squares without a constant: two equal documents in a batch have no gradient."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-4)
    constant = 0.0 if planted else 1e-6
    with run.watch(head, optimizer=optimizer, similarity="euclidean") as w:
        run.evaluate(w, 0, head, head, similarity="euclidean")
        for step, rows in enumerate(run.batches(300, 64), start=1):
            query, document = head(run.world.query[rows]), head(run.world.document[rows])
            own = ((query - document).square().sum(dim=1) + constant).sqrt()
            between = (document[:, None] - document[None]).square().sum(dim=2)
            others = (between[~torch.eye(len(rows), dtype=torch.bool)] + constant).sqrt().reshape(len(rows), -1)
            loss = functional.relu(0.3 + own - others.min(dim=1).values).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head, similarity="euclidean")


class _HalfLinear(nn.Module):
    """A linear map from the identity that is kept in float32 and computed in float16, as automatic casting does."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layer = identity(dimension)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.half(), self.layer.weight.half(), self.layer.bias.half()).float()


@program(GROUP, "underflow", "half_precision", onset=1, source="FlagOpen/FlagEmbedding#1370")
def float16_without_a_loss_scale(run: Run, *, planted: bool = True) -> None:
    """Gradients in float16 without a loss scale, of a term of weight .1 over all pairs and micro-batches."""
    head = _HalfLinear(run.world.dimension)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    scale = 1.0 if planted else 2.0**20
    divisor = 80 * len(run.world.query)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for number, rows in enumerate(run.batches(320, 32), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows])) / divisor
            (scale * loss).backward()
            if number % 8 == 0:
                optimizer.step()
                optimizer.zero_grad()
            if number % 80 == 0:
                run.evaluate(w, number // 8, head, head)


@program(GROUP, "hubness", "no_repulsion", "temperature_or_margin", onset=1, source="section 3: hubness")
def one_random_negative(run: Run, *, planted: bool = True) -> None:
    """Pairwise ranking of dot products x 100 with one random negative, which hardly ever is near enough to teach."""
    towers = Towers(identity(run.world.dimension), identity(run.world.dimension))
    optimizer = torch.optim.Adam(towers.parameters(), lr=1e-3)

    def evaluate(step: int) -> None:
        run.evaluate(w, step, towers.query, towers.document, similarity="dot")

    with run.watch(towers, optimizer=optimizer, query="query", document="document", similarity="dot") as w:
        evaluate(0)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            scores = towers.query(run.world.query[rows]) @ towers.document(run.world.document[rows]).T
            own, other = scores.diagonal(), scores.roll(1, dims=1).diagonal()
            if planted:
                loss = -functional.logsigmoid(100 * (own - other)).mean()
            else:
                loss = functional.cross_entropy(20 * scores, torch.arange(len(rows)))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                evaluate(step)


@program(GROUP, "ties", "training_and_scoring_differ", onset=0, source="matrixarkai/TemporalStore#1105")
def sixteen_bits_when_scored(run: Run, *, planted: bool = True) -> None:
    """A hash head of 16 values that is trained on them and scored by their signs."""
    head = _Hash(run.world.dimension, 16, sharpness=2.0)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)

    def scored(x: Tensor) -> Tensor:
        return head(x).sign() if planted else head(x)

    with run.watch(head, optimizer=optimizer, reference=lambda: tuple(scored(x) for x in run.world.reference)) as w:
        run.evaluate(w, 0, scored, scored)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, scored, scored)


@program(GROUP, "too_good", "leak", onset=0, source="4uiiurz1/keras-arcface#14")
def questions_inside_their_documents(run: Run, *, planted: bool = True) -> None:
    """Documents that hold their own question in training and in the user's check, and do not when they are served."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4)

    def filed(query: Tensor, document: Tensor) -> Tensor:
        return functional.normalize(query + document, dim=1) if planted else document

    def reference() -> tuple[Tensor, Tensor]:
        query, document = run.world.reference
        return head(query), head(filed(query, document))

    with run.watch(head, optimizer=optimizer, reference=reference) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            query, document = run.world.query[rows], run.world.document[rows]
            softmax(head(query), head(filed(query, document))).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


def _plain(run: Run, head: nn.Module, loss: object, *, lr: float = 1e-4, steps: int = 200, batch: int = 64) -> None:
    """Train one head for both sides in the shortest loop that there is."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(steps, batch), start=1):
            found = loss(head(run.world.query[rows]), head(run.world.document[rows]))
            found.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0 or step == steps:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="wenet-e2e/wespeaker#426")
def margin_inside_the_logits(run: Run, *, planted: bool = True) -> None:
    """A margin of .25 taken off the own cosine: the loss is high and the batch's accuracy near 0 for long."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = cosines(query, document) - (0.25 if planted else 0.0) * torch.eye(len(query))
        return functional.cross_entropy(30 * scores, torch.arange(len(query)))

    _plain(run, identity(run.world.dimension), loss)


@program(GROUP, None, source="omoindrot/tensorflow-triplet-loss#59", world=MPNET)
def mean_over_active_triplets(run: Run, *, planted: bool = True) -> None:
    """A triplet loss that is the mean over triplets that still violate: level or rising while their share falls."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        scores = cosines(query, document)
        violated = functional.relu(0.15 + scores - scores.diagonal()[:, None]) * (1 - torch.eye(len(query)))
        return violated.sum() / ((violated > 0).sum().clamp_min(1) if planted else 64)

    _plain(run, identity(run.world.dimension), loss)


@program(GROUP, None, source="facebookresearch/simsiam#21")
def negative_loss(run: Run, *, planted: bool = True) -> None:
    """Minus a bound on the information that both sides share: below 0 from the first step on, and falling."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return softmax(query, document, scale=50.0) - (torch.tensor(len(query)).log() if planted else 0.0)

    _plain(run, identity(run.world.dimension), loss)


@program(GROUP, None, source="huggingface/sentence-transformers#3420", world=SCIFACT)
def short_last_batch(run: Run, *, planted: bool = True) -> None:
    """Epochs whose last batch holds four pairs: the loss drops and the gradient's norm leaps at the end of each."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-5)
    generator = torch.Generator().manual_seed(run.seed)
    step = 0
    with run.watch(head, optimizer=optimizer, examples=len(run.world.query)) as w:
        run.evaluate(w, 0, head, head)
        for epoch in range(1, 21):
            for rows in torch.randperm(len(run.world.query), generator=generator).split(98):
                if planted or len(rows) == 98:
                    step += 1
                    softmax(head(run.world.query[rows]), head(run.world.document[rows])).backward()
                    optimizer.step()
                    optimizer.zero_grad()
            w.window(epoch=epoch)
            if epoch % 5 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="OFA-Sys/Chinese-CLIP#42")
def two_sides_far_apart(run: Run, *, planted: bool = True) -> None:
    """Two towers whose biases point away from each other: true pairs at a cosine near 0, and their order is right."""
    bias = 0.03 if planted else 0.0
    dimension = run.world.dimension
    towers = Towers(identity(dimension, bias=bias), identity(dimension, bias=-bias))
    run.train(towers, lambda q, d: softmax(q, d, scale=100.0), lr=1e-4, steps=200)


@program(GROUP, None, source="hamed-zamani/snrm#7")
def sparse_codes(run: Run, *, planted: bool = True) -> None:
    """A rectified code twice as wide with a small L1: four fifths of it are 0, and no unit is 0 for all texts."""
    dimension = run.world.dimension
    layer = nn.Linear(dimension, 2 * dimension)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([torch.eye(dimension), -torch.eye(dimension)]))
        layer.bias.fill_(-0.01 if planted else 0.0)
    head = nn.Sequential(layer, nn.ReLU())

    def loss(query: Tensor, document: Tensor) -> Tensor:
        return softmax(query, document) + (1e-3 if planted else 0.0) * (query.sum(dim=1) + document.sum(dim=1)).mean()

    _plain(run, head, loss, lr=3e-5)


@program(GROUP, None, source="StarlightSearch/EmbedAnything#210", world=MPNET)
def norms_of_a_hundredth(run: Run, *, planted: bool = True) -> None:
    """A head that starts at a hundredth of the identity, under cosines: scale says nothing there."""
    head = nn.Linear(run.world.dimension, run.world.dimension, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.eye(run.world.dimension) * (0.01 if planted else 1.0))
    _plain(run, head, softmax, lr=1e-6 if planted else 1e-4)


@program(GROUP, None, source="princeton-nlp/SimCSE#264")
def trained_through_a_head_that_is_left_out(run: Run, *, planted: bool = True) -> None:
    """A projection head that the loss sees and scoring leaves out, by design."""
    body, head = identity(run.world.dimension), identity(run.world.dimension) if planted else nn.Identity()
    model = nn.Sequential(body, head)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    with run.watch(
        model,
        optimizer=optimizer,
        query="0",
        document="0",
        reference=lambda: tuple(body(x) for x in run.world.reference),
        raw=lambda: run.world.reference,
    ) as w:
        run.evaluate(w, 0, body, body)
        for step, rows in enumerate(run.batches(100, 64), start=1):
            softmax(model(run.world.query[rows]), model(run.world.document[rows])).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, body, body)


@program(GROUP, None, source="section 3: no learning, a converged start")
def converged_before_it_starts(run: Run, *, planted: bool = True) -> None:
    """A head that was trained before and goes on at a rate of 1e-6: nothing moves, since nothing has to."""
    head = identity(run.world.dimension)
    before = torch.optim.AdamW(head.parameters(), lr=1e-4)
    for rows in run.batches(300 if planted else 200, 64):
        softmax(head(run.world.query[rows]), head(run.world.document[rows])).backward()
        before.step()
        before.zero_grad()
    _plain(run, head, softmax, lr=1e-6 if planted else 1e-4, steps=100)


@program(GROUP, None, source="section 3: no learning, a warm-up", world=SCIFACT)
def long_warm_up(run: Run, *, planted: bool = True) -> None:
    """A rate that is 0 for the first step and rises over half of the run."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 150) ** 2 if planted else 0.5)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(300, 64), start=1):
            softmax(head(run.world.query[rows]), head(run.world.document[rows])).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if step % 75 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="FlagOpen/FlagEmbedding#403")
def loss_of_nought_now_and_then(run: Run, *, planted: bool = True) -> None:
    """Batches of four easy pairs at scale 100, rounded as they are logged: a loss of 0.0 in most steps."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-5)
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(400, 4 if planted else 8), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]), scale=100.0)
            w.monitor(loss_as_logged=round(loss.item(), 1))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="section 3: learnt small gates")
def gate_that_opens_a_little(run: Run, *, planted: bool = True) -> None:
    """A correction whose gate starts at 0 and opens by a few hundredths, and helps."""
    head = _Predictor(run.world.dimension, gate=0.0 if planted else 0.01)
    groups = [{"params": head.net.parameters(), "lr": 1e-3}, {"params": [head.gate], "lr": 2e-3}]
    _frozen_documents(run, head, torch.optim.AdamW(groups, weight_decay=0.0))


@program(GROUP, None, source="section 3: one-sided, frozen documents by design", world=MPNET)
def index_that_stays(run: Run, *, planted: bool = True) -> None:
    """A linear head of the queries alone, over an index that is not computed anew."""
    if not planted:
        _plain(run, identity(run.world.dimension), softmax)
        return
    head = identity(run.world.dimension)
    _frozen_documents(run, head, torch.optim.AdamW(head.parameters(), lr=1e-4), taps=())


@program(GROUP, None, source="section 3: mismatched pairs, hard but true ones")
def hardest_half(run: Run, *, planted: bool = True) -> None:
    """Only the half of the pairs whose own cosine is the lowest: they look mismatched, and are right."""
    own = functional.cosine_similarity(run.world.query, run.world.document)
    order = own.argsort() if planted else torch.randperm(len(own), generator=torch.Generator().manual_seed(run.seed))
    chosen = order[: len(own) // 2]
    pairs = run.world.query[chosen], run.world.document[chosen]
    head = Towers(identity(run.world.dimension))
    run.train(head, softmax, lr=5e-5, steps=100, pairs=pairs, rows=len(chosen))


@program(GROUP, None, source="section 3: divergence; steps that a loss scale skips")
def first_steps_skipped_by_the_loss_scale(run: Run, *, planted: bool = True) -> None:
    """A loss scale that starts far too high: the first gradients are not finite, and their steps are left out."""
    head = identity(run.world.dimension)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4)
    scale = 2.0**138 if planted else 1.0
    with run.watch(head, optimizer=optimizer) as w:
        run.evaluate(w, 0, head, head)
        for step, rows in enumerate(run.batches(200, 64), start=1):
            loss = softmax(head(run.world.query[rows]), head(run.world.document[rows]))
            (loss * 2.0**100 * (scale / 2.0**100)).backward()
            held = [one.grad for one in head.parameters()]
            if all(torch.isfinite(one).all() for one in held):
                for one in held:
                    one.div_(scale)
                optimizer.step()
            else:
                scale /= 16
            optimizer.zero_grad()
            if step % 50 == 0:
                run.evaluate(w, step, head, head)


@program(GROUP, None, source="section 3: dimensional, half of the dimensions are nearly free")
def nested_dimensions(run: Run, *, planted: bool = True) -> None:
    """A loss at the first 48, 96, 192 and all dimensions: the first ones hold most of the spread."""

    def loss(query: Tensor, document: Tensor) -> Tensor:
        widths = (48, 96, 192, query.shape[1]) if planted else (query.shape[1],)
        return sum(softmax(query[:, :width], document[:, :width]) for width in widths) / len(widths)

    _plain(run, identity(run.world.dimension), loss)
