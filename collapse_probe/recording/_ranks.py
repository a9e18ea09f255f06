"""What is read of all processes of a training together: moments, histograms and loss terms."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import InputError
from ..measures import Sample
from ._exchange import KEPT, LINKS, Exchange, connect, own_name, processes, reachable
from ._merging import Part, States, as_handed, counts_of, merged, shared_readings, states_of
from ._outbox import Outbox

PATIENCE = 5.0
"""Seconds after which what another process has not left is late; the end of a run waits no longer for it."""

_MISSES = 3
"""Due steps in a row of which a process left nothing, after which none of its is expected."""

_SAME = 1e-2
"""Relative difference up to which two processes have the same gradient norm: it was averaged over them."""

MERGED = (
    "{} processes: norms, moments, cosines and histograms of streams are of the rows of all, loss terms their mean; "
    "pairs, forces, gradients, weights, gates and reference pairs are the first process's"
)
ALONE = "readings are of the first process's batch alone"

R = TypeVar("R")


@dataclass
class _Waiting:
    key: str
    step: int
    own: Part
    done: Callable[[Part, dict[int, Part]], None]
    since: float = field(default_factory=time.monotonic)


@dataclass
class _Terms:
    step: int
    dataset: str | None
    values: dict[str, float]
    write: Callable[[dict[str, float]], None]


@dataclass
class Ranks:
    """One process's part in what is read of all of them; the first one writes.

    Due steps are a function of the step's number alone, so that what several processes left under one is of one step.
    Nobody waits: the first process writes a step once all have left theirs, or without those that have not after
    :data:`KEPT` further ones and :data:`PATIENCE`. Where something fails the first process goes on alone.

    Args:
        name: The model's.
        first: Whether this process writes.
        say: Journals an event: its name, which is ``merged``, ``alone`` or ``note``, and a line.
    """

    name: str
    first: bool
    say: Callable[[str, str], None]
    _exchange: Exchange | None = None
    _met: Exchange | None = None
    _over: bool = False
    _kept: list[States] = field(default_factory=list)
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _terms: list[_Terms] = field(default_factory=list)
    _said: set[str] = field(default_factory=set)
    _heard: set[int] = field(default_factory=set)
    _misses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.name = own_name(self.name)
        self.connect()

    @property
    def active(self) -> bool:
        """Whether the other processes are met."""
        return self._exchange is not None

    @property
    def waiting(self) -> bool:
        """Whether something is not written yet."""
        return bool(self._waiting)

    def connect(self) -> bool:
        """Meet the others, if they can be met by now; return whether they are."""
        if self._exchange is None and not self._over:
            try:
                self._exchange = self._met = connect(self.name, first=self.first)
            except (InputError, *LINKS) as error:
                self.leave(str(error))
        return self.active

    # What is handed in

    def keep(self, samples: Sequence[Sample]) -> set[str]:
        """Keep what is shared of a due step's micro-batches, and return which readings follow; waits for no device."""
        self._kept = [states_of(sample) for sample in samples]
        return {name for sample in samples for name in shared_readings(sample)}

    def share(
        self,
        outbox: Outbox,
        *,
        step: int,
        dataset: str | None,
        norm: Tensor | None,
        wanted: Collection[str] | None,
        write: Callable[..., None],
        contain: Callable[..., None],
    ) -> None:
        """Hand over what was kept of a due step, behind its terms; waits for no device.

        Args:
            outbox: Takes it to the CPU.
            step: Its number.
            dataset: Its data set.
            norm: Of its gradients.
            wanted: Readings that are written; all if None. Whether rows are finite always is.
            write: Called with the readings of each stream, and their shape.
            contain: Runs what is called later, when the numbers have come.
        """
        kept, self._kept = self._kept, []

        def tell(values: Mapping[str, float], **shape: Any) -> None:
            asked = {
                name: value
                for name, value in values.items()
                if wanted is None or name in wanted or name.endswith("/finite_share")
            }
            if asked:
                write(asked, **shape)

        about, vector = as_handed({"step": step, "dataset": dataset}, kept, norm)
        if vector is None:
            self.hear_step(about, torch.zeros(0, dtype=torch.float64), tell)
        else:
            outbox.put_vector(vector, lambda found: contain(self.hear_step, about, found.double(), tell))

    def hear_terms(
        self, step: int, dataset: str | None, values: dict[str, float], write: Callable[[dict[str, float]], None]
    ) -> None:
        """Take in a step's scalars; ``write`` is called with them once those of all processes are there."""
        if not self.first:
            values = {name: value for name, value in values.items() if name.startswith("loss/")}
        self._terms.append(_Terms(step, dataset, values, write))

    def hear_step(self, about: Mapping[str, Any], vector: Tensor, write: Callable[..., None]) -> None:
        """Take in a due step, after its terms.

        Args:
            about: What :func:`as_handed` returned.
            vector: The same, on the CPU; empty where nothing was heard.
            write: Called with the readings of each stream, and their shape.
        """
        terms, self._terms = self._terms, []
        norm = float(vector[0]) if len(vector) else math.nan
        told = [(one.step, one.dataset, one.values) for one in terms]
        part = Part({**about, "terms": told, "norm": norm if math.isfinite(norm) else None}, vector[1:])

        def done(own: Part, others: dict[int, Part]) -> None:
            if others:
                self._say("merged", MERGED.format(processes()))
            self._write_terms(terms, others)
            for values, shape in merged(own, others, say=self._say):
                write(values, **shape)

        self._hear(f"step/{about['step']}", part, done)

    def _hear_rest(self) -> None:
        """Take in the terms after the last due step."""
        terms, self._terms = self._terms, []
        about = {
            "step": terms[-1].step if terms else 0,
            "terms": [(one.step, one.dataset, one.values) for one in terms],
        }
        empty = torch.zeros(0, dtype=torch.float64)
        self._hear("rest", Part(about, empty), lambda own, others: self._write_terms(terms, others))

    def hear_window(self, step: int, counts: Mapping[str, tuple[Tensor, int]], write: Callable[..., None]) -> None:
        """Take in counts and rows of a window's histograms; ``write`` is called with each name's, of all processes."""
        if not self.active:
            for name, (found, rows) in counts.items():
                write(name, found, rows)
            return
        about = {"step": step, "counts": {name: [len(found), rows] for name, (found, rows) in counts.items()}}
        vector = torch.cat([torch.zeros(0, dtype=torch.float64), *(found.double() for found, _ in counts.values())])

        def done(own: Part, others: dict[int, Part]) -> None:
            parts = [counts_of(one) for one in (own, *others.values())]
            for name, (mine, _) in parts[0].items():
                same = [one[name] for one in parts if name in one and one[name][0].shape == mine.shape]
                write(name, sum(found for found, _ in same), sum(rows for _, rows in same))

        self._hear(f"window/{step}", Part(about, vector), done)

    def _hear(self, key: str, part: Part, done: Callable[[Part, dict[int, Part]], None]) -> None:
        exchange = self._exchange
        if exchange is None:
            if self.first:
                done(part, {})
        elif self.first:
            self._waiting.append(_Waiting(key, part.about["step"], part, done))
            self.collect()
        elif not reachable() or not self._tried(lambda: exchange.send(key, part.to_bytes())):
            self.leave()

    # What is written

    def collect(self, *, wait: float = 0.0) -> None:
        """Write what is complete, in the order of the steps.

        Args:
            wait: Seconds after which what is not complete is written as it is; 0: that is waited for, later.
        """
        until = time.monotonic() + wait
        while self._waiting and self._exchange is not None:
            now = time.monotonic()
            overdue = len(self._waiting) > KEPT and now - self._waiting[0].since > PATIENCE
            late = overdue or (wait > 0 and now >= until)
            if not self._write_next(partly=late):
                if wait == 0:
                    return
                time.sleep(0.01)

    def _write_next(self, *, partly: bool) -> bool:
        exchange, one = self._exchange, self._waiting[0]
        assert exchange is not None
        found = self._tried(lambda: exchange.take(one.key, partly=partly))
        if found is None:
            if self._exchange is not None and (len(self._waiting) > 1 or partly):
                self._part_from_ended(exchange, one)
            return False
        if partly and one.key.startswith("step/"):
            self._miss(exchange, one.step, [rank for rank in exchange.others if rank not in found])
        others = self._tried(lambda: {rank: Part.from_bytes(payload) for rank, payload in found.items()})
        self._heard |= set(found)
        if others is not None and self._are_of_this_training(one.own, others):
            self._waiting.popleft()
            one.done(one.own, others)
        return True

    @staticmethod
    def _write_terms(terms: Sequence[_Terms], others: Mapping[int, Part]) -> None:
        """Write scalars, loss terms as their mean over the processes that have them: as gradients are averaged."""
        heard: dict[tuple[int, str | None], list[dict[str, float]]] = {}
        for part in others.values():
            for step, dataset, values in part.about["terms"]:
                heard.setdefault((step, dataset), []).append(values)
        for one in terms:
            beside = heard.get((one.step, one.dataset), [])
            means = {
                name: sum(theirs, value) / (1 + len(theirs))
                for name, value in one.values.items()
                if (theirs := [values[name] for values in beside if name in values])
            }
            one.write(one.values | means)

    def _part_from_ended(self, exchange: Exchange, one: _Waiting) -> None:
        for rank in self._tried(exchange.ended) or ():
            # What it left before it ended is taken first.
            if not self._tried(lambda rank=rank: exchange.left(one.key, rank)):
                self._give_up(exchange, rank, f"process {rank} ended before step {one.step}")

    def _part_from_unheard(self, exchange: Exchange) -> None:
        for rank in [one for one in exchange.others if one not in self._heard and self._waiting]:
            if not self._tried(lambda rank=rank: exchange.left(self._waiting[0].key, rank)):
                why = "is watch() called in it, too, or is it started as torchrun ... -m collapse_probe run starts all?"
                self._give_up(exchange, rank, f"process {rank} never left anything ({why})")

    def _miss(self, exchange: Exchange, step: int, missing: Sequence[int]) -> None:
        self._misses = Counter({rank: self._misses[rank] + 1 for rank in missing})
        for rank, times in self._misses.items():
            said = f"process {rank} left nothing of step {step}: each reading has of how many processes it is"
            self._say(f"missing {rank}", said)
            if times >= _MISSES:
                self._give_up(exchange, rank, f"process {rank} left nothing of {_MISSES} due steps in a row")

    def _give_up(self, exchange: Exchange, rank: int, why: str) -> None:
        self._tried(lambda: exchange.give_up(rank))
        self._say(f"given up {rank}", f"{why}: it is not waited for any more")

    def _are_of_this_training(self, own: Part, others: Mapping[int, Part]) -> bool:
        """Return whether the other processes' gradients are this one's; where they are not, part from them."""
        mine = own.about.get("norm")
        for rank, other in others.items():
            theirs = other.about.get("norm")
            if mine is not None and theirs is not None and abs(mine - theirs) > _SAME * max(mine, theirs):
                self.leave(f"the gradients of process {rank} are others, so it trains a model, or a part, of its own")
                return False
        return True

    def close(self, *, failed: bool = False) -> None:
        """Write what is not written yet, and part from the others.

        Args:
            failed: Whether the training failed: then nobody is waited for.
        """
        if self.active and self.first and not reachable():
            self._end_without_group()
        elif self.active:
            self._hear_rest()
        if self._exchange is not None and self.first:
            self._part_from_unheard(self._exchange)
            self.collect(wait=1e-3 if failed else PATIENCE)
        elif self._exchange is not None:
            self._tried(self._exchange.end)
        elif not self._over and self.first and processes() > 1:
            self._say("alone", f"{ALONE}: {processes()} processes were started, and never met in torch.distributed")
        self.leave()

    def _end_without_group(self) -> None:
        """Part from the others where nothing of theirs can be fetched any more."""
        why = "the group of processes was destroyed before the watch was closed"
        if self._terms and not self._waiting:
            self._say("terms", f"loss terms from step {self._terms[0].step} on are the first process's: {why}")
        self.leave(why if self._waiting else "")

    def leave(self, why: str = "") -> None:
        """From now on this process is alone; what waits is written of it alone.

        Args:
            why: What is said of it; nothing where that is how it ends.
        """
        exchange, self._exchange, self._over = self._exchange, None, True
        if exchange is not None and self.first:
            exchange.close()
        if why:
            self._say("alone", f"{ALONE}: {' '.join(why.split())[:200]}")
        waiting, self._waiting = self._waiting, deque()
        terms, self._terms = self._terms, []
        for one in waiting if self.first else ():
            one.done(one.own, {})
        for one in terms if self.first else ():
            one.write(one.values)

    # How it agrees on an end

    def ask_to_stop(self, step: int) -> bool:
        """Ask every process to stop after a due step that is still to come; return whether that could be said."""
        met = self._met
        return met is not None and self._tried(lambda: met.say("stop", str(step).encode())) is not None

    def asked_to_stop(self) -> int | None:
        """Return after which step every process is to stop, also where their readings part; None: nobody asks."""
        met = self._met
        found = None if met is None else self._tried(lambda: met.said("stop"))
        return None if found is None else int(found)

    # How it is kept safe

    def _tried(self, function: Callable[[], R]) -> R | None:
        try:
            return function()
        except (ValueError, *LINKS) as error:
            self.leave(f"{type(error).__name__}: {error}")
            return None

    def _say(self, key: str, message: str) -> None:
        if self.first and key not in self._said:
            self._said.add(key)
            self.say(key if key in ("merged", "alone") else "note", message)
