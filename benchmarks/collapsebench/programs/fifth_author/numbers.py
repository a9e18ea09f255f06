"""Numbers that are too small, not finite, or equal; what is cut off before it is served."""

from __future__ import annotations

import re
import zlib
from functools import cache

import torch
from loop import Run, Towers
from torch import Tensor, nn
from worlds import ENCODERS, SHARED, Vectors, _pairs

from collapse_probe.retrieval import read_beir

from .. import program
from .common import GROUP, MED, NF, SCI, info_nce, square, unit

BUCKETS, LENGTH = 4096, 32


@cache
def _ids(name: str) -> tuple[dict[bytes, int], Tensor]:
    """Return the row of each vector of a world, and the hashed words of the text behind each row."""
    encoder, pairs, collection = name.split("/")
    searched = read_beir(SHARED / "data" / {"scifact": "scifact", "nfcorpus": "nfcorpus-tokenized"}[collection])
    queries, documents = _pairs(pairs)
    texts = [*queries, *documents, *(searched.queries[one] for one in searched.qrels), *searched.documents.values()]
    texts = list(dict.fromkeys(texts))
    ids = torch.zeros(len(texts), LENGTH, dtype=torch.long)
    for row, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())[:LENGTH]
        ids[row, : len(words)] = torch.tensor([1 + zlib.crc32(word.encode()) % (BUCKETS - 1) for word in words])
    vectors = Vectors(SHARED / "features" / ENCODERS[encoder])(texts)
    return {vector.tobytes(): row for row, vector in enumerate(vectors.numpy())}, ids


def words_of(run: Run, vectors: Tensor) -> Tensor:
    """Return the hashed words of the texts behind frozen vectors, ``[N, LENGTH]``, 0 where a text has ended."""
    rows, ids = _ids(run.world.name)
    return ids[[rows[vector.tobytes()] for vector in vectors.numpy()]]


class BagOfWords(nn.Module):
    """The mean of a text's word vectors."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, width, padding_idx=0)

    def forward(self, ids: Tensor) -> Tensor:
        """Return a text's vector."""
        there = (ids > 0).unsqueeze(-1).to(self.table.weight.dtype)
        return (self.table(ids) * there).sum(dim=1) / there.sum(dim=1).clamp_min(1)


@program(
    GROUP,
    "underflow",
    "half_precision",
    onset=1,
    world=(MED, SCI),
    source="huggingface/transformers: a model made in bfloat16; a table of deviation 1",
)
def word_table_in_bfloat16(run: Run, *, planted: bool = True) -> None:
    """A model of words from scratch is made in bfloat16: its table starts at deviation 1, and steps are lost."""
    net = BagOfWords().to(torch.bfloat16 if planted else torch.float32)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0)
    query, document = words_of(run, run.world.query), words_of(run, run.world.document)

    def encode(vectors: Tensor) -> Tensor:
        return net(words_of(run, vectors)).float()

    held_out = [words_of(run, one) for one in run.world.reference]
    with run.watch(net, optimizer=opt, reference=lambda: tuple(net(one) for one in held_out)) as w:
        run.evaluate(w, 0, encode, encode)
        for it, rows in enumerate(run.batches(300, 64), 1):
            loss = info_nce(net(query[rows]).float(), net(document[rows]).float())
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if it % 100 == 0:
                run.evaluate(w, it, encode, encode)


class Cast(nn.Module):
    """A network of a type of its own between vectors in float32."""

    def __init__(self, net: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.net, self.kind = net.to(kind), kind

    def forward(self, x: Tensor) -> Tensor:
        """Return its vectors in float32."""
        return self.net(x.to(self.kind)).float()


@program(
    GROUP,
    "divergence",
    "half_precision",
    onset=1,
    world=(MED, NF),
    source="FlagOpen/FlagEmbedding#1370; Adam's eps in float16",
)
def moments_in_float16(run: Run, *, planted: bool = True) -> None:
    """``model.half()`` before the optimiser: squared gradients and eps are 0 in float16; 0 is divided by 0."""
    kind = torch.float16 if planted else torch.float32
    dim = run.world.dimension
    net = Cast(nn.Sequential(square(dim), nn.GELU(), nn.Linear(dim, 256)), kind)
    opt = torch.optim.Adam(net.parameters(), lr=2e-4)
    run.train(Towers(net), info_nce, optimizer=opt, steps=80, batch=32, evaluations=2)


class Filtered(nn.Module):
    """An in-batch softmax that leaves out negatives that are too near, and rewards its own entropy a little."""

    def __init__(self, limit: float, *, by_hand: bool) -> None:
        super().__init__()
        self.limit, self.by_hand = limit, by_hand

    def forward(self, query: Tensor, positive: Tensor) -> Tensor:
        """Return the loss."""
        cosine = unit(query) @ unit(positive).T
        other = ~torch.eye(len(cosine), dtype=torch.bool)
        same = unit(positive) @ unit(positive).T
        p = (20 * cosine).masked_fill(other & (same > self.limit), -torch.inf).softmax(dim=1)
        entropy = -(p * p.log()).sum(dim=1) if self.by_hand else torch.special.entr(p + 1e-12).sum(dim=1)
        return (-(p.diagonal() + 1e-12).log() - 0.05 * entropy).mean()


@program(
    GROUP,
    "divergence",
    "loss_computed_wrongly",
    onset=1,
    world=(MED, SCI),
    source="own: the entropy of a row of which a part was masked",
)
def entropy_of_a_masked_row(run: Run, *, planted: bool = True) -> None:
    """Near-copies of the own document are masked with minus infinity; their share of the entropy is 0 times that."""
    net = square(run.world.dimension)
    loss = Filtered(0.985, by_hand=planted)
    run.train(Towers(net), loss, lr=2e-4, steps=240, batch=32)


@program(
    GROUP,
    "ties",
    "training_and_scoring_differ",
    onset=0,
    world=(MED, NF),
    source="deepset-ai/haystack#3240; a cache of vectors by a shortened key",
)
def cache_by_the_first_words(run: Run, *, planted: bool = True) -> None:
    """A cache of document vectors takes a text's first two words for its key, so texts that begin alike share one."""
    net = square(run.world.dimension)
    opt = torch.optim.AdamW(net.parameters(), lr=1e-4)
    kept = 2 if planted else LENGTH

    def cached(vectors: Tensor) -> Tensor:
        found: dict[bytes, Tensor] = {}
        keys = [row.tobytes() for row in words_of(run, vectors)[:, :kept].numpy()]
        return torch.stack([found.setdefault(key, z) for key, z in zip(keys, net(vectors), strict=True)])

    with run.watch(
        net, optimizer=opt, reference=lambda: (net(run.world.reference[0]), cached(run.world.reference[1]))
    ) as w:
        run.evaluate(w, 0, net, cached)
        for it, rows in enumerate(run.batches(200, 64), 1):
            loss = info_nce(net(run.world.query[rows]), net(run.world.document[rows]))
            w.terms(loss=loss)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if it % 50 == 0:
                run.evaluate(w, it, net, cached)
