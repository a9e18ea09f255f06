"""Healthy ones that look alarming."""

from __future__ import annotations

import math

import torch
from loop import Run
from torch import nn
from torch.nn import functional

from ..parts import cosines, identity
from .common import (
    MPNET,
    NFCORPUS,
    SCIFACT,
    Adapted,
    LowRank,
    Pair,
    fit,
    in_batch,
    numbered,
    planted,
    scored,
    stored_model,
    watched,
)


@planted(None, source="facebookresearch/moco#43; cross-batch memory")
def memory_from_step_100(run: Run, *, right: bool = False) -> None:
    """A memory of the last 2,048 documents is added to the negatives at step 100, and the loss leaps."""
    world, net = run.world, identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=5e-5)
    memory = torch.empty(0, world.dimension)
    with watched(run, net, optimizer=opt) as w:
        scored(run, 0, net, told=w)
        for step, rows in numbered(run, 300, 64):
            q, d = (functional.normalize(net(side[rows]), dim=1) for side in (world.query, world.document))
            candidates = d if right or step < 100 else torch.cat([d, memory])
            loss = functional.cross_entropy(30 * q @ candidates.T, torch.arange(64))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            memory = torch.cat([memory, d.detach()])[-2048:]
            if step % 100 == 0:
                scored(run, step, net, told=w)


@planted(None, source="facebookresearch/simsiam#21", world=MPNET)
def loss_below_zero(run: Run, *, right: bool = False) -> None:
    """Alignment and uniformity: the loss is negative and goes on falling; the twin adds 4 to it."""
    net = identity(run.world.dimension)
    opt = torch.optim.Adam(net.parameters(), lr=1e-4)
    with watched(run, net, optimizer=opt, reference=lambda: tuple(map(net, run.world.reference))) as w:
        scored(run, 0, net)
        for rows in run.batches(300, 128):
            q, d = (functional.normalize(net(side[rows]), dim=1) for side in (run.world.query, run.world.document))
            uniform = sum(torch.pdist(z).square().mul(-2).exp().mean().log() for z in (q, d)) / 2
            aligned = (q - d).square().sum(dim=1).mean() + (4.0 if right else 0.0)
            loss = aligned + uniform
            w.terms({"aligned": aligned, "uniform": uniform})
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, net)


@planted(None, source="wenet-e2e/wespeaker#426")
def margin_inside_the_logits(run: Run, *, right: bool = False) -> None:
    """An additive margin of .3 on the own score: the batch's accuracy stays near 0."""
    net = identity(run.world.dimension)
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    margin = 0.0 if right else 0.3
    with watched(run, net, optimizer=opt, examples=len(run.world.query)) as w:
        scored(run, 0, net, told=w)
        for rows in run.batches(300, 64):
            logits = cosines(net(run.world.query[rows]), net(run.world.document[rows])) - margin * torch.eye(64)
            loss = functional.cross_entropy(20 * logits, torch.arange(64))
            w.terms(loss=loss)
            w.monitor(accuracy=(logits.argmax(dim=1) == torch.arange(64)).float().mean())
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, net, told=w)


@planted(None, source="omoindrot/tensorflow-triplet-loss#59")
def mean_over_active_triplets(run: Run, *, right: bool = False) -> None:
    """All triplets of a batch, the mean over those that still violate the margin: a level loss."""
    net = Adapted(run.world.dimension, 128)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-4)
    with watched(run, net, optimizer=opt) as w:
        scored(run, 0, net, told=w)
        for step, rows in numbered(run, 300, 64):
            opt.zero_grad()
            s = cosines(net(run.world.query[rows]), net(run.world.document[rows]))
            hinge = functional.relu(0.15 + s - s.diagonal()[:, None]).masked_fill(torch.eye(64, dtype=torch.bool), 0)
            loss = hinge.sum() / (hinge.numel() if right else (hinge > 0).sum().clamp(min=1))
            w.terms(triplet=loss)
            loss.backward()
            opt.step()
            if step % 150 == 0:
                scored(run, step, net, told=w)


@planted(None, source="huggingface/sentence-transformers#3420", world=SCIFACT)
def short_last_batch(run: Run, *, right: bool = False) -> None:
    """Each epoch of the trainer ends with a batch of five, where loss and gradient leap."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model, data = stored_model(run, 690)
    loss = MultipleNegativesRankingLoss(model)
    options = {"learning_rate": 1e-4, "logging_steps": 1, "dataloader_drop_last": right}
    fit(run, model, data, loss, steps=60, per_device_train_batch_size=137, **options)


@planted(None, source="OFA-Sys/Chinese-CLIP#42")
def two_sides_apart(run: Run, *, right: bool = False) -> None:
    """Two towers whose biases point opposite ways: own pairs have a low cosine, and the gap is wide."""
    dimension = run.world.dimension
    shift = 0.0 if right else 0.05
    towers = Pair(identity(dimension, bias=shift), identity(dimension, bias=-shift))
    opt = torch.optim.Adam(towers.parameters(), lr=1e-4)
    with watched(run, towers, optimizer=opt, query="query", document="document") as w:
        scored(run, 0, towers.query, towers.document, told=w)
        for step, rows in numbered(run, 300, 64):
            q, d = towers.query(run.world.query[rows]), towers.document(run.world.document[rows])
            loss = (in_batch(q, d, 100.0) + in_batch(d, q, 100.0)) / 2
            w.terms(clip=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                scored(run, step, towers.query, towers.document, told=w)


@planted(None, source="hamed-zamani/snrm#7")
def sparse_by_intent(run: Run, *, right: bool = False) -> None:
    """Rectified codes, mostly zeros by a small price on them; no unit is zero for all."""
    dimension = run.world.dimension
    layer = nn.Linear(dimension, 2 * dimension)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([torch.eye(dimension), -torch.eye(dimension)]))
        layer.bias.fill_(0.0)
    encoder = nn.Sequential(layer, nn.ReLU())
    opt = torch.optim.Adam(encoder.parameters(), lr=2e-4)
    price = 0.0 if right else 0.003
    with watched(run, encoder, optimizer=opt, reference=lambda: tuple(map(encoder, run.world.reference))) as w:
        scored(run, 0, encoder, told=w)
        for rows in run.batches(300, 64):
            q, d = encoder(run.world.query[rows]), encoder(run.world.document[rows])
            contrast, sparse = in_batch(q, d), price * (q.abs().sum(dim=1) + d.abs().sum(dim=1)).mean()
            w.terms(contrast=contrast, sparse=sparse)
            (contrast + sparse).backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, encoder, told=w)


@planted(None, source="StarlightSearch/EmbedAnything#210", world=NFCORPUS)
def small_norms_under_a_cosine(run: Run, *, right: bool = False) -> None:
    """A hundredth of the scale, and less from step to step by decay; scored by a cosine."""
    net = identity(run.world.dimension)
    if not right:
        with torch.no_grad():
            net.weight.mul_(0.01)
    rate = 5e-5 if right else 5e-7
    opt = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01 if right else 3e3)
    with watched(run, net, optimizer=opt) as w:
        scored(run, 0, net, told=w)
        for rows in run.batches(300, 64):
            loss = in_batch(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 300, net, told=w)


@planted(None, source="diagnosis.md section 3, a converged start", world=MPNET)
def goes_on_after_convergence(run: Run, *, right: bool = False) -> None:
    """A map that was trained before, and goes on at a thousandth of its rate."""
    net = identity(run.world.dimension)
    raw = run.world.reference
    first = torch.optim.AdamW(net.parameters(), lr=1e-4)
    for rows in run.batches(300, 64):
        in_batch(net(run.world.query[rows]), net(run.world.document[rows])).backward()
        first.step()
        first.zero_grad()
    opt = torch.optim.AdamW(net.parameters(), lr=1e-5 if right else 1e-7)
    with watched(run, net, optimizer=opt, raw=lambda: raw, reference=lambda: tuple(map(net, raw))) as w:
        scored(run, 0, net, told=w)
        for rows in run.batches(200, 64):
            loss = in_batch(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
        scored(run, 200, net, told=w)


@planted(None, source="mlfoundations/open_clip#31")
def learned_temperature(run: Run, *, right: bool = False) -> None:
    """A temperature that learns, in its own group and fast: the held-out loss turns up, retrieval does not."""
    net = nn.ModuleDict({"map": identity(run.world.dimension)})
    log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    groups = [{"params": net.parameters(), "lr": 1e-4}, {"params": [log_scale], "lr": 0.0 if right else 3e-2}]
    opt = torch.optim.AdamW(groups, weight_decay=0.0)
    encode = net["map"]
    with watched(run, net, optimizer=opt, query="map", document="map") as w:
        scored(run, 0, encode, told=w)
        for step, rows in numbered(run, 400, 32):
            loss = in_batch(encode(run.world.query[rows]), encode(run.world.document[rows]), log_scale.exp())
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 100 == 0:
                with torch.no_grad():
                    q, d = map(encode, run.world.reference)
                    w.monitor(held_out_loss=in_batch(q, d, log_scale.exp()))
                scored(run, step, encode, told=w)


@planted(None, source="diagnosis.md section 3, corrections that are small and useful; LoRA", world=NFCORPUS)
def low_rank_from_zero(run: Run, *, right: bool = False) -> None:
    """A low-rank change that starts at zero: one of its factors has no gradient at step 1."""
    net = identity(run.world.dimension) if right else LowRank(run.world.dimension, rank=8)
    trained = [one for one in net.parameters() if one.requires_grad]
    opt = torch.optim.AdamW(trained, lr=1e-4 if right else 1e-3)
    with watched(run, net, optimizer=opt) as w:
        scored(run, 0, net, told=w)
        for rows in run.batches(300, 64):
            loss = in_batch(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            opt.step()
            opt.zero_grad()
        scored(run, 300, net, told=w)


@planted(None, source="diagnosis.md section 3, hard but true pairs")
def hardest_quarter(run: Run, *, right: bool = False) -> None:
    """The quarter of the pairs whose own score by the frozen encoder is lowest."""
    own = functional.cosine_similarity(run.world.query, run.world.document)
    count = len(own) // 4
    chosen = torch.arange(count) if right else own.argsort()[:count]
    net = identity(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    query, document = run.world.query[chosen], run.world.document[chosen]
    with watched(run, net, optimizer=opt, examples=count, raw=lambda: run.world.reference) as w:
        scored(run, 0, net, told=w)
        for step, rows in numbered(run, 250, 64, rows=count):
            loss = in_batch(net(query[rows]), net(document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % 125 == 0:
                scored(run, step, net, told=w)


@planted(None, source="diagnosis.md section 3, half of the dimensions are nearly free", world=MPNET)
def half_of_the_dimensions(run: Run, *, right: bool = False) -> None:
    """A linear map onto the 384 leading directions of 768, trained from there with a teacher beside the pairs."""
    dimension = run.world.dimension
    _, _, directions = torch.linalg.svd(run.world.document[:4000], full_matrices=False)
    net = nn.Linear(dimension, dimension if right else dimension // 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(directions if right else directions[: dimension // 2])
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    with watched(run, net, optimizer=opt, raw=lambda: run.world.reference) as w:
        scored(run, 0, net, told=w)
        for rows in run.batches(200, 64):
            q, d = net(run.world.query[rows]), net(run.world.document[rows])
            teacher = (20 * cosines(run.world.query[rows], run.world.document[rows])).softmax(dim=1)
            distilled = functional.kl_div((20 * cosines(q, d)).log_softmax(dim=1), teacher, reduction="batchmean")
            w.terms(contrast=in_batch(q, d), distilled=distilled)
            (in_batch(q, d) + distilled).backward()
            opt.step()
            opt.zero_grad()
        scored(run, 200, net, told=w)
