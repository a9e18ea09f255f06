"""Encoders: found by path or name, recognised, and asked as their library asks them."""

from ._encoder import Encoder, Prompts, encode_with, is_half, open_encoder, own_similarity
from ._files import read_json
from ._find import default_cache, find_encoder
from ._identity import TASKS, UNKNOWN, EncoderIdentity, Encoding, Task
from ._interpolate import SHARES, between, interpolate
from ._recognise import check_encoder, check_kind, check_weights, no_folder

__all__ = [
    "SHARES",
    "TASKS",
    "UNKNOWN",
    "Encoder",
    "EncoderIdentity",
    "Encoding",
    "Prompts",
    "Task",
    "between",
    "check_encoder",
    "check_kind",
    "check_weights",
    "default_cache",
    "encode_with",
    "find_encoder",
    "interpolate",
    "is_half",
    "no_folder",
    "open_encoder",
    "own_similarity",
    "read_json",
]
