"""Run peers beside the trainings of the programs, and write how often each is right as ``PEERS.md``.

``python benchmarks/collapsebench/peers.py`` in an environment of its own, which has what the benchmark needs and then

    pip install --no-deps lightly==1.6.0 torchmortem==0.1.1 ndtracker==2.0.0 vecscope==0.2.0 defaultplusplus==0.4.1
    pip install --no-deps torchvision==0.28.0 pytorch_lightning lightning_utilities torchmetrics hydra-core omegaconf \
        antlr4-python3-runtime plotly narwhals h5py

(torchvision as it belongs to the torch that is there, which nothing may replace.) Each program is trained once, in its
first world, with all peers beside it. What they said is kept, one file a program and peer (``--again`` asks again).
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import click
import torch
from loop import Run, Unwatched
from peer_tools import PEERS, Peer
from torch import Tensor, nn

HERE = Path(__file__).parent
HEADERS = (
    "peer",
    "what counts as detected",
    "recall",
    "false alarms",
    "kind is right",
    "cause is right",
    "onset, median error",
    "no verdict",
)
NOT_RUN = """**traincheck 0.2.0** was not run: it needs each program as a script of its own and invariants inferred
from the trace of a good run, and of one program of 20 steps the trace took two minutes on a busy machine and the
inference had not ended after two and a half, where there are 44 programs of 60 to 400 steps."""

INTRODUCTION = """# Peers on the same trainings

Written by `python benchmarks/collapsebench/peers.py`. {programs} programs ({groups}), seed {seed}, the first world of
each: {failing} that fail, {healthy} that are healthy. Each was trained once and not watched by us, with all peers
beside it, each with its documented defaults. None of the peers was made for retrieval heads, and most of what is
planted here (wrong pairs, a stale index, forgetting) is outside of what they set out to see; the table says what they
see of it, not how good they are at their own task. Our own figures are in RESULTS.md; those are over two seeds and all
worlds.

Means are over programs with a verdict, with their number: recall over failing programs; false alarms over healthy
ones; kind and cause over failing programs, detected or not; the error of the onset, in shares of the run, over
detected ones for which both onsets are known. "-": it cannot say this, or no program is left.
"""


_KEPT: list[torch.library.Library] = []


def import_torchvision() -> None:
    """Import torchvision, also where its CUDA build stands beside a CPU build of torch.

    Its compiled part cannot be loaded there, and two operators are declared that it looks for; nothing calls them.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [one for one in sys.modules if one.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _KEPT.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in ("nms", "qnms"):
            _KEPT[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


class Followed(Run):
    """A training that only peers stand beside: they hear of model, optimiser, steps and vectors.

    Args:
        world: As of :class:`loop.Run`, like the seed.
        seed: Of weights and batches.
        peers: Who hears.
    """

    def __init__(self, world: Any, seed: int, peers: Sequence[Peer]) -> None:
        super().__init__(world, seed, None, truth=False)
        self.peers, self.errors = peers, {}
        self.done, self.loss = 0, None
        self.maps: tuple[Any, Any] | None = None
        self._attached = False

    def tell(self, call: Callable[[Peer], None]) -> None:
        """Call every peer that has not failed yet; none of them draws the training's random numbers."""
        for one in self.peers:
            if one.name not in self.errors:
                try:
                    with torch.random.fork_rng(devices=[]):
                        call(one)
                except Exception as error:
                    self.errors[one.name] = f"{type(error).__name__}: {error}"

    def attach(self, model: Any, optimizer: Any) -> None:
        """Show the model and its optimiser to all, once."""
        if self._attached or not isinstance(model, nn.Module) or optimizer is None:
            return
        self._attached = True
        optimizer = getattr(optimizer, "optimizer", optimizer)
        self.tell(lambda one: one.attach(model, optimizer))
        optimizer.register_step_post_hook(self._stepped)

    def _stepped(self, *given: Any) -> None:
        self.done += 1
        loss, self.loss = self.loss, None
        self.tell(lambda one: one.step(self.done, loss))

    def watch(self, target: Any, **options: Any) -> Any:
        """Show what would have been watched to the peers; what else is handed over is dropped."""
        self.attach(target, options.get("optimizer"))
        return Unwatched()

    def train(self, model: Any, loss: Any, **options: Any) -> None:
        """Train as the loop does, with the peers attached before."""
        if options.get("optimizer") is None:
            chosen = {"lr": options.get("lr", 1e-3), "weight_decay": options.get("weight_decay", 0.01)}
            options["optimizer"] = torch.optim.AdamW(model.parameters(), **chosen)
        self.attach(model, options["optimizer"])
        super().train(model, loss, **options)

    @torch.no_grad()
    def ask(self) -> dict[str, dict]:
        """Return what every peer says after the training, and let go of the model; hooks are gone before the next."""
        answers: dict[str, dict] = {}

        def said(one: Peer) -> None:
            try:
                if self.maps is not None:
                    for side in self.maps:
                        if isinstance(side, nn.Module):
                            side.eval()
                    one.served(*self.maps)
                answers[one.name] = {key: asdict(answer) for key, answer in one.said().items()}
            finally:
                one.close()

        self.tell(said)
        return answers

    @torch.no_grad()
    def evaluate(self, watch: Any, step: int, query: Any, document: Any, *, similarity: str = "cosine") -> None:
        """Hand the reference pairs' vectors to the peers; nothing is scored."""
        self.maps = query, document
        pair = [side(raw).detach().float() for side, raw in zip((query, document), self.world.reference, strict=True)]
        self.tell(lambda one: one.vectors(step, *pair))


@contextmanager
def heard(run: Followed) -> Iterator[None]:
    """Let a run hear of what is differentiated, first of each step, and of trainers of transformers that begin."""
    from transformers import TrainerCallback, trainer

    backward, callbacks = Tensor.backward, trainer.DEFAULT_CALLBACKS

    def hearing(self: Tensor, *given: Any, **named: Any) -> None:
        if run.loss is None and self.numel() == 1:
            run.loss = float(self.detach())
        backward(self, *given, **named)

    class Told(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            run.attach(named.get("model"), named.get("optimizer"))

    Tensor.backward, trainer.DEFAULT_CALLBACKS = hearing, [*callbacks, Told]
    try:
        yield
    finally:
        Tensor.backward, trainer.DEFAULT_CALLBACKS = backward, callbacks


def follow(program: Any, name: str, *, seed: int, peers: Sequence[type[Peer]]) -> dict[str, dict]:
    """Train a program in a world beside peers; return each one's record.

    A training that fails is tried again with each peer alone, so that only the one that breaks it is without a verdict.
    """
    from worlds import world

    start, where = time.perf_counter(), world(name)
    run = Followed(where, seed, [one(where) for one in peers])
    answers: dict[str, dict] = {}
    try:
        with heard(run):
            program.train(run)
        answers = run.ask()
    except Exception as error:
        if len(peers) > 1:
            return {key: one for peer in peers for key, one in follow(program, name, seed=seed, peers=[peer]).items()}
        run.errors[peers[0].name] = f"the training stopped: {type(error).__name__}: {error}"
    finally:
        for one in run.peers:
            one.close()
    return {
        one.name: {
            **{"program": program.name, "world": name, "seed": seed, "steps": run.done},
            "peer": one.name,
            "version": metadata.version(one.name),
            "error": run.errors.get(one.name),
            "said": answers.get(one.name, {}),
            "seconds": time.perf_counter() - start,
        }
        for one in peers
    }


def labels(groups: Sequence[str]) -> dict[str, dict]:
    """Return the label of each program of groups in its first world, by its name."""
    found: dict[str, dict] = {}
    for group in groups:
        for one in json.loads((HERE / "labels" / f"{group}.json").read_text("utf-8")):
            if one["kept"]:
                found.setdefault(one["program"], one)
    return found


def _mean(some: Sequence[bool]) -> str:
    return f"{statistics.fmean(some):.2f} ({len(some)})" if some else "-"


def _line(peer: str, verdict: str, records: Sequence[dict], of: dict[str, dict]) -> list[str]:
    """Return a line of the table: one verdict of one peer."""
    pairs = [(of[one["program"]], one["said"][verdict], one) for one in records if verdict in one["said"]]
    failing = [pair for pair in pairs if pair[0]["kind"] is not None]
    kinds = [label["kind"] in said["kinds"] for label, said, _ in failing if said["kinds"] is not None]
    causes = [
        any(one in said["causes"] for one in label["causes"])
        for label, said, _ in failing
        if said["causes"] is not None and label["causes"]
    ]
    late = [
        abs(said["onset"] - label["onset"]) / one["steps"]
        for label, said, one in failing
        if said["detected"] and said["onset"] is not None and label["onset"] is not None and one["steps"]
    ]
    return [
        f"{peer} {records[0]['version']}",
        verdict,
        _mean([said["detected"] for _, said, _ in failing]),
        _mean([said["detected"] for label, said, _ in pairs if label["kind"] is None]),
        _mean(kinds),
        _mean(causes),
        f"{statistics.median(late):.2f} ({len(late)})" if late else "-",
        str(len(records) - len(pairs)),
    ]


def lines(records: Sequence[dict], of: dict[str, dict]) -> list[list[str]]:
    """Return the table's lines: of each peer one for each of its verdicts, or one of dashes where it never had any.

    Args:
        records: Of :func:`follow`.
        of: Labels of programs, by name.
    """
    found = []
    for peer in dict.fromkeys(one["peer"] for one in records):
        some = [one for one in records if one["peer"] == peer]
        verdicts = dict.fromkeys(key for one in some for key in one["said"])
        found += [_line(peer, verdict, some, of) for verdict in verdicts or ["-"]]
    return found


def silent(records: Sequence[dict]) -> list[str]:
    """Return who had no verdict of what, and why: a line for each peer and reason."""
    why: dict[tuple[str, str], list[str]] = {}
    for one in records:
        if one["error"]:
            # A class's name differs from program to program where the reason is the same.
            reason = re.sub(r"\bModel \w+", "Model ...", one["error"].splitlines()[0])
            why.setdefault((one["peer"], reason), []).append(one["program"])
    return [
        f"- {peer}, {len(names)} program{'s' * (len(names) > 1)}"
        f"{'' if len(names) > 9 else ' (' + ', '.join(names) + ')'}: `{reason[:200]}`"
        for (peer, reason), names in why.items()
    ]


def page(records: Sequence[dict], of: dict[str, dict], groups: Sequence[str], seed: int) -> str:
    """Return the whole of PEERS.md."""
    sys.path.append(str(HERE.parent))
    from _common import table

    programs = {one["program"] for one in records}
    failing = sum(of[one]["kind"] is not None for one in programs)
    counts = {"programs": len(programs), "failing": failing, "healthy": len(programs) - failing}
    notes = [f"**{one.name} {_version(records, one.name)}**: {one.note}" for one in PEERS]
    parts = [
        INTRODUCTION.format(groups=", ".join(groups), seed=seed, **counts),
        table(HEADERS, lines(records, of)) + "\n",
        "## How each was used\n",
        *(note + "\n" for note in [*notes, NOT_RUN]),
        "## Where there was no verdict\n",
        "\n".join(silent(records) or ["Nowhere."]) + "\n",
    ]
    return "\n".join(parts)


def _version(records: Sequence[dict], peer: str) -> str:
    return next((one["version"] for one in records if one["peer"] == peer), "(not run)")


@click.command()
@click.option("--group", "groups", multiple=True, default=("blind",), show_default=True, help="Which programs.")
@click.option("--only", multiple=True, help="Names of programs; all if none. Writes no page.")
@click.option("--again", is_flag=True, help="Train again what was trained before.")
@click.option("--seed", default=0, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/peers"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "PEERS.md")
def main(groups: tuple[str, ...], only: tuple[str, ...], again: bool, seed: int, folder: Path, out: Path) -> None:
    """Train with peers beside, and write the page."""
    from programs import REGISTRY

    torch.set_num_threads(1)
    import_torchvision()
    of, records = labels(groups), []
    for group in groups:
        import_module(f"programs.{group}")
        for program in REGISTRY[group].values():
            if program.name not in of or (only and program.name not in only):
                continue
            place = folder / group / program.name / str(seed)
            missing = [one for one in PEERS if again or not (place / f"{one.name}.json").exists()]
            if missing:
                place.mkdir(parents=True, exist_ok=True)
                found = follow(program, of[program.name]["world"], seed=seed, peers=missing)
                for name, one in found.items():
                    (place / f"{name}.json").write_text(json.dumps(one, indent=1), "utf-8")
                click.echo(f"{program.name}: {found[missing[0].name]['seconds']:.0f} s", err=True)
            records += [json.loads((place / f"{one.name}.json").read_text("utf-8")) for one in PEERS]
    if only:
        for one in records:
            click.echo(f"{one['program']} | {one['peer']} | {one['error'] or one['said']}")
        return
    out.write_text(page(records, of, groups, seed), "utf-8")
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
