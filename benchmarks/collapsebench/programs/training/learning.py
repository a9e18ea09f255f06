"""What is learnt: nothing, one domain, by heart, the wrong pairs; what is scored."""

from __future__ import annotations

import torch
from loop import Run, Towers
from torch import Tensor, nn
from torch.nn import functional

from .. import program
from ..parts import cosines, identity, softmax
from .common import GROUP, MPNET, SCIFACT, Hash, LowRank


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
    model = LowRank(run.world.dimension)
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
    head = Hash(run.world.dimension, 16, sharpness=2.0)
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
