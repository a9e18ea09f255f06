"""Peers beside one training: each as its own documentation says, with what its verdicts mean in our words."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from worlds import World

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Said:
    """What a peer said of a training, by one of its verdicts.

    Attributes:
        detected: Whether it said that something is wrong.
        kinds: Kinds of failure that what it said can mean; None where it cannot name any.
        causes: Causes likewise.
        onset: The step it gave, counted from 1; None where it gave none.
        shown: What it said, shortened.
    """

    detected: bool
    kinds: tuple[str, ...] | None = None
    causes: tuple[str, ...] | None = None
    onset: int | None = None
    shown: tuple[str, ...] = ()


class Peer:
    """One peer beside one training."""

    name = ""
    note = ""

    def __init__(self, world: World) -> None:
        self.world = world

    def attach(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Take the model and its optimiser, before the first step."""

    def step(self, done: int, loss: float | None) -> None:
        """Hear of a step of the optimiser that is done, and of the value that was differentiated."""

    def vectors(self, done: int, query: Tensor, document: Tensor) -> None:
        """Hear of the reference pairs' vectors at an evaluation."""

    def served(self, query: Map, document: Map) -> None:
        """Hear of what maps the vectors at the last evaluation, after the training."""

    def said(self) -> dict[str, Said]:
        """Return what it says after the training, by the name of the verdict that counts.

        Raises:
            RuntimeError: It measured nothing.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Remove its hooks."""


class Lightly(Peer):
    """The spread of vectors of unit length, in shares of what isotropic ones have."""

    name = "lightly"
    note = """`lightly.utils.debug.std_of_l2_normalized` of the reference pairs' vectors at every evaluation, queries
and documents apart. Its documentation names two values: 0 for vectors that are all the same, and 1/sqrt(D) for
isotropic ones; its tutorial turns this into a level of collapse, one minus the share of 1/sqrt(D). It names no limit.
Half of the way (level >= .5) and nearly all of it (>= .9) are ours; the larger level of the two sides at the last
evaluation counts. Onset is the first evaluation from which on the level stays there. It knows one failure, so both
sides above the limit are read as complete collapse or a cone, and one side alone as a one-sided collapse; it names no
cause."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._levels: list[tuple[int, float, float]] = []

    def vectors(self, done: int, query: Tensor, document: Tensor) -> None:
        """Keep both sides' levels."""
        from lightly.utils.debug import std_of_l2_normalized

        sides = (1 - math.sqrt(one.shape[1]) * float(std_of_l2_normalized(one)) for one in (query, document))
        self._levels.append((done, *sides))

    def said(self) -> dict[str, Said]:
        """Return whether the last level is high."""
        if not self._levels:
            raise RuntimeError("no vectors were handed over")
        _, *last = self._levels[-1]
        found = {}
        for limit in (0.5, 0.9):
            above = [side for side in last if side >= limit]
            onset = None
            for done, *sides in reversed(self._levels):
                if not max(sides) >= limit:
                    break
                onset = done
            kinds = ((), ("one_sided_collapse",), ("complete_collapse", "cone"))[len(above)]
            shown = tuple(f"{side:.2f}" for side in last)
            found[f"level of collapse >= {limit}"] = Said(bool(above), kinds, None, onset, shown)
        return found


# Its findings by the start of their titles: kinds and causes that they can mean, generously read.
_FINDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Rank collapse": (("dimensional_collapse", "complete_collapse", "one_sided_collapse"), ()),
    "Dead units": (("dead_dimensions", "delta_collapse"), ("dead_units",)),
    "Activation saturation": (("saturation",), ()),
    "Training divergence": (("divergence",), ("steps_too_large",)),
    "Loss plateau": (("no_learning",), ()),
    "Vanishing gradients": (("no_learning", "gate_never_opened"), ()),
    "Exploding gradients": (("divergence", "scale_explosion"), ("steps_too_large",)),
    "Gradient stalling": (("no_learning", "gate_never_opened"), ("not_trained",)),
    "Update ratio too low": (("no_learning", "identity", "underflow"), ("steps_too_small",)),
    "Update ratio too high": (("divergence", "harmful_correction"), ("steps_too_large",)),
    "Weight norm explosion": (("scale_explosion",), ("no_scale_anchor", "steps_too_large")),
    "Stagnant weight norms": (("no_learning", "identity", "underflow"), ("steps_too_small", "not_trained")),
}


def _flat(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for part in parts for one in part))


class Torchmortem(Peer):
    """An autopsy with its defaults."""

    name = "torchmortem"
    note = """`Autopsy(model, optimizer=optimizer)` with its default sampling, attached to what the program trains;
`step(loss=...)` after every step of the optimiser with the value that was differentiated, as its quick start does. Its
own summary says that a run has issues where a finding is critical or a warning; critical ones alone are a line of
their own. Its findings are about layers, gradients and the loss; each was read generously as all of our kinds and
causes that it can mean (`_FINDINGS` in `peer_tools.py`), and a kind or cause is right if any finding that counts can
mean it. Onset is where the range of steps of the first finding begins, which for several findings is always the start
of the run. Its curvature needs a loss tensor, which its quick start does not hand over, so nothing is said of it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._autopsy: Any = None

    def attach(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Attach its collectors."""
        from torchmortem import Autopsy

        self._autopsy = Autopsy(model, optimizer=optimizer)
        self._autopsy.attach()

    def step(self, done: int, loss: float | None) -> None:
        """Hand over the loss."""
        self._autopsy.step(**({} if loss is None else {"loss": loss}))

    def said(self) -> dict[str, Said]:
        """Return whether there are findings of a severity."""
        if self._autopsy is None:
            raise RuntimeError("the program showed no model")
        self._autopsy.detach()
        findings = self._autopsy.get_report().findings
        answers = {}
        for label, least in (("critical", 2), ("critical or warning", 1)):
            some = [one for one in findings if int(one.severity) >= least]
            means = [pair for one in some for start, pair in _FINDINGS.items() if one.title.startswith(start)]
            answers[f"a finding: {label}"] = Said(
                bool(some),
                _flat(kinds for kinds, _ in means),
                _flat(causes for _, causes in means),
                some[0].step_range[0] + 1 if some else None,
                tuple(one.title for one in some),
            )
        return answers

    def close(self) -> None:
        """Detach, whatever happened."""
        if self._autopsy is not None:
            for collector in self._autopsy._collectors:
                collector.detach()
            self._autopsy._attached = False


class NDTracker(Peer):
    """The dimension of every layer's output at every step, and leaps of it."""

    name = "ndtracker"
    note = """`HighFrequencyTracker(model)` with its defaults (linear layers found by itself, every step),
`log(step, loss)` after every step of the optimiser, and `detect_jumps()` at the end with its default metric (stable
rank), window and limit (z > 3). It has no verdict of health beside this: its text says to look whether the dimension
holds up or falls. So any jump of any layer counts in one line, and a jump downwards in another, which is read as a
dimensional, complete or one-sided collapse; onset is the step of the first. Its own documentation shows that this
detector fires on noise and asks to validate it first. It names no cause."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._tracker: Any = None

    def attach(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Hook the layers."""
        from ndt import HighFrequencyTracker

        logging.getLogger("ndt").setLevel(logging.CRITICAL)
        self._tracker = HighFrequencyTracker(model)

    def step(self, done: int, loss: float | None) -> None:
        """Measure the layers."""
        self._tracker.log(done, math.nan if loss is None else loss)

    def said(self) -> dict[str, Said]:
        """Return whether a layer's dimension leaps."""
        if self._tracker is None:
            raise RuntimeError("the program showed no model")
        history = self._tracker.metrics_history
        if not any(history.values()):
            raise RuntimeError("no layer was ever measured")
        jumps = sorted(
            (history[name][jump.step].step, name, jump.value_before, jump.value_after)
            for name, found in self._tracker.detect_jumps().items()
            for jump in found
        )
        falls = [one for one in jumps if one[3] < one[2]]
        collapses = ("dimensional_collapse", "complete_collapse", "one_sided_collapse")

        def answer(some: list[tuple[int, str, float, float]], kinds: tuple[str, ...] | None) -> Said:
            shown = tuple(f"{name} at {step}: {old:.2f} -> {new:.2f}" for step, name, old, new in some[:5])
            return Said(bool(some), kinds, None, some[0][0] if some else None, shown)

        return {"any jump": answer(jumps, None), "a jump downwards": answer(falls, collapses if falls else ())}

    def close(self) -> None:
        """Remove its hooks."""
        if self._tracker is not None:
            self._tracker.close()


_GEOMETRY: dict[str, tuple[str, ...]] = {
    "hubness": ("hubness",),
    "antihubs": ("hubness",),
    "query_hubness": ("hubness",),
    "anisotropy": ("cone", "complete_collapse"),
    "effective_rank": ("dimensional_collapse", "dead_dimensions", "complete_collapse"),
    "collapse": ("complete_collapse", "ties"),
    "rogue_dimensions": ("dimensional_collapse",),
    "distance_concentration": ("complete_collapse",),
    "ood_queries": ("side_gap", "path_mismatch", "one_sided_collapse"),
}


class Vecscope(Peer):
    """An audit of the final vectors."""

    name = "vecscope"
    note = """`audit(documents, queries=queries)` with its defaults (10 neighbours) on the final vectors, twice: of the
reference pairs (equal documents once, since it counts near duplicates) and of the collection that is searched, with
its queries. Its command fails on the verdict `fail`; `warn` or `fail` is a line of its own, and its documentation says
that a warning on a good model is normal. It judges the vectors that come out, encoder and head together: of the frozen
encoders' own vectors those of MedQuAD's reference pairs get a `fail` already, by the hubness of queries (4.2 and 4.5
where 4 fails), those of NFCorpus's collection one by queries far from it, and those of SciFact's warnings. A healthy
training brings that hubness below 4, so a head that changes nothing is found by what its encoder was before. Findings
were read generously as all of our kinds that they can mean (`_GEOMETRY` in `peer_tools.py`). Its likely causes are
about a corpus and an index and not about a training, and it sees the end of a run alone: no cause and no onset. It
refuses vectors that are not finite by an error, which is no verdict here. It says itself that it measures no
relevance."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._last: dict[str, tuple[Tensor, Tensor]] = {}

    def vectors(self, done: int, query: Tensor, document: Tensor) -> None:
        """Keep the last ones of the reference pairs."""
        rows = {one.numpy().tobytes(): row for row, one in enumerate(self.world.reference[1])}
        self._last["reference pairs"] = query, document[list(rows.values())]

    def served(self, query: Map, document: Map) -> None:
        """Map the collection."""
        searched = self.world.collection
        self._last["collection"] = query(searched.query).float(), document(searched.document).float()

    def said(self) -> dict[str, Said]:
        """Return its verdicts."""
        from vecscope import audit

        if not self._last:
            raise RuntimeError("no vectors were handed over")
        answers = {}
        for of, (query, document) in self._last.items():
            findings = audit(document.numpy(), queries=query.numpy()).findings
            for label, levels in (("fail", ("fail",)), ("warn or fail", ("warn", "fail"))):
                some = [one for one in findings if one.verdict in levels]
                kinds = _flat(_GEOMETRY.get(one.name, ()) for one in some)
                shown = tuple(f"{one.name} {one.value:.3f}" for one in some)
                answers[f"{label}, {of}"] = Said(bool(some), kinds, None, None, shown)
        return answers


class DefaultPlusPlus(Peer):
    """Features of a fine-tuning, and a trained diagnosis of them."""

    name = "defaultplusplus"
    note = """`FeatureExtractor(model)`, which finds the architecture by itself, with `step` after every step of the
optimiser and the shipped diagnosis at the end; `is_faulty` would count. It takes BERT-like encoders and GPT-like
decoders of transformers and refuses every other model, as its documentation says. No program here trains one: they
train heads over frozen vectors. So there is no verdict of it, and nothing to compare; what it reports of its own
benchmark is in RESULTS.md."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._optimizer: torch.optim.Optimizer | None = None
        self._extractor: Any = None

    def attach(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Inspect the model."""
        from defaultplusplus import FeatureExtractor

        self._optimizer, self._extractor = optimizer, FeatureExtractor(model)

    def step(self, done: int, loss: float | None) -> None:
        """Measure the step."""
        self._extractor.step(loss=loss, optimizer=self._optimizer)

    def said(self) -> dict[str, Said]:
        """Return its diagnosis."""
        from defaultplusplus.diagnosis import load_pretrained
        from defaultplusplus.processing import RuntimeNormalizer

        if self._extractor is None:
            raise RuntimeError("the program showed no model")
        self._extractor.epoch_end()
        features = RuntimeNormalizer.load(self._extractor.arch).encode(self._extractor.finalize(), mode="raw")
        found = load_pretrained(self._extractor.arch).predict(features)
        return {"is_faulty": Said(bool(found.is_faulty), shown=(str(found.category), str(found.root_cause)))}


PEERS: tuple[type[Peer], ...] = (Lightly, Torchmortem, NDTracker, Vecscope, DefaultPlusPlus)
