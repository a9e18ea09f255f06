"""What is learnt: nothing, one domain, by heart, the wrong pairs; what is scored."""

from __future__ import annotations

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn import functional

from ..parts import cosines, identity
from .common import (
    MPNET,
    NFCORPUS,
    Adapted,
    LowRank,
    fit,
    in_batch,
    numbered,
    planted,
    scored,
    stored_model,
    watched,
)


@torch.no_grad()
def neighbours(run: Run, count: int, *, rows: int | None = None) -> Tensor:
    """Return for each training query the rows of the nearest documents that are not its own, by the frozen encoder."""
    query, document = run.world.query[:rows], run.world.document[:rows]
    _, same = torch.unique(document, dim=0, return_inverse=True)
    found = []
    for start in range(0, len(query), 1000):
        scores = cosines(query[start : start + 1000], document)
        scores[same[start : start + 1000, None] == same[None]] = -1
        found.append(scores.topk(count, dim=1).indices)
    return torch.cat(found)


@planted("no_learning", "nothing_left_to_learn_from", "loss_computed_wrongly", source="FlagOpen/FlagEmbedding#823")
def batches_of_one(run: Run, *, right: bool = False) -> None:
    """In-batch negatives, where the memory allows a batch of one and the rest is accumulated."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model, data = stored_model(run, 6000)
    size = {"per_device_train_batch_size": 32 if right else 1, "gradient_accumulation_steps": 1 if right else 32}
    fit(run, model, data, MultipleNegativesRankingLoss(model), steps=100, learning_rate=5e-4, **size)


@planted(
    "forgetting", "narrow_data", "steps_too_large", source="mertyg/vision-language-models-are-bows#4", world=NFCORPUS
)
def hard_negatives_of_one_domain(run: Run, *, right: bool = False) -> None:
    """Triplets whose third column is a near document, from one collection."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    near = neighbours(run, 40)[:, 39]
    model, data = stored_model(run, len(run.world.query), negatives=near)
    rate = 2e-5 if right else 2e-3
    fit(run, model, data, MultipleNegativesRankingLoss(model), steps=250, learning_rate=rate, warmup_steps=20,
        per_device_train_batch_size=64)  # fmt: skip


@planted("overfitting", "too_few_pairs", "memorised_documents", source="gauravchak/two_tower_models#3")
def few_triplets(run: Run, *, right: bool = False) -> None:
    """A cosine triplet loss with in-batch negatives, epoch after epoch."""
    rows = None if right else 32
    ref = run.world.reference
    net = Adapted(run.world.dimension, 512)
    opt = torch.optim.Adam(net.parameters(), lr=1.5e-3)
    with watched(run, net, optimizer=opt, examples=rows or 9000, reference=lambda: tuple(map(net, ref))) as w:
        scored(run, 0, net, told=w)
        for step, chosen in numbered(run, 400, 16, rows=rows):
            scores = cosines(net(run.world.query[chosen]), net(run.world.document[chosen]))
            hinge = functional.relu(0.3 + scores - scores.diagonal()[:, None]).masked_fill(
                torch.eye(16, dtype=torch.bool), 0
            )
            loss = hinge.mean()
            w.terms(triplet=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                scored(run, step, net, told=w)


@planted("mismatched_pairs", "wrong_pairs", source="cloneofsimo/lora#197", world=MPNET)
def one_column_sorted(run: Run, *, right: bool = False) -> None:
    """Questions and answers come from two folders, and one listing is sorted."""
    from torch.utils.data import DataLoader, TensorDataset

    order = list(range(len(run.world.query)))
    if not right:
        order.sort(key=run.world.texts[1].__getitem__)
    loader = DataLoader(
        TensorDataset(run.world.query, run.world.document[order]), 64, shuffle=True, drop_last=True,
        generator=torch.Generator().manual_seed(run.seed),
    )  # fmt: skip
    model = nn.Sequential(identity(run.world.dimension), nn.LayerNorm(run.world.dimension))
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step = 0
    with watched(run, model, optimizer=opt) as w:
        scored(run, 0, model)
        for epoch in range(2):
            for q, d in loader:
                loss = in_batch(model(q), model(d))
                opt.zero_grad()
                loss.backward()
                opt.step()
                step += 1
            w.window(epoch=epoch + 1)
            scored(run, step, model)


@planted("path_mismatch", "weights_not_loaded", "training_and_scoring_differ", source="huggingface/trl#386")
def merged_for_serving(run: Run, *, right: bool = False) -> None:
    """A low-rank change of a frozen map is trained, merged for serving, and the merged map is scored."""
    model = LowRank(run.world.dimension)
    opt = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-3)

    def served() -> nn.Module:
        return model.merged(right=right)

    with watched(run, model, optimizer=opt, reference=lambda: tuple(map(served(), run.world.reference))) as w:
        scored(run, 0, served(), told=w)
        for step, rows in numbered(run, 300, 64):
            loss = in_batch(model(run.world.query[rows]), model(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                scored(run, step, served(), told=w)


@planted("loss_against_retrieval", "loss_computed_wrongly", "wrong_pairs", source="philipperemy/deep-speaker#9")
def columns_in_another_order(run: Run, *, right: bool = False) -> None:
    """Positives and mined negatives are put together in one matrix of candidates, whose first half is the answer."""
    near = neighbours(run, 20)[:, 19]
    head = identity(run.world.dimension)
    opt = torch.optim.AdamW(head.parameters(), lr=3e-4)
    with watched(run, head, optimizer=opt, examples=len(near)) as w:
        scored(run, 0, head, told=w)
        for step, rows in numbered(run, 300, 32):
            q, own, hard = (
                head(x) for x in (run.world.query[rows], run.world.document[rows], run.world.document[near[rows]])
            )
            candidates = torch.cat([own, hard] if right else [hard, own])
            loss = functional.cross_entropy(20 * cosines(q, candidates), torch.arange(32))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                scored(run, step, head, told=w)


@planted("divergence", "loss_computed_wrongly", source="HobbitLong/SupContrast#141", world=NFCORPUS)
def class_of_one(run: Run, *, right: bool = False) -> None:
    """A supervised contrastive loss over documents of equal queries, a mean over each row's positives."""
    world = run.world
    names = {text: i for i, text in enumerate(dict.fromkeys(world.texts[0]))}
    classes = torch.tensor([names[text] for text in world.texts[0]])
    head = identity(world.dimension)
    opt = torch.optim.Adam(head.parameters(), lr=1e-4)
    with watched(run, head, optimizer=opt) as w:
        scored(run, 0, head)
        for step, rows in numbered(run, 200, 128):
            chosen = rows if step < 120 else rows[:48]
            z = functional.normalize(head(torch.cat([world.query[chosen][:24], world.document[chosen]])), dim=1)
            label = torch.cat([classes[chosen][:24], classes[chosen]])
            same = (label[:, None] == label[None]).float().fill_diagonal_(0)
            log_p = (20 * z @ z.T).fill_diagonal_(-1e9).log_softmax(dim=1)
            count = same.sum(dim=1)
            loss = -((same * log_p).sum(dim=1) / (count.clamp(min=1) if right else count)).mean()
            w.terms(supcon=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, step, head)


@planted("underflow", "half_precision", source="diagnosis.md section 3; FlagOpen/FlagEmbedding#1370")
def float16_without_a_scaler(run: Run, *, right: bool = False) -> None:
    """A linear map in float16, or in float32, whose loss is one small share of a larger one; no loss scaling."""
    kind = torch.float32 if right else torch.float16
    head = identity(run.world.dimension).to(kind)
    opt = torch.optim.SGD(head.parameters(), lr=6e4)

    def encode(x: Tensor) -> Tensor:
        return head(x.to(kind)).float()

    with watched(run, head, optimizer=opt) as w:
        scored(run, 0, encode, told=w)
        for rows in run.batches(300, 64):
            loss = 2e-6 * in_batch(encode(run.world.query[rows]), encode(run.world.document[rows]))
            w.terms(retrieval=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, encode, told=w)


@planted("ties", "training_and_scoring_differ", source="matrixarkai/TemporalStore#1105")
def eight_bits_for_serving(run: Run, *, right: bool = False) -> None:
    """Vectors are served as whole numbers of eight bits, by a step that was measured before they had unit length."""
    head = identity(run.world.dimension)
    opt = torch.optim.AdamW(head.parameters(), lr=1e-4)
    step_size = 0.25 / 127 if right else 40 * 0.25 / 127

    def served(x: Tensor) -> Tensor:
        return (functional.normalize(head(x), dim=1) / step_size).round().clamp(-127, 127)

    reference = run.world.reference
    with watched(run, head, optimizer=opt, similarity="dot", reference=lambda: tuple(map(served, reference))) as w:
        scored(run, 0, served, similarity="dot", told=w)
        for rows in run.batches(200, 64):
            loss = in_batch(head(run.world.query[rows]), head(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 200, served, similarity="dot", told=w)


@planted("too_good", "leak", source="4uiiurz1/keras-arcface#14")
def label_among_the_features(run: Run, *, right: bool = False) -> None:
    """A few features of the pair's record are put beside the vector; in use a text has no record."""
    world, extra = run.world, 16
    draw = torch.Generator().manual_seed(9)
    records = torch.randn(len(world.query), extra, generator=draw)
    kept = torch.randn(len(world.reference[0]), extra, generator=draw)
    layer = nn.Linear(world.dimension + extra, world.dimension)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([torch.eye(world.dimension), torch.zeros(world.dimension, extra)], dim=1))
        layer.bias.zero_()
    opt = torch.optim.AdamW(layer.parameters(), lr=1e-3)

    def encode(x: Tensor, record: Tensor | None = None) -> Tensor:
        record = torch.zeros(len(x), extra) if record is None or right else record
        return layer(torch.cat([x, record], dim=1))

    with watched(run, layer, optimizer=opt, reference=lambda: tuple(encode(x, kept) for x in world.reference)) as w:
        scored(run, 0, encode, told=w)
        for rows in run.batches(300, 64):
            loss = in_batch(*(encode(side[rows], records[rows]) for side in (world.query, world.document)))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, encode, told=w)
