"""Encoders from scratch that read the texts behind a world's vectors, and what goes wrong between their two uses."""

from __future__ import annotations

import zlib
from functools import cache

import torch
from loop import Run
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from worlds import ENCODERS, SHARED, Vectors, _pairs

from collapse_probe.retrieval import read_beir

from .. import program
from .common import CLAIMS, GROUP, MINI, in_batch

WORDS, BUCKETS = 20, 6000


@cache
def _table(name: str) -> tuple[dict[bytes, int], Tensor]:
    """Return every text's row by the bytes of its vector, and its first words, hashed from 2 on and padded by 0."""
    encoder, pairs, collection = name.split("/")
    queries, documents = _pairs(pairs)
    searched = read_beir(SHARED / "data" / {"scifact": "scifact", "nfcorpus": "nfcorpus-tokenized"}[collection])
    texts = [*queries, *documents, *(searched.queries[one] for one in searched.qrels), *searched.documents.values()]
    texts = list(dict.fromkeys(texts))
    vectors = Vectors(SHARED / "features" / ENCODERS[encoder])(texts).numpy()
    ids = torch.zeros(len(texts), WORDS, dtype=torch.long)
    for row, text in enumerate(texts):
        words = "".join(one if one.isalnum() else " " for one in text.lower()).split()[:WORDS] or ["nothing"]
        ids[row, : len(words)] = torch.tensor([2 + zlib.crc32(word.encode()) % BUCKETS for word in words])
    return {vector.tobytes(): row for row, vector in enumerate(vectors)}, ids


def tokens(run: Run, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids ``[n, T]``, padded with 0, and lengths of the texts behind vectors."""
    places, ids = _table(run.world.name)
    found = ids[[places[row.tobytes()] for row in vectors.numpy()]]
    lengths = (found != 0).sum(dim=1)
    return found[:, : int(lengths.max())], lengths


class Recurrent(nn.Module):
    """Word vectors and a recurrent layer over packed sequences, longest first."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.words = nn.Embedding(BUCKETS + 2, 64, padding_idx=0)
        self.gru = nn.GRU(64, width, batch_first=True)

    def forward(self, ids: Tensor, lengths: Tensor, *, longest_first: bool = True) -> Tensor:
        """Return the last state of every text."""
        packed = pack_padded_sequence(self.words(ids), lengths, batch_first=True, enforce_sorted=longest_first)
        return self.gru(packed)[1][0]


@program(
    GROUP,
    "mismatched_pairs",
    "wrong_pairs",
    onset=0,
    world=(MINI, CLAIMS),
    source="cloneofsimo/lora#197; a collate function that sorts by length for packing",
)
def each_side_sorted_for_packing(run: Run, *, planted: bool = True) -> None:
    """A collate function sorts a batch's queries by length and its documents by theirs: rows are no pairs any more."""
    net = Recurrent()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    sides = tokens(run, run.world.query), tokens(run, run.world.document)

    def collate(rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        found = []
        for ids, lengths in sides:
            order = lengths[rows].argsort(descending=True, stable=True) if planted else slice(None)
            found.append((ids[rows][order], lengths[rows][order]))
        return found

    @torch.no_grad()
    def encode(vectors: Tensor) -> Tensor:
        parts = [tokens(run, part) for part in vectors.split(1024)]
        return torch.cat([net(ids, lengths, longest_first=False) for ids, lengths in parts])

    with run.watch(net, optimizer=opt, reference=lambda: tuple(map(encode, run.world.reference))) as w:
        run.evaluate(w, 0, encode, encode)
        for step, rows in enumerate(run.batches(240, 64), start=1):
            (q, d) = (net(*one, longest_first=planted) for one in collate(rows))
            loss = in_batch(q, d, 0.1)
            w.terms(ce=loss)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            if step % 120 == 0:
                run.evaluate(w, step, encode, encode)


class Attentive(nn.Module):
    """A first token of its own, one layer of attention, and a choice of what stands for the text."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(BUCKETS + 2, width, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(width, 2, 128, dropout=0.0, batch_first=True, norm_first=True)

    def forward(self, ids: Tensor, pooling: str) -> Tensor:
        """Return vectors by the first token's state, or by the mean over tokens."""
        ids = torch.cat([torch.ones_like(ids[:, :1]), ids], dim=1)
        kept = ids != 0
        states = self.layer(self.embeddings(ids), src_key_padding_mask=~kept)
        if pooling == "cls":
            return states[:, 0]
        return (states * kept[..., None]).sum(dim=1) / kept.sum(dim=1, keepdim=True)


@program(
    GROUP,
    "path_mismatch",
    "training_and_scoring_differ",
    onset=0,
    world=MINI,
    source="FlagOpen/FlagEmbedding#76; google-research/xtreme#72",
)
def pooling_of_a_model_without_its_file(run: Run, *, planted: bool = True) -> None:
    """Trained by the first token; the scoring side finds no file that says so, and takes the mean over all tokens."""
    net = Attentive()
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    ids = tokens(run, run.world.query)[0], tokens(run, run.world.document)[0]

    @torch.no_grad()
    def served(vectors: Tensor) -> Tensor:
        pooling = "mean" if planted else "cls"
        return torch.cat([net(tokens(run, part)[0], pooling) for part in vectors.split(1024)])

    steps = 240
    with run.watch(
        net, optimizer=opt, query="", document="", reference=lambda: tuple(map(served, run.world.reference))
    ) as w:
        run.evaluate(w, 0, served, served)
        for step, rows in enumerate(run.batches(steps, 64), start=1):
            loss = in_batch(net(ids[0][rows], "cls"), net(ids[1][rows], "cls"))
            loss.backward()
            opt.step()
            opt.zero_grad()
            if step % (steps // 2) == 0:
                run.evaluate(w, step, served, served)
