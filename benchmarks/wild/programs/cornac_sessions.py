"""cornac: self-attention over sessions of items, scores of the next item."""

import random

from _data import save_weights
from cornac.data import SequentialDataset
from cornac.models import SASRec

draw = random.Random(0)
clicks = []
for session in range(400):
    first = draw.randrange(60)
    clicks += [(f"u{session}", f"s{session}", f"i{(first + step) % 60}", step) for step in range(5)]
train = SequentialDataset.build(clicks, fmt="USIT", seed=0)
recommender = SASRec(embedding_dim=32, loss="ce", batch_size=64, n_sample=32, n_epochs=4, num_blocks=1, seed=0)
recommender.fit(train)
save_weights(recommender.model)
