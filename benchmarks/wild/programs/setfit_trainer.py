"""setfit: few examples of classes, through a sentence-transformers trainer inside of its own."""

from pathlib import Path

import setfit
from _data import save_bert, save_weights, texts
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer

folder = save_bert(Path("bert"))
SentenceTransformer(modules=[Transformer(str(folder)), Pooling(32)], device="cpu").save("st")
model = setfit.SetFitModel.from_pretrained("st", labels=["a", "b"], device="cpu")
data = Dataset.from_dict({"text": texts(32, 1), "label": [index % 2 for index in range(32)]})
args = setfit.TrainingArguments(
    batch_size=8, max_steps=40, output_dir="out", report_to="none", save_strategy="no", seed=1
)
setfit.Trainer(model=model, args=args, train_dataset=data).train()
save_weights(model.model_body)
