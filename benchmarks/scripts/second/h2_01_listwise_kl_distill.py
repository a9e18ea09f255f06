"""Distil a bi-encoder's ranking into a bag-of-hashes student, listwise (KL over 8 candidates). Planted: nothing."""

import argparse
import hashlib
import random
import re
import zlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import SHARED, heldout, read


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=400)
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--list-size", type=int, default=8)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--temperature", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=13)
    return p.parse_args()


def read_pairs(name, n):
    rows = read(name)[:n]
    return [r["query"] for r in rows], [r["document"] for r in rows]


class TeacherCache:
    def __init__(self, folder):
        keys = np.load(f"{folder}/keys.npy")
        self.rows = {k.tobytes(): i for i, k in enumerate(keys)}
        self.vectors = np.load(f"{folder}/vectors.npy", mmap_mode="r")

    def __call__(self, texts):
        ix = [self.rows[hashlib.sha256(t.encode()).digest()] for t in texts]
        return torch.from_numpy(np.stack([self.vectors[i] for i in ix]).astype("float32"))


class Student(nn.Module):
    def __init__(self, buckets=12000, dim=128):
        super().__init__()
        self.buckets = buckets
        self.bag = nn.EmbeddingBag(buckets, dim, mode="mean")
        self.mlp = nn.Sequential(nn.Linear(dim, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, dim))

    def forward(self, texts):
        ids, offsets = [], []
        for t in texts:
            offsets.append(len(ids))
            ids += [zlib.crc32(w.encode()) % self.buckets for w in re.findall(r"\w+", t.lower())[:60]] or [0]
        h = self.bag(torch.tensor(ids), torch.tensor(offsets))
        return F.normalize(h + self.mlp(h), dim=-1)


@torch.no_grad()
def mrr(model, q, d):
    model.eval()
    s = model(q) @ model(d).T
    rank = (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)
    model.train()
    return (1.0 / rank).mean().item()


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    questions, answers = read_pairs("medquad_smoke_10k.jsonl", 8000)
    vq, vd = read_pairs("medquad_validation_1k.jsonl", 300)
    teacher = TeacherCache(f"{SHARED}/features/all-MiniLM-L6-v2")
    tq, td = teacher(questions), teacher(answers)
    hard = torch.cat([(tq[i : i + 500] @ td.T).topk(30).indices for i in range(0, len(tq), 500)])  # neighbours

    model = Student()
    opt = torch.optim.Adam(model.parameters(), lr=args.lr)
    heldout("before", "MRR", mrr(model, vq, vd))
    for step in range(1, args.steps + 1):
        batch = rng.sample(range(len(questions)), args.batch_size)
        lists = []
        for i in batch:
            near = rng.sample(hard[i].tolist(), 3)
            lists.append([i, *near, *rng.sample(range(len(answers)), args.list_size - 4)])
        flat = torch.tensor(lists)
        target = torch.einsum("bd,bkd->bk", tq[batch], td[flat]) / args.temperature
        q = model([questions[i] for i in batch])
        d = model([answers[j] for row in lists for j in row]).view(args.batch_size, args.list_size, -1)
        logits = torch.einsum("bd,bkd->bk", q, d) / args.temperature
        loss = F.kl_div(F.log_softmax(logits, -1), F.softmax(target, -1), reduction="batchmean")
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 0:
            print(f"{step:5d} kl {loss.item():.4f}")
    heldout("after", "MRR", mrr(model, vq, vd))


if __name__ == "__main__":
    main()
