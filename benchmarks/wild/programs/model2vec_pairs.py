"""model2vec: static vectors of words, trained on pairs of texts."""

import numpy as np
from _data import WORDS, pairs, save_weights
from model2vec import StaticModel
from model2vec.train import StaticModelForPairSimilarity
from tokenizers import Tokenizer, models, pre_tokenizers

known = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
static = StaticModel(np.random.RandomState(0).randn(len(known), 16).astype("float32"), tokenizer)
model = StaticModelForPairSimilarity.from_static_model(model=static)
queries, documents = pairs(320)
model.fit(queries, documents, batch_size=8, max_epochs=2, device="cpu")
save_weights(model)
