"""simpletransformers: a query's and a passage's encoder (DPR), in its own loop."""

from pathlib import Path

import pandas as pd
import torch
from _data import pairs, save_bert
from simpletransformers.retrieval import RetrievalArgs, RetrievalModel

save_bert(Path("bert"))
queries, documents = pairs(320)
pd.DataFrame({"query_text": queries, "gold_passage": documents}).to_csv("pairs.tsv", sep="\t", index=False)
settings = RetrievalArgs(manual_seed=1, num_train_epochs=1, train_batch_size=8, max_seq_length=16, learning_rate=1e-3)
settings.update_from_dict({"output_dir": "out", "overwrite_output_dir": True, "use_hf_datasets": True, "fp16": False})
settings.update_from_dict({"hard_negatives": False, "include_title": False, "dataloader_num_workers": 0})
settings.update_from_dict({"use_multiprocessing": False, "use_multiprocessing_for_evaluation": False})
both = {"context_encoder_name": "bert", "query_encoder_name": "bert"}
model = RetrievalModel(model_type="custom", model_name=None, args=settings, use_cuda=False, **both)
model.train_model("pairs.tsv")
weights = {f"query.{name}": one for name, one in model.query_encoder.state_dict().items()}
torch.save({**weights, **model.context_encoder.state_dict()}, "weights.pt")
