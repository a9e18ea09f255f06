"""What a user of ``watch`` may say, and what a trainer says of its run itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..journal import JournalWriter, ReferenceInfo, RunConfig
from ..journal.vocabulary import Similarity
from ..recording import Containment, Probe, Tap, Wishes

OnCollapse = Literal["ignore", "warn", "stop"] | Callable[[Any], None]
Probes = str | Path | Probe | Sequence[str | Path | Probe] | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of ``watch`` but for its target and optimiser; see there."""

    run: Any = None
    loss: Any = None
    evaluator: Any = None
    query: Any = None
    document: Any = None
    taps: Sequence[Tap] = ()
    reference: Any = None
    raw: Any = None
    similarity: Similarity = "cosine"
    trained_by: Similarity | None = None
    examples: int | None = None
    every: int = 10
    reference_every: int | None = None
    baseline: bool | None = None
    probes: Probes = None
    texts: bool = True
    on_collapse: Any = "ignore"

    def of_a_loop(self) -> dict[str, Any]:
        """Return those that a plain loop has by name: it has no evaluator, and so no baseline of one."""
        return {name: value for name, value in vars(self).items() if name not in ("evaluator", "baseline")}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a trainer says of its run when training begins.

    Attributes:
        similarity: How the model scores.
        trained_by: What the loss compares by; None where unknown.
        examples: Training examples; None where unknown.
        batch: Examples of a step, over all processes.
        reference: Gives reference pairs; False for none, None where they are to be found otherwise.
        about: What the reference pairs are.
        searching: Whether streams are to be found by the rules of plain loops.
        seed: Of weights and batches.
        precision: Compute precision.
        session: What else is written of it.
        notes: What is not heard, and why, by what that is about.
        dimensions: Numbers of first columns that the losses train by themselves, too.
    """

    similarity: Similarity = "cosine"
    trained_by: Similarity | None = None
    examples: int | None = None
    batch: int | None = None
    reference: Callable[..., Any] | bool | None = None
    about: ReferenceInfo | None = None
    searching: bool = True
    seed: int | None = None
    precision: str = ""
    session: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    dimensions: Sequence[int] = ()


@dataclass(frozen=True)
class Prepared:
    """A run that somebody else has begun: its configuration is written and its journal is open.

    Attributes:
        config: What the run is.
        journal: Its journal.
        wishes: What is read.
        done: Optimiser steps that were done before: of a run that is resumed.
        epoch: Epoch that was done before; None in a run without epochs, whose windows are of steps.
    """

    config: RunConfig
    journal: JournalWriter
    wishes: Wishes
    done: int = 0
    epoch: int | None = 0


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a trainer knows of its run, and a plain loop would have to say.

    Attributes:
        batch: Examples of a step, over all processes.
        reference: What the reference pairs are, where the trainer has them.
        containment: What contains failures, where something of ours ran before the run began.
        epoch: Epoch of the first step, from 1; None in a run without epochs.
        seed: Of weights and batches.
        precision: Compute precision: ``fp32``, ``bf16`` or ``fp16``.
        alone: Whether each of several processes keeps a journal of its own.
        dimensions: Numbers of first columns that are trained by themselves, too.
    """

    batch: int | None = None
    reference: ReferenceInfo | None = None
    containment: Containment | None = None
    epoch: int | None = None
    seed: int | None = None
    precision: str = ""
    alone: bool = False
    dimensions: Sequence[int] = ()
