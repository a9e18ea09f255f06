"""CachedMultipleNegativesRankingLoss in file order. Planted: every document stands 4 times in a batch of 16."""

import tempfile

import torch
from _data import dev, mrr, pairs
from _sentence import encoders, small
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import CachedMultipleNegativesRankingLoss

torch.manual_seed(15)
model = small(layers=1, max_len=20)
rows = []
for q, d in pairs(1200):  # four chunks of an answer, every one with the whole question; in file order
    rows += [(q, d), (q.lower(), d), ("Question: " + q, d), (q.rstrip(" ?"), d)]
train = Dataset.from_dict({"query": [r[0] for r in rows], "answer": [r[1] for r in rows]})
mrr(*encoders(model), dev(150))


class Sequential(SentenceTransformerTrainer):
    def get_train_dataloader(self):
        from torch.utils.data import DataLoader

        return self.accelerator.prepare(
            DataLoader(self.train_dataset, batch_size=16, collate_fn=self.data_collator, shuffle=False, drop_last=True)
        )


args = SentenceTransformerTrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=300,
    per_device_train_batch_size=16,
    learning_rate=2e-4,
    warmup_steps=20,
    save_strategy="no",
    report_to=[],
    logging_steps=50,
    disable_tqdm=True,
)
Sequential(
    model=model,
    args=args,
    train_dataset=train,
    loss=CachedMultipleNegativesRankingLoss(model, scale=100.0, mini_batch_size=8),
).train()
mrr(*encoders(model), dev(150), name="after")
