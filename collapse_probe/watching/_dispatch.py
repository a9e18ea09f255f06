"""``watch``, which tells trainers from plain models without their libraries: these are imported where one is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..journal import Run
from ..journal.vocabulary import Similarity
from ..recording import Tap
from ._options import OnCollapse, Options, Probes
from ._watch import Watch

if TYPE_CHECKING:
    from ._trainer import TrainerWatch


def watch(
    target: Any,
    *,
    run: str | Path | Run | bool | None = None,
    optimizer: Any = None,
    loss: nn.Module | None = None,
    query: str | nn.Module | None = None,
    document: str | nn.Module | None = None,
    taps: Sequence[Tap] = (),
    reference: Any = None,
    raw: Callable[[], tuple[Tensor, Tensor]] | None = None,
    similarity: Similarity = "cosine",
    trained_by: Similarity | None = None,
    examples: int | None = None,
    every: int = 10,
    reference_every: int | None = None,
    baseline: bool | None = None,
    probes: Probes = None,
    texts: bool = True,
    on_collapse: OnCollapse = "ignore",
) -> Watch:
    """Watch a training, whose loop stays as it is, and write a journal of it that :func:`diagnose` reads.

    Watching changes no weight, no loss and no random state. A fault of ours is contained, journalled and said once.
    Of several processes, as torchrun starts them, the first writes one run, of the rows of all.

    Args:
        target: A torch module, or a trainer of transformers or sentence-transformers, which says most of what follows
            itself; its watch ends with its training, so that another ``train()`` needs another.
        run: Folder of the run; ``runs/NAME-OF-MODEL`` where None, False keeps the run in memory alone. One that exists
            is never written into: a number is added, and that is said. ``Run.load(folder)`` goes on with that run after
            its last step; a trainer that resumes from a checkpoint goes on with the folder that is given.
        optimizer: A torch optimiser, or several of one iteration: its steps are counted, its rates, gradient norms and
            updates are read. Where None the loop calls ``w.step()``; a trainer has its own.
        loss: A module that returns the loss, or a dictionary of its terms. What is no module's is handed over, by
            ``w.terms(...)``; a trainer's loss is heard without it.
        query: Where the queries' embeddings ``[n, D]`` come from: the path of a module in ``target`` (``""`` is
            ``target`` itself), or the module. The same one as ``document``: its first call of a micro-batch is the
            query, further ones are documents. Where both are None they are found, or handed over by
            ``w.observe("query", q)``. Of token embeddings ``[n, T, D]`` each text's mean is read, over what the call's
            ``attention_mask`` keeps, and no pairs are; without a mask they are not read, and that is said.
        document: Where the documents' embeddings come from, as for ``query``. Of equal rows, row i is query i's own; of
            k documents a query, the gradients of the first steps tell which is its own, and where they tell nothing
            the first of each k in a row is taken, and that is said.
        taps: Further streams, each a :class:`Tap`: a correction, a gate, a hidden layer.
        reference: Fixed pairs to read in evaluation mode, through the path that is scored: a function without
            arguments that returns queries and documents, both ``[n, D]``, own pairs in equal rows; or, for a model
            with ``encode()``, a list of (query, document) texts, or a file of pairs. Where None a trainer's
            evaluation pairs, evaluator or training pairs, and of a plain loop the first 20 steps' inputs, at most 512
            pairs, which are run through the same modules again. False: none.
        raw: A function like that of ``reference``, for the encoder before any module of yours. Where None step 0
            stands in for it.
        similarity: How you score queries against documents: ``cosine``, ``dot`` or ``euclidean``. Left at
            ``cosine``, a sentence-transformers model says its own.
        trained_by: What the loss compares by, one of the same; where None a known loss says it, else it
            is ``similarity``.
        examples: Distinct training examples; where None unknown, but to a trainer.
        every: Optimiser steps between two readings of the batches' streams, which are also read at each of the first
            20. Terms, gradient norms and rates are read at every step.
        reference_every: Optimiser steps between two readings of the first 128 reference pairs; all of them are read
            at step 0, at every evaluation and at the end. Where None as often as these pairs stay below 3 % of the
            training examples so far; give 10 where they are cheap.
        baseline: Whether a trainer's evaluator is run once before step 1. Where None if its texts are at most 2 % of
            the training examples, and nothing was evaluated before.
        probes: Names of probes, paths of TOML files, or a list of these: further readings (summaries of a window,
            histograms), how often, and your own ranges and cuts, which :func:`diagnose` judges by. Nothing that is
            read without them is left out. ``./probes/NAME.toml`` goes before a shipped probe of that name
            (``collapse-probe list probes``).
        texts: Whether what may hold a text of a query or document is written: messages of errors, prompts, the
            arguments of the program, and the first 300 characters of queries that an evaluator lost and of documents
            that concern them. False writes ids alone; other texts are never written.
        on_collapse: What follows a finding while training goes on, judged every 50 steps, at evaluations and at the
            end, once a finding and once more when it becomes graver: ``ignore``; ``warn`` logs one line; ``stop`` also
            asks a trainer to stop when it is critical, a plain loop reads ``w.stop``, which several processes see after
            the same step; or a function, called with the finding, whose exceptions are told and stop nothing.

    Returns:
        The watch: a context manager, whose ``close()`` ends the journal. What it was not told can be handed over.

    Raises:
        InputError: something given cannot be used, or the target is watched already; nothing is attached then.

    Example::

        with collapse_probe.watch(model, optimizer=optimizer, query="towers.query", document="towers.document") as w:
            for queries, documents in batches:
                loss = info_nce(model(queries, documents))
                w.terms(info_nce=loss)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        print(collapse_probe.diagnose(w).summary)
    """
    options = Options(
        run=run,
        loss=loss,
        query=query,
        document=document,
        taps=taps,
        reference=reference,
        raw=raw,
        similarity=similarity,
        trained_by=trained_by,
        examples=examples,
        every=every,
        reference_every=reference_every,
        baseline=baseline,
        probes=probes,
        texts=texts,
        on_collapse=on_collapse,
    )
    trainer = trainer_of(target)
    if trainer is not None:
        return watch_trainer(trainer, options)
    return Watch(target, optimizer=optimizer, **options.of_a_loop())


def trainer_of(target: Any) -> Any:
    """Return a trainer of transformers or sentence-transformers: the target, or the one inside of it; else None."""
    inner = getattr(target, "st_trainer", None)  # setfit's trainer is none, and holds one
    return next((one for one in (target, inner) if one is not None and _is_trainer(type(one), "transformers")), None)


def watch_trainer(trainer: Any, options: Options, *, automatic: bool = False) -> TrainerWatch:
    """Watch a trainer.

    Raises:
        InputError: something given cannot be used; nothing is attached then.
    """
    from ._trainer import TrainerWatch

    if _is_trainer(type(trainer), "sentence_transformers"):
        from .sentence_transformers import SentenceTransformersSource

        return TrainerWatch(SentenceTransformersSource(trainer, options), options, automatic=automatic)
    from .transformers import TransformersSource

    return TrainerWatch(TransformersSource(trainer), options, automatic=automatic)


def _is_trainer(kind: type, package: str) -> bool:
    return any(one.__module__.split(".")[0] == package and one.__name__.endswith("Trainer") for one in kind.__mro__)
