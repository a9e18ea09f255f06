"""PyKEEN: embeddings of a made-up graph's entities, by its pipeline and its own training loop."""

import numpy as np
from _data import save_weights
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory

draw = np.random.RandomState(0)
triples = np.array([[f"e{a}", f"r{b}", f"e{c}"] for a, b, c in draw.randint(0, (60, 4, 60), (640, 3))])
training, testing = TriplesFactory.from_labeled_triples(triples).split([0.9, 0.1], random_state=0)
result = pipeline(
    training=training,
    testing=testing,
    model="DistMult",
    model_kwargs={"embedding_dim": 32},
    training_kwargs={"num_epochs": 4, "batch_size": 64, "use_tqdm_batch": False},
    random_seed=0,
    device="cpu",
)
save_weights(result.model)
