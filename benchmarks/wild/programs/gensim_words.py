"""gensim: vectors of words, trained without PyTorch."""

import numpy as np
from _data import texts
from gensim.models import Word2Vec

model = Word2Vec([text.split() for text in texts(400, 1)], vector_size=16, min_count=1, workers=1, seed=0)
np.save("weights.npy", model.wv.vectors)
