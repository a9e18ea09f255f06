"""SimSiam on frozen sentence vectors, question and answer as views. Planted: no stop-gradient, nothing is detached."""

import hashlib

import numpy as np
import torch
import torch.nn as nn
from _shared import SHARED, heldout, read


def load_views(name, n):
    folder = SHARED / "features/all-MiniLM-L6-v2"
    keys = {k.tobytes(): i for i, k in enumerate(np.load(folder / "keys.npy"))}
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    rows = read(name)[:n]

    def get(field):
        ix = [keys[hashlib.sha256(r[field].encode("utf-8")).digest()] for r in rows]
        return torch.tensor(np.asarray(vectors[ix], dtype=np.float32))

    return get("query"), get("document")


class SimSiam(nn.Module):
    def __init__(self, d_in=384, dim=128, pred_dim=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(d_in, 256), nn.BatchNorm1d(256), nn.ReLU(inplace=True), nn.Linear(256, dim)
        )
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred_dim), nn.BatchNorm1d(pred_dim), nn.ReLU(inplace=True), nn.Linear(pred_dim, dim)
        )

    def forward(self, x1, x2):
        z1, z2 = self.encoder(x1), self.encoder(x2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return p1, p2, z1, z2


def evaluate(model, q, d):
    model.eval()
    with torch.no_grad():
        a = nn.functional.normalize(model.encoder(q), dim=1)
        b = nn.functional.normalize(model.encoder(d), dim=1)
        s = a @ b.t()
    model.train()
    return (1.0 / (s >= s.diag().unsqueeze(1)).sum(1).clamp(min=1)).mean().item()


def main():
    torch.manual_seed(0)
    q, d = load_views("medquad_smoke_10k.jsonl", None)
    vq, vd = load_views("medquad_validation_1k.jsonl", 400)
    model = SimSiam()
    criterion = nn.CosineSimilarity(dim=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    heldout("before", "MRR", evaluate(model, vq, vd))
    for step in range(400):
        ix = torch.randint(0, len(q), (128,))
        p1, p2, z1, z2 = model(q[ix], d[ix])
        loss = -(criterion(p1, z2).mean() + criterion(p2, z1).mean()) * 0.5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 80 == 0:
            std = nn.functional.normalize(z1, dim=1).std(0).mean()
            print(f"step {step} loss {loss.item():.4f} std {std.item():.4f}")
    heldout("after", "MRR", evaluate(model, vq, vd))


if __name__ == "__main__":
    main()
