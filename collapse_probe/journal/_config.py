"""What a run is: its configuration as a type, written once into ``run.json`` and read through attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, get_args, get_type_hints

from ._course import SCHEMA
from ._fields import FieldError


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
    """A stream that the run declares.

    Attributes:
        name: Its name.
        role: Its role.
        where: Where it comes from, in words.
        declared: Whether the user named it: what is declared and not heard is not measured.
    """

    name: str
    role: str | None = None
    where: str = ""
    declared: bool = True

    def __post_init__(self) -> None:
        if not self.name:
            raise FieldError("name is empty, where a stream's is needed")


@dataclass(frozen=True, kw_only=True)
class ModuleInfo:
    """A module of the run.

    Attributes:
        name: Its path, or the name that the run gives it.
        trained: Whether an optimiser trains it; None where unknown.
        scored: Whether the judged score uses it; None where unknown.
    """

    name: str
    trained: bool | None = None
    scored: bool | None = None


@dataclass(frozen=True, kw_only=True)
class CollectionInfo:
    """A collection that the run scores.

    Attributes:
        name: Its name.
        split: Of its judgements.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
        n_queries: Queries.
        n_documents: Documents.
        fingerprint: SHA-256 of texts and judgements.
        form: The layout that it was read from.
        group: The collections that it is a part of.
        notes: What was left out of it.
        seen_queries: Ids of queries with a relevant document that is trained on.
        trained_documents: Counts of training documents: ``distinct``, ``equal`` and ``near`` to one of its own.
        declared: Whether the user asked for it.
    """

    name: str
    split: str = ""
    domain: str | None = None
    n_queries: int | None = None
    n_documents: int | None = None
    fingerprint: str | None = None
    form: str = ""
    group: str | None = None
    notes: list[str] = field(default_factory=list)
    seen_queries: list[str] = field(default_factory=list)
    trained_documents: Mapping[str, Any] | None = None
    declared: bool = True


@dataclass(frozen=True, kw_only=True)
class ReferenceInfo:
    """The reference pairs.

    Attributes:
        source: ``given``, ``evaluator``, ``evaluation pairs``, ``training pairs``, ``replayed`` or ``collections``.
        n: Pairs; None until known.
        seen: Whether they are trained on: a fall there counts, a rise does not.
        declared: Whether the user gave them.
        domain: ``in`` or ``out`` of the domain that is trained on; None where unknown.
    """

    source: str
    n: int | None = None
    seen: bool = False
    declared: bool = False
    domain: str | None = "in"


@dataclass(frozen=True, kw_only=True)
class ExaminedInfo:
    """A finished model, of a run that was made of several: the first is what the others began as.

    Attributes:
        name: What it is called.
        step: Optimiser steps of its training, or its place among the models where these are unknown.
        counted: Whether the step is one of its training.
        differs: Settings that are other than the first one's, in words.
    """

    name: str
    step: int
    counted: bool = False
    differs: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run is, so that diagnosis never asks which program made it.

    Attributes:
        name: The run's name: a plain folder name.
        seed: Of weights and batches; None where unknown.
        device: ``cpu``, ``cuda`` and so on.
        precision: Compute precision: ``fp32``, ``bf16`` or ``fp16``.
        threads: Threads that torch had; None where unknown.
        processes: Processes that trained together; the first of them wrote.
        similarity: How the user scores; None where unknown.
        trained_by: What the loss compares by; None where unknown.
        judged: The variant that verdicts are about.
        trains: Whether anything is trained.
        streams: Streams that are declared.
        modules: Modules that are trained or scored.
        collections: Collections that are scored.
        development: The collection that checkpoints are chosen by.
        reference: The reference pairs; None for a run without any.
        dimensions: Numbers of first columns that the training is to make vectors of, too: each is judged by itself.
        examples: Distinct training examples; None where unknown.
        probes: Declarations of the watched probes, by name.
        examined: The models that the run was made of, where it was made of finished ones.
        remarks: What the first screen says of how the run was made.
        versions: Versions of the packages that matter.
        command: What was typed.
        session: What the program that trained needs to go on or to explain itself; diagnosis does not read it.
    """

    name: str
    seed: int | None = None
    device: str = ""
    precision: str = ""
    threads: int | None = None
    processes: int = 1
    similarity: str | None = None
    trained_by: str | None = None
    judged: str = "model"
    trains: bool = True
    streams: tuple[StreamInfo, ...] = ()
    modules: tuple[ModuleInfo, ...] = ()
    collections: tuple[CollectionInfo, ...] = ()
    development: CollectionInfo | None = None
    reference: ReferenceInfo | None = None
    dimensions: list[int] = field(default_factory=list)
    examples: int | None = None
    probes: Mapping[str, Any] = field(default_factory=dict)
    examined: tuple[ExaminedInfo, ...] = ()
    remarks: list[str] = field(default_factory=list)
    versions: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    session: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_plain_name(self.name):
            raise FieldError(f"name is {self.name!r}, where a plain folder name is needed")

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``run.json``."""
        return {"schema": SCHEMA, **_plain(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunConfig:
        """Return the configuration that :meth:`to_json` wrote.

        Raises:
            FieldError: a field is missing, or of a wrong type.
        """
        return _from(cls, content)

    def at(self, step: int) -> str:
        """Return the name of the finished model that stands at a step; empty for a step of a training.

        >>> models = (ExaminedInfo(name="base", step=0), ExaminedInfo(name="b", step=9, counted=True))
        >>> RunConfig(name="x", examined=models).at(0), RunConfig(name="x", examined=models).at(9)
        ('base', '')
        """
        return next((one.name for one in self.examined if one.step == step and not one.counted), "")

    @property
    def start(self) -> str:
        """What stands at step 0, in words: the first of finished models by its name, else the step.

        >>> RunConfig(name="x").start, RunConfig(name="x", examined=(ExaminedInfo(name="base", step=0),)).start
        ('step 0', 'base')
        """
        return self.at(0) or "step 0"

    def module(self, name: str) -> ModuleInfo | None:
        """Return one module, or None."""
        return next((module for module in self.modules if module.name == name), None)


def is_plain_name(name: object) -> bool:
    """Return whether a name can stand for one file or folder of its own, and leads nowhere else.

    >>> is_plain_name("respred-2"), is_plain_name("../x"), is_plain_name("a/b"), is_plain_name("C:x")
    (True, False, False, False)
    """
    if not isinstance(name, str) or not name.strip() or len(name.encode(errors="replace")) > 255 or "\x00" in name:
        return False
    both = (PurePosixPath(name), PureWindowsPath(name))
    return name not in (".", "..") and all(len(path.parts) == 1 and path.name == name for path in both)


def _plain(value: Any) -> dict[str, Any]:
    found = {}
    for one in fields(value):
        entry = getattr(value, one.name)
        if isinstance(entry, tuple):
            entry = [_plain(part) for part in entry]
        elif hasattr(entry, "__dataclass_fields__"):
            entry = _plain(entry)
        found[one.name] = entry
    return found


def _from(kind: type, content: Any) -> Any:
    if not isinstance(content, Mapping):
        raise FieldError(f"is a {type(content).__name__}, where an object is needed")
    hints = get_type_hints(kind)
    values = {}
    for one in fields(kind):
        if one.name in content:
            try:
                values[one.name] = _value(hints[one.name], content[one.name])
            except FieldError as error:
                raise FieldError(f"{one.name} {error}") from None
        elif one.default is MISSING and one.default_factory is MISSING:
            raise FieldError(f"{one.name} is missing")
    return kind(**values)


def _value(hint: Any, value: Any) -> Any:
    """Return a value of the hinted type; the hints of this file are all that it knows."""
    choices = get_args(hint)
    if type(None) in choices:
        return None if value is None else _value(next(one for one in choices if one is not type(None)), value)
    if hasattr(hint, "__dataclass_fields__"):
        return _from(hint, value)
    if choices and choices[-1] is Ellipsis:
        return tuple(_from(choices[0], entry) for entry in _expect(list, value))
    if choices in ((str,), (int,)):
        return [_expect(choices[0], entry) for entry in _expect(list, value)]
    return dict(_expect(dict, value)) if choices else _expect(hint, value)


def _expect(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FieldError(f"is a {type(value).__name__}, where {_ARTICLE[kind]} is needed")
    return value


_ARTICLE = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}
