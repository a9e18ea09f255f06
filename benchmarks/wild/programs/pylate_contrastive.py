"""pylate: late interaction (ColBERT), trained by a sentence-transformers trainer."""

from pathlib import Path

from _data import pairs, save_bert, save_weights, texts
from datasets import Dataset
from pylate import losses, models, utils
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

model = models.ColBERT(
    str(save_bert(Path("bert"))), embedding_size=16, document_length=24, query_length=16, device="cpu"
)
queries, documents = pairs(160)
data = Dataset.from_dict({"query": queries, "positive": documents, "negative": texts(160, 5)})
args = SentenceTransformerTrainingArguments(
    output_dir="out", per_device_train_batch_size=8, max_steps=40, report_to="none", save_strategy="no", use_cpu=True
)
SentenceTransformerTrainer(
    model=model,
    args=args,
    train_dataset=data,
    loss=losses.Contrastive(model=model),
    data_collator=utils.ColBERTCollator(model.tokenize),
).train()
save_weights(model)
