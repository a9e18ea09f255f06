"""Distil stored MiniLM vectors into a tiny hashed bag-of-trigrams student (no torch model of the teacher needed)."""

import hashlib
import json
import random
import sys
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from _shared import SHARED
from torch import nn

torch.set_num_threads(1)
random.seed(3)
np.random.seed(3)
torch.manual_seed(3)

ROOT = SHARED
BUCKETS = 20000


def lines(name, n):
    with open(f"{ROOT}/data/{name}") as fh:
        return [json.loads(next(fh)) for _ in range(n)]


class Store:
    def __init__(self, folder):
        keys = np.load(f"{folder}/keys.npy")
        self.rows = {k.tobytes(): i for i, k in enumerate(keys)}
        self.vecs = np.load(f"{folder}/vectors.npy", mmap_mode="r")

    def __call__(self, texts):
        idx = [self.rows.get(hashlib.sha256(t.encode()).digest(), -1) for t in texts]
        return np.stack(
            [np.asarray(self.vecs[i], dtype=np.float32) if i >= 0 else np.zeros(384, np.float32) for i in idx]
        )


def featurise(text):
    words = text.lower().split()[:60]
    out = []
    for w in words:
        out.append(zlib.crc32(w.encode()) % BUCKETS)
        w = f"<{w}>"
        out.extend(zlib.crc32(w[i : i + 4].encode()) % BUCKETS for i in range(0, max(1, len(w) - 3), 2))
    return out or [0]


class Student(nn.Module):
    def __init__(self, d=192):
        super().__init__()
        self.bag = nn.EmbeddingBag(BUCKETS, d, mode="mean")
        self.up = nn.Sequential(nn.Linear(d, 512), nn.GELU(), nn.Linear(512, 384))

    def forward(self, feats):
        flat = torch.tensor([t for f in feats for t in f])
        offs = torch.tensor([0] + [len(f) for f in feats[:-1]]).cumsum(0)
        return F.normalize(self.up(self.bag(flat, offs)), dim=-1)


@torch.no_grad()
def mrr(net, qs, ds):
    net.eval()
    s = net(qs) @ net(ds).T
    net.train()
    rank = (s > s.diagonal()[:, None]).sum(1) + 1
    return (1.0 / rank).mean().item()


def main():
    store = Store(f"{ROOT}/features/all-MiniLM-L6-v2")
    train = lines("medquad_smoke_10k.jsonl", 4000)
    valid = lines("medquad_validation_1k.jsonl", 500)
    corpus = [r["query"] for r in train] + [r["document"] for r in train]
    targets = torch.from_numpy(store(corpus))
    corpus = sorted(corpus, key=len)  # similar lengths side by side
    feats = [featurise(t) for t in corpus]
    vq = [featurise(r["query"]) for r in valid]
    vd = [featurise(r["document"]) for r in valid]

    student = Student()
    print("HELDOUT before MRR", round(mrr(student, vq, vd), 4), file=sys.stderr)
    opt = torch.optim.Adam(student.parameters(), lr=2e-3)
    for step in range(400):
        start = torch.randint(0, len(corpus), (96,))
        pred = student([feats[i] for i in start])
        teach = F.normalize(targets[start], dim=-1)
        point = (1 - (pred * teach).sum(-1)).mean()
        relation = F.mse_loss(pred @ pred.T, teach @ teach.T)
        kl = F.kl_div(
            F.log_softmax(pred @ teach.T / 0.05, -1), F.softmax(teach @ teach.T / 0.05, -1), reduction="batchmean"
        )
        loss = point + 5 * relation + 0.5 * kl
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 0:
            print(step, f"{loss.item():.4f}")
    print("HELDOUT after MRR", round(mrr(student, vq, vd), 4), file=sys.stderr)


if __name__ == "__main__":
    main()
