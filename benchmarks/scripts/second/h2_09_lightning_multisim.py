"""Lightning: BiLSTM over hashed words, multi-similarity loss with its miner. Planted: nothing."""

import re
import warnings
import zlib

import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from _shared import heldout, read
from pytorch_metric_learning import losses, miners
from torch.utils.data import DataLoader, Dataset

warnings.filterwarnings("ignore")


def hash_ids(text, length=24, buckets=20000):
    ids = [1 + zlib.crc32(w.encode()) % (buckets - 1) for w in re.findall(r"\w+", text.lower())][:length]
    return ids + [0] * (length - len(ids))


class Pairs(Dataset):
    def __init__(self, name, limit):
        rows = read(name)[:limit]
        self.q = torch.tensor([hash_ids(r["query"]) for r in rows])
        self.d = torch.tensor([hash_ids(r["document"]) for r in rows])

    def __len__(self):
        return len(self.q)

    def __getitem__(self, i):
        return self.q[i], self.d[i], i


class Encoder(nn.Module):
    def __init__(self, buckets=20000, dim=96):
        super().__init__()
        self.emb = nn.Embedding(buckets, dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, 64, batch_first=True, bidirectional=True)
        self.out = nn.Linear(128, 96)

    def forward(self, ids):
        h, _ = self.lstm(self.emb(ids))
        m = (ids != 0).unsqueeze(-1)
        return self.out(h.masked_fill(~m, -1e4).amax(1))


class Retriever(L.LightningModule):
    def __init__(self, lr=2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = Encoder()
        self.loss = losses.MultiSimilarityLoss(alpha=2, beta=30, base=0.5)
        self.miner = miners.MultiSimilarityMiner(epsilon=0.2)

    def forward(self, ids):
        return self.encoder(ids)

    def training_step(self, batch, batch_idx):
        q, d, labels = batch
        emb = torch.cat([self(q), self(d)])
        labels = labels.repeat(2)
        loss = self.loss(emb, labels, self.miner(emb, labels))
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        q, d, _ = batch
        s = F.normalize(self(q)) @ F.normalize(self(d)).T
        mrr = (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean()
        self.log("val/mrr", mrr)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main():
    L.seed_everything(4, verbose=False)
    train = DataLoader(Pairs("medquad_smoke_10k.jsonl", None), batch_size=32, shuffle=True, drop_last=True)
    val = DataLoader(Pairs("medquad_validation_1k.jsonl", 300), batch_size=300)
    model = Retriever()
    trainer = L.Trainer(
        max_steps=350,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=1,
    )
    heldout("before", "MRR", trainer.validate(model, val, verbose=False)[0]["val/mrr"])
    trainer.fit(model, train)
    heldout("after", "MRR", trainer.validate(model, val, verbose=False)[0]["val/mrr"])


if __name__ == "__main__":
    main()
