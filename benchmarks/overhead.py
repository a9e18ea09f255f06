"""What watching costs: watched and unwatched steps in turns, in one process, the median of pairs.

``python benchmarks/overhead.py`` trains a head on vectors (384 to 768 to 384, batch 64, AdamW, softmax), and if the
bundled encoder is installed, all-MiniLM-L6-v2 (batch 32). Hooks, readings and writing alone (``reference=False``),
with default settings otherwise; then, for a run of 1,000 steps, what the reference pairs and an evaluator's baseline
add: each part is timed, and the parts are added up.

With ``--peers`` other people's listeners train beside ours, block by block in one run, and a Markdown table is written
instead. It wants an environment of its own, which is made as ``peers.txt`` says.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _peers
import torch
from _common import table
from _peer_stores import finish
from _steps import steps, watched
from torch import nn

import collapse_probe
from collapse_probe.recording import Budget
from collapse_probe.recording._reference import PART


def head_step(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], object]]:
    """Return a head with its optimiser and one step of its training."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(384, 768), nn.GELU(), nn.Linear(768, 384))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    queries = torch.nn.functional.normalize(torch.randn(4096, 384, generator=generator), dim=1)
    documents = torch.nn.functional.normalize(queries + 0.05 * torch.randn(4096, 384, generator=generator), dim=1)

    def step() -> object:
        rows = torch.randint(4096, (64,), generator=generator)
        return _softmax(model(queries[rows]), model(documents[rows]))

    return model, optimizer, step


def encoder_step(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], object]]:
    """Return the bundled encoder with its optimiser and one step of its fine-tuning."""
    from collapse_probe.retrieval import open_encoder

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as cache:
        model = open_encoder(None, cache=Path(cache)).anew().model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    words = [
        "a",
        "lamp",
        "that",
        "reads",
        "by",
        "itself",
        "in",
        "the",
        "corner",
        "of",
        "an",
        "old",
        "library",
        "where",
        "rain",
        "falls",
        "on",
        "glass",
        "and",
        "nobody",
        "minds",
    ]
    texts = [[f"{words[(i + j) % 20]} {words[(3 * i + j) % 20]} number {i}" for i in range(32)] for j in (0, 5)]
    features = [model.preprocess(side) for side in texts]

    def step() -> object:
        return _softmax(*(model(dict(side))["sentence_embedding"] for side in features))

    return model, optimizer, step


def _softmax(query: torch.Tensor, document: torch.Tensor) -> torch.Tensor:
    scores = 20 * torch.nn.functional.normalize(query) @ torch.nn.functional.normalize(document).T
    return torch.nn.functional.cross_entropy(scores, torch.arange(len(query)))


@dataclass
class Row:
    """One training among those that take turns.

    Attributes:
        name: What listens to it.
        schedule: When that is due.
        records: What it records.
        of: What that is of: outputs, gradients, weights.
        training: Model, optimiser, step.
        listens: What ``steps`` is given.
        often: Steps between two due ones; None where they are farther apart than a number of steps.
        ratios: Its time over the unwatched time of each pair of blocks.
        numbers: Numbers of a due step, once they are counted.
        trouble: Why it was not measured, or not further.
    """

    name: str
    schedule: str
    records: str
    of: tuple[str, ...]
    training: tuple
    listens: dict[str, Any] = field(default_factory=dict)
    often: int | None = None
    ratios: list[float] = field(default_factory=list)
    numbers: int = 0
    trouble: str = ""


Peer = type[_peers.Peer]
OURS = "embeddings of both sides and their pairs, gradients there, updates of weights, the loss"
DEAR = 1.25
"""A peer that is above this in each of its first three pairs takes no further turns."""


def measure(make: Callable[[int], tuple], *, blocks: int, steps: int, peers: Sequence[Peer] = ()) -> list[Row]:
    """Return the rows, ours first: watched over unwatched time of each pair of blocks.

    Everybody has a training of one seed, and they take turns, in an order that is turned by one place at each block.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = Row("unwatched", "", "", (), make(0))
        every = _peers.EVERY
        when = f"loss and gradient norm every step, all but forces every {every}, these every {2 * every}"
        ours = Row("collapse-probe", when, OURS, _peers.KINDS, make(0), often=_peers.EVERY)
        watch = watched(*ours.training[:2], f"{folder}/run")
        ours.listens["watch"] = watch
        rows = [ours, *_beside(make, peers, Path(folder))]
        for row in (plain, *rows):
            # The first 20 steps of ours are all due.
            _turn(row, 20 if row is ours or not peers else max(2, steps // 5))
        for number in range(blocks):
            active = [plain, *(row for row in rows if not row.trouble and not _is_dear(row))]
            place = number % len(active)
            times = {id(row): _turn(row, steps) for row in (*active[place:], *active[:place])}
            for row in active[1:]:
                if not row.trouble:
                    row.ratios.append(times[id(row)] / times[id(plain)])
        watch.close()
        last = watch.recorder.done // every * every
        # Of two due steps in a row one has forces; the fewer numbers count.
        ours.numbers = min(_kept(Path(folder) / "run", step) for step in (last, last - every))
        for row in rows[1:]:
            _end(row)
        finish()
    return rows


def _beside(make: Callable[[int], tuple], peers: Sequence[Peer], folder: Path) -> Iterator[Row]:
    for kind in peers:
        name = _peers.version(kind)
        if why := _peers.why_not(kind):
            yield Row(name, "", kind.records, kind.of, (), trouble=why)
            continue
        for schedule, every in _peers.schedules(kind).items():
            row = Row(name, schedule, kind.records, kind.of, make(0), often=every)
            try:
                row.listens["peer"] = kind(*row.training[:2], folder / f"{kind.module}-{every}", every=every)
            except Exception as error:
                row.trouble = _peers.in_one_line(error)
            yield row


def _turn(row: Row, count: int) -> float:
    """Train for some steps; a peer that fails is out, ours is not."""
    if row.trouble:
        return 0.0
    try:
        return steps(*row.training, count, **row.listens)
    except Exception as error:
        if "peer" not in row.listens:
            raise
        row.trouble = _peers.in_one_line(error)
        return 0.0


def _is_dear(row: Row) -> bool:
    return "peer" in row.listens and len(row.ratios) >= 3 and min(row.ratios) > DEAR


def _end(row: Row) -> None:
    peer = row.listens.get("peer")
    if peer is not None and not row.trouble:
        try:
            row.numbers = peer.numbers()
            peer.close()
        except Exception as error:
            row.trouble = f"its numbers were not counted: {_peers.in_one_line(error)}"


def _kept(run: Path, step: int) -> int:
    """Return how many numbers our journal has of a step."""
    with (run / "journal.jsonl").open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return sum(len(one["values"]) for one in records if one["kind"] in ("readings", "terms") and one["step"] == step)


def as_table(rows: list[Row], *, steps: int) -> str:
    """Return the rows as Markdown, ours first, and which of the others are not above ours."""
    ours, cells = rows[0], []
    for row in rows:
        ratio, spread = "-", row.trouble
        if row.ratios:
            ratio = f"{statistics.median(row.ratios):.3f} x"
            spread = f"{min(row.ratios):.3f} to {max(row.ratios):.3f}, {len(row.ratios)} pairs"
            spread += f"; then {row.trouble}" if row.trouble else ""
        kinds = ", ".join(one for one in _peers.KINDS if one in row.of)
        much = "-" if row is ours or not row.numbers else _less(row, ours) or "yes"
        beside = [own / other for own, other in zip(ours.ratios, row.ratios, strict=False)]
        against = f"{statistics.median(beside):.3f} x" if beside and row is not ours else "-"
        cells.append(
            [row.name, row.schedule, ratio, spread, against, row.records, kinds, str(row.numbers or "-"), much]
        )
    headers = [
        "listener",
        "due",
        "over unwatched",
        "range",
        "ours over it",
        "records",
        "of",
        "numbers on a due step",
        "as much as ours",
    ]
    compared = [row for row in rows[1:] if row.ratios and row.numbers]
    lower = [row for row in compared if statistics.median(row.ratios) <= statistics.median(ours.ratios)]
    as_much = [row for row in compared if not _less(row, ours)]
    many = [row for row in compared if row.numbers >= ours.numbers and _is_often(row)]
    said = [f"Blocks of {steps} steps."]
    for what, some in (("record as much", as_much), ("give as many numbers, of whatever", many)):
        named = ", ".join(f"{row.name} ({row.schedule})" for row in some if row in lower)
        said.append(f"Of {len(some)} that {what}, not above ours: {named or 'none'}.")
    return f"{table(headers, cells)}\n\n{' '.join(said)}"


def _less(row: Row, ours: Row) -> str:
    """Return in what a peer records less than ours: how often, of what, or how many numbers; "" for in nothing."""
    if not _is_often(row):
        return "no: seldom"
    if lacking := [one for one in _peers.KINDS if one not in row.of]:
        return f"no: without {', '.join(lacking)}"
    return "" if row.numbers >= ours.numbers else "no: fewer numbers"


def _is_often(row: Row) -> bool:
    return row.often is not None and row.often <= _peers.EVERY


def added_up(make: Callable[[int], tuple], *, ratio: float, steps: int = 1000, batch: int = 32) -> dict[str, float]:
    """Return what each part adds to a run of so many steps, as a share of the unwatched run.

    All reference pairs are read at step 0 and at the end, the first of them in between as often as the budget allows,
    and the evaluator runs once before step 1 on as many texts as its limit allows, 2 % of the training examples.
    """
    training = make(0)
    model, _, step = training
    with tempfile.TemporaryDirectory() as folder:
        one = statistics.median(_block(training, None, 1) for _ in range(20))
        watch = collapse_probe.watch(model, optimizer=training[1], query="", document="", run=f"{folder}/run")
        _block(training, watch, 25)
        reader = watch._reference
        everything = _seconds(lambda: reader._full(reader._pairs, watch.recorder.done))
        part = _seconds(reader._part)
        with torch.no_grad():
            forward = _seconds(step)
        watch.close()
    budget, parts = Budget(every=None, batch=batch), 0
    for number in range(1, steps + 1):
        if budget.due(number):
            budget.spend(PART)
            parts += 1
    whole = one * steps
    texts = 0.02 * steps * 2 * batch
    return {
        "hooks, readings, writing": ratio - 1,
        "all reference pairs, at step 0 and at the end": 2 * everything / whole,
        f"128 of them, {parts} times in between": parts * part / whole,
        f"the evaluator's baseline, {texts:.0f} texts": texts / (2 * batch) * forward / whole,
    }


def _seconds(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(5))


def _block(training: tuple, watch: collapse_probe.Watch | None, count: int) -> float:
    return steps(*training, count, watch=watch)


def main() -> None:
    """Print the ratios, or write the table of the peers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, help="pairs of blocks; 20, with --peers 8 and of MiniLM 5")
    names = [kind.name for kind in _peers.PEERS]
    beside = "train beside other people's listeners, all of them where none is named"
    parser.add_argument("--peers", nargs="*", choices=names, metavar="NAME", help=beside)
    parser.add_argument("--only", choices=["head", "encoder"], help="one of the two models")
    parser.add_argument("--out", type=Path, help="where the table of --peers is written, too")
    asked = parser.parse_args()
    kinds = {"head": ("head on vectors, batch 64", head_step, 100), "encoder": ("MiniLM, batch 32", encoder_step, 10)}
    wanted = [] if asked.peers is None else asked.peers or names
    peers = [kind for kind in _peers.PEERS if kind.name in wanted]
    parts = []
    for kind, (name, make, count) in kinds.items():
        if asked.only not in (None, kind):
            continue
        blocks = asked.blocks or (20 if asked.peers is None else 8 if kind == "head" else 5)
        try:
            rows = measure(make, blocks=blocks, steps=count, peers=peers)
        except ImportError as error:
            print(f"{name:<28} not measured: {error}")
            continue
        if asked.peers is not None:
            parts.append(f"## {name}\n\n{as_table(rows, steps=count)}\n")
            print(parts[-1], flush=True)
            continue
        ratios = rows[0].ratios
        low, high, middle = min(ratios), max(ratios), statistics.median(ratios)
        print(f"{name:<28} {middle:.3f} x ({low:.3f} to {high:.3f}, {blocks} pairs of {count} steps)")
        if make is encoder_step:
            shares = added_up(make, ratio=middle)
            print(f"{'the same, 1,000 steps':<28} {1 + sum(shares.values()):.3f} x, added up of")
            print("\n".join(f"    {share:+.4f} {part}" for part, share in shares.items()))
    if asked.out is not None and parts:
        asked.out.write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
