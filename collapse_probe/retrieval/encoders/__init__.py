"""Encoders: found by path or name, recognised, and asked as their library asks them."""

from ._encoder import Encoder, Prompts, encode_with, is_half, open_encoder, own_similarity
from ._identity import TASKS, UNKNOWN, EncoderIdentity, Encoding, Task

__all__ = [
    "TASKS",
    "UNKNOWN",
    "Encoder",
    "EncoderIdentity",
    "Encoding",
    "Prompts",
    "Task",
    "encode_with",
    "is_half",
    "open_encoder",
    "own_similarity",
]
