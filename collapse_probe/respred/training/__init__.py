"""Training a recipe over prepared vectors: the trainer, what it records and scores, and what it saves."""

from ._callback import EpochScores, Listener
from ._encoder_layers import top_layers
from ._evaluation import EvaluationSet, evaluate_head, evaluate_raw, make_evaluation_set, record_evaluation
from ._saved import DamagedCheckpoint, load_encoder, load_head, sound_checkpoint
from ._selection import save_chosen
from ._training import Outcome, train_recipe
from ._vectors import PROBE_SET_SIZE, Side, TrainingData, encoded_again, training_split, vectors_digest

__all__ = [
    "PROBE_SET_SIZE",
    "DamagedCheckpoint",
    "EpochScores",
    "EvaluationSet",
    "Listener",
    "Outcome",
    "Side",
    "TrainingData",
    "encoded_again",
    "evaluate_head",
    "evaluate_raw",
    "load_encoder",
    "load_head",
    "make_evaluation_set",
    "record_evaluation",
    "save_chosen",
    "sound_checkpoint",
    "top_layers",
    "train_recipe",
    "training_split",
    "vectors_digest",
]
