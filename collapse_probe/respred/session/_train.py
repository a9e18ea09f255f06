"""Training what was prepared into a run folder, and going on with a run that was interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy2, rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...journal import Run, fresh_folder, write_config
from ...recording import Probe, Schedule
from ._listener import Audience
from ._prepare import Preparation
from ._record import run_config
from ._recorded import check_vectors, reopen
from ._request import is_main_process
from ._vectors import evaluation_sets

if TYPE_CHECKING:
    from ..training import Outcome


@dataclass(frozen=True)
class Session:
    """A prepared run with its folder.

    Attributes:
        prepared: What it is made of.
        folder: Where this process writes; one of its own where another process writes the run.
        probes: What is watched.
        resume: Whether it goes on from its last checkpoint.
    """

    prepared: Preparation
    folder: Path
    probes: Sequence[Probe]
    resume: bool = False

    def discard(self) -> None:
        """Delete the folder where another process writes the run; a run is kept."""
        if not is_main_process():
            rmtree(self.folder)


def begin(prepared: Preparation, *, runs: Path, name: str, probes: Sequence[Probe], command: str = "") -> Session:
    """Make a new folder for a run and write its ``run.json``; a folder that exists gives the next free name.

    Args:
        prepared: What the run is made of.
        runs: Folder of the runs.
        name: Plain name of the run.
        probes: What is watched.
        command: What was typed.
    """
    folder = fresh_folder(runs, name) if is_main_process() else Path(mkdtemp(prefix="collapse-probe-"))
    write_config(folder, run_config(prepared, name=folder.name, probes=probes, command=command))
    return Session(prepared, folder, probes)


def resume(run: Run, *, features: Sequence[Path], device: str, cache: Path, audience: Audience) -> Session:
    """Open what an interrupted run was started with, to go on with it from its last sound checkpoint.

    Raises:
        InputError: the run is completed or failed, or an input is gone or has changed.
    """
    import torch

    if run.status == "completed":
        raise InputError(f"{run.folder}: this run is completed; `collapse-probe report {run.folder}` reads it again")
    if run.status == "failed":
        raise InputError(f"{run.folder}: this run failed and would again; start a new one with other settings")
    if run.config.threads:
        # A sum is rounded in another order by another number of threads: the same bits need the same number.
        torch.set_num_threads(run.config.threads)
    prepared = reopen(run, features=features, device=device, cache=cache, audience=audience)
    if not prepared.recipe.trains_from_text:
        check_vectors(run, prepared.data)
    audience.say(f"resuming {run.folder}")
    _say_damaged(run, prepared, audience)
    folder = run.folder if is_main_process() else _private_copy(run.folder)
    probes = [_recorded_probe(name, declared) for name, declared in run.config.probes.items()]
    return Session(prepared, folder, probes, resume=True)


def run_session(session: Session, audience: Audience) -> Outcome:
    """Train and score what a session holds, and save the chosen model; minutes to hours."""
    from ..training import train_recipe

    prepared, request = session.prepared, session.prepared.request
    with audience.training() as listener:
        return train_recipe(
            prepared.recipe,
            folder=session.folder,
            data=prepared.data,
            evaluations=evaluation_sets(
                prepared.inputs, prepared.features, Run.load(session.folder).config, prepared.shared
            ),
            probes=session.probes,
            seed=request.seed,
            device=prepared.device,
            precision=request.precision,
            listener=listener,
            encoder=prepared.inputs.encoder if prepared.recipe.trains_from_text else None,
            counterfactuals=request.counterfactuals,
            raw_similarity=prepared.raw_similarity,
            resume=session.resume,
            finish=lambda: _save_model(session, audience) if is_main_process() else None,
        )


def _save_model(session: Session, audience: Audience) -> None:
    from ...diagnosis import choose_checkpoint
    from ..training import save_chosen

    folder, encoder = session.folder, session.prepared.inputs.encoder
    run = Run.load(folder)
    choice = choose_checkpoint(run)
    if not encoder.is_here:
        why = f"{encoder.name} is not on this machine; the checkpoints hold the trained head"
        audience.say(f"model   not saved: {why}")
        return
    needs = save_chosen(
        choice,
        run,
        session.prepared.recipe,
        encoder,
        folder / "model",
        raw_similarity=session.prepared.raw_similarity,
    )
    audience.say(f"model   {folder / 'model'}: {choice.why}; {needs}")


def _say_damaged(run: Run, prepared: Preparation, audience: Audience) -> None:
    from ..training import sound_checkpoint

    if prepared.data is None:
        return
    checkpoint, damaged = sound_checkpoint(run.folder / "checkpoints", prepared.recipe, prepared.data.dimension)
    for line in damaged:
        audience.say(f"note: {line}; going on from {'the beginning' if checkpoint is None else checkpoint.name}")


def _private_copy(folder: Path) -> Path:
    """Return a folder of its own from which a process that does not write the run can resume it."""
    private = Path(mkdtemp(prefix="collapse-probe-"))
    for name in ("run.json", "journal.jsonl"):
        copy2(folder / name, private / name)
    if (folder / "checkpoints").is_dir():
        (private / "checkpoints").symlink_to((folder / "checkpoints").resolve(), target_is_directory=True)
    return private


def _recorded_probe(name: str, declared: Mapping[str, Any]) -> Probe:
    schedule = declared["schedule"]
    return Probe(
        name=name,
        summary=declared["summary"],
        schedule=Schedule(interval=schedule["every"], base=schedule["powers_of"]),
        readings=declared["readings"],
        histograms=declared["histograms"],
        expected=tuple(declared["expected"]),
        source="run.json",
    )
