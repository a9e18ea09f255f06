"""LlamaIndex's adapter over frozen embeddings: its own engine, loss and loop."""

import hashlib

import numpy as np
import torch
from _data import pairs, save_weights
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.embeddings.adapter.utils import TwoLayerNN
from llama_index.finetuning import EmbeddingAdapterFinetuneEngine, EmbeddingQAFinetuneDataset


class Words(BaseEmbedding):
    """A text's mean of fixed word vectors."""

    def _get_text_embedding(self, text: str) -> list[float]:
        seeds = [int(hashlib.sha1(word.encode()).hexdigest()[:8], 16) for word in text.split()]
        return np.mean([np.random.RandomState(seed).randn(32) for seed in seeds], axis=0).tolist()

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


torch.manual_seed(0)
queries, documents = pairs(160)
names = [str(index) for index in range(160)]
data = EmbeddingQAFinetuneDataset(
    queries=dict(zip(names, queries, strict=True)),
    corpus=dict(zip(names, documents, strict=True)),
    relevant_docs={name: [name] for name in names},
)
adapter = TwoLayerNN(32, 48, 32, add_residual=True)
engine = EmbeddingAdapterFinetuneEngine(
    data,
    Words(),
    batch_size=8,
    epochs=2,
    adapter_model=adapter,
    device="cpu",
    optimizer_params={"lr": 1e-2},
)
engine.finetune()
save_weights(adapter)
