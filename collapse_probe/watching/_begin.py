"""How a watch begins: what it was given is looked at, and its run is begun or gone on with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import InputError
from ..journal import JournalWriter, RunConfig, Start, Store, now, write_config
from ..recording import Wishes
from ._folder import choose_folder, in_short, is_main_process
from ._options import Prepared

_log = logging.getLogger("collapse_probe")


@dataclass(frozen=True)
class Begun:
    """A run that is written.

    Attributes:
        folder: Its folder; None for one that is kept in memory.
        config: What it is.
        journal: What writes it.
        store: Its records so far.
        wishes: What is read.
    """

    folder: Path | None
    config: RunConfig
    journal: JournalWriter
    store: Store
    wishes: Wishes


def begin(run: Any, config: RunConfig, *, wishes: Wishes) -> Begun:
    """Begin a run in a folder that is new.

    Args:
        run: As for ``watch``.
        config: What it is, under the name that it has where no folder gives it one.
        wishes: What is read.
    """
    folder, said = choose_folder(run, name=config.name)
    if said:
        _log.warning("collapse-probe: %s", said)
    store = Store()
    if folder is not None:
        config = replace(config, name=folder.name)
        write_config(folder, config)
    journal = JournalWriter(folder, store=store if is_main_process() else None, lasting=True)
    journal.write(Start(time=now()))
    return Begun(folder, config, journal, store, wishes)


def go_on(prepared: Prepared) -> Begun:
    """Go on with a run that somebody began."""
    journal = prepared.journal
    return Begun(journal.folder, prepared.config, journal, journal.store or Store(), prepared.wishes)


def check_given(
    target: Any,
    *,
    similarity: str,
    trained_by: str | None,
    on_collapse: Any,
    loss: Any,
    raw: Any,
    open_watch: Any,
    examples: Any = None,
) -> None:
    """Look at what a watch was given.

    Args:
        target: The model.
        similarity: How it is scored.
        trained_by: What its loss compares by.
        on_collapse: What follows a finding.
        loss: The loss module.
        raw: Gives the pairs of the raw encoder.
        examples: How many examples are trained on.
        open_watch: The watch that the target has already; None for none.

    Raises:
        InputError: something cannot be used.
    """
    if not isinstance(target, nn.Module):
        raise InputError(
            f"watch() was given a {type(target).__name__}: give a torch module, or a trainer of transformers or "
            "sentence-transformers"
        )
    if open_watch is not None:
        where = in_short(open_watch.run) if open_watch.run else "a run in memory"
        raise InputError(f"this model is watched already ({where}): close that watch first, or go on with it")
    for name, value in (("similarity", similarity), ("trained_by", trained_by or similarity)):
        if value not in ("cosine", "dot", "euclidean"):
            raise InputError(f"{name}={value!r}: give 'cosine', 'dot' or 'euclidean'")
    if not callable(on_collapse) and on_collapse not in ("ignore", "warn", "stop"):
        raise InputError(f"on_collapse={on_collapse!r}: give 'ignore', 'warn', 'stop', or a function of the finding")
    if loss is not None and not isinstance(loss, nn.Module):
        raise InputError(f"loss is a {type(loss).__name__}: give a module, or hand terms over, w.terms(name=value)")
    if examples is not None and (isinstance(examples, bool) or not isinstance(examples, int) or examples < 1):
        raise InputError(f"examples={examples!r}: give how many examples are trained on, a whole number of at least 1")
    if raw is not None and not callable(raw):
        raise InputError(f"raw is a {type(raw).__name__}: give a function that returns (queries, documents)")
