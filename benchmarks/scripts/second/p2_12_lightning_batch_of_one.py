"""Lightning bi-encoder, 16 batches accumulated, in-batch softmax. Planted: batches of 1, a softmax over one."""

import re
import warnings
import zlib

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from _shared import heldout, read
from torch import nn
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")


def collate(rows):
    def ids(key, n):
        out = torch.zeros(len(rows), n, dtype=torch.long)
        for i, r in enumerate(rows):
            w = [1 + zlib.crc32(x.encode()) % 19999 for x in re.findall(r"\w+", r[key].lower())][:n]
            out[i, : len(w)] = torch.tensor(w)
        return out

    return ids("query", 16), ids("document", 48)


class BiEncoder(pl.LightningModule):
    def __init__(self, dim=128, scale=20.0, lr=2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.emb = nn.Embedding(20000, dim, padding_idx=0)
        self.conv = nn.Conv1d(dim, dim, 3, padding=1)
        self.norm = nn.LayerNorm(dim)
        self.scores = []

    def encode(self, ids):
        x = self.emb(ids).transpose(1, 2)
        x = (x + F.gelu(self.conv(x))).transpose(1, 2)
        m = (ids > 0).unsqueeze(-1)
        return F.normalize(self.norm((x * m).sum(1) / m.sum(1)), dim=-1)

    def training_step(self, batch, _):
        q, d = map(self.encode, batch)
        logits = self.hparams.scale * q @ d.T
        loss = F.cross_entropy(logits, torch.arange(len(q), device=self.device))
        self.log("loss", loss)
        return loss

    def on_validation_epoch_start(self):
        self.outputs = []

    def validation_step(self, batch, _):
        self.outputs.append(tuple(map(self.encode, batch)))

    def on_validation_epoch_end(self):
        q, d = (torch.cat(x) for x in zip(*self.outputs, strict=True))
        s = q @ d.T
        self.log("mrr", (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.01)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 20)}


pl.seed_everything(8, verbose=False)
train = read("medquad_smoke_10k.jsonl")
dev = read("medquad_validation_1k.jsonl")[:300]
train_dl = DataLoader(train, batch_size=1, shuffle=True, collate_fn=collate)
dev_dl = DataLoader(dev, batch_size=64, collate_fn=collate)
model = BiEncoder()
trainer = pl.Trainer(
    max_steps=200,
    accumulate_grad_batches=16,
    accelerator="cpu",
    logger=False,
    num_sanity_val_steps=0,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    limit_val_batches=5,
)
heldout("before", "MRR", trainer.validate(model, dev_dl, verbose=False)[0]["mrr"])
trainer.fit(model, train_dl)
heldout("after", "MRR", trainer.validate(model, dev_dl, verbose=False)[0]["mrr"])
