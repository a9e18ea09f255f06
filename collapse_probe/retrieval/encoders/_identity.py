"""What an encoder is: its own settings as its library has them, and what decides its vectors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Task = Literal["query", "document"]
UNKNOWN = "unknown"
"""What a setting is where a feature store that stands in for its encoder does not say."""
TASKS: tuple[Task, Task] = ("query", "document")


@dataclass(frozen=True)
class Encoding:
    """Everything that decides the vector of a text: the encoder, and how it is asked.

    Attributes:
        identity: The encoder's.
        prompt: What stands before every text.
        route: ``query`` or ``document`` where the model tells them apart; else empty.
    """

    identity: EncoderIdentity
    prompt: str
    route: str

    @property
    def key(self) -> str:
        """The name of the encoding's folder in the cache."""
        decides = [self.identity.fingerprint, self.prompt, self.route, self.identity.dtype]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class EncoderIdentity:
    """What an encoder is, as its library tells it.

    Attributes:
        name: As the user gave it, or the bundled encoder's.
        weights_sha256: SHA-256 of its weights, in hexadecimal.
        max_seq_length: Tokens after which a text is cut; None where nothing is cut.
        dimension: D, after any truncation.
        pooling: How token vectors become one: ``mean``, ``cls`` and so on.
        normalised: Whether vectors have unit norm.
        fingerprint: SHA-256 over every file that its library reads, in hexadecimal.
        similarity: How it is meant to be scored.
        dtype: Type of its weights when it encodes.
        saved_dtype: Type of its weights as they were saved.
        routed: Whether it encodes queries and documents by modules of their own.
        prompts: What stands before a query and before a document.
        truncate_dim: Dimensions that are kept; None where all are.
        verified: False where the encoder is not on this machine, so that stored vectors are taken at their word.
    """

    name: str
    weights_sha256: str
    max_seq_length: int | None
    dimension: int
    pooling: str
    normalised: bool
    fingerprint: str = ""
    similarity: str = "cosine"
    dtype: str = "float32"
    saved_dtype: str = "float32"
    routed: bool = False
    prompts: tuple[str, str] = ("", "")
    truncate_dim: int | None = None
    verified: bool = True

    def encoding(self, task: Task) -> Encoding:
        """Return how queries or documents are encoded; one and the same where the model makes no difference."""
        return Encoding(self, self.prompts[TASKS.index(task)], task if self.routed else "")

    @property
    def legacy_key(self) -> str:
        """The name of the encoder's folder in caches of version 0.1."""
        norm = "unit" if self.normalised else "raw"
        return f"{self.weights_sha256[:16]}-{self.max_seq_length}-{self.pooling}-{norm}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serialisable values."""
        return {**asdict(self), "prompts": dict(zip(TASKS, self.prompts, strict=True))}
