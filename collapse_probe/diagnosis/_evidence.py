"""A run as detectors see it: its series and records, and what several detectors derive from them, once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..journal import Coverage, Event, LiveRun, Run, Series
from ..journal.vocabulary import NOT_STREAMS, split_dimension
from ._contract import Condition, Onset, Subject
from ._curves import Curve, collection_curve, over_collections
from ._evaluations import REFERENCE, Evaluations
from ._kept import kept, outweighed
from ._onset import FEWEST, change_point, left, levelled, surest, within
from ._samples import SAMPLES, Samples
from ._separation import (
    BATCH,
    D_PRIME,
    RANK,
    SATURATED,
    batch_curve,
    part_curve,
    reference_curve,
)
from ._solved import solved_without_separating

EMBEDDINGS = ("query", "document", "view", "class", "left", "right", "served", "hidden", "embedding")
"""Roles of streams that are embeddings; a stream whose role is unknown counts as ``hidden``."""

_ALIASES = {"norm_median": ("norm_mean",), "common_share": ("mean_cosine",)}
"""What stands in for a reading that a run lacks: for vectors of like length, the mean cosine is the common share."""


DENSE = 0.03
"""Share of the run between two readings of the reference pairs above which an onset comes from the batches."""

FAR = 0.1
"""Share of the run between two readings from which on what lies between them is asked of the batches (own choice)."""


@dataclass(frozen=True)
class Track:
    """A reading of a stream, and what it is held against.

    Attributes:
        reading: Its name.
        series: Its finite values, of the reference pairs where there are two, else of the batches.
        baseline: The raw encoder's, else step 0's, else the mean of steps 1 to 3.
        against: Which of them: ``raw``, ``start``.
    """

    reading: str
    series: Series
    baseline: float
    against: str


_STILL = 1e-4
"""Relative change of a reading of the same pairs up to which they have not moved (own choice)."""

_MOVES = 6.0
"""Errors between the first and the last third of the batches from which on a stream moves (own choice)."""

_BY_FACTORS = 10.0
"""Range above which a reading's change is one of factors (own choice)."""

_MOVED = 1e-6
"""Relative way of weights from which on they have moved: beyond rounding of float32."""

APART = 0.1
"""Pull above which own pairs are driven apart: what trains pairs pulls them, by -.1 to -.9 (own choice)."""

_ENDS = 8
"""Readings of an end of the run that are pooled."""

_MET = 0.2
"""Share of the first loss below which what it is about is learnt (own choice)."""


class Evidence(Samples):
    """A run on disk or in training, with what is derived from it.

    Args:
        run: The run.
        tests: Runs like this one that are judged together, so that a fall of one of them is as rare.

    Attributes:
        run: The run.
        config: What it is.
    """

    def __init__(self, run: LiveRun, *, tests: int = 1) -> None:
        super().__init__(run)
        self._tests = tests

    @cached_property
    def driven_apart(self) -> bool:
        """Whether the loss moves each query away from its own document, from the first readings to the last."""
        pull = self.series("pairs/pull", on="batch").finite().values
        return len(pull) > 2 * _ENDS and min(float(np.median(pull[:_ENDS])), float(np.median(pull[-_ENDS:]))) > APART

    @cached_property
    def loss_is_met(self) -> bool:
        """Whether the loss fell to less than a fifth of what it began with: whatever it is about is learnt."""
        loss = self.series("loss/total", on="batch").finite().values
        return len(loss) > 2 * _ENDS and 0 < float(np.median(loss[-_ENDS:])) < _MET * float(np.median(loss[:3]))

    @property
    def ended(self) -> bool:
        """Whether no more is to come: of a run on disk, or of one in memory that has ended."""
        return isinstance(self.run, Run) or self.run.status != "unfinished"

    @cached_property
    def left_out(self) -> dict[str, int]:
        """Modules whose parameters have a gradient and no optimiser, with the step at which that was said."""
        return {one.subject: one.step for one in self.run.of(Event) if one.name == "left_out"}

    def baseline(self, reading: str) -> float | None:
        """Return the raw encoder's, else step 0's; None where neither was recorded."""
        return self.run.baseline(reading)

    def track(self, stream: str, measure: str) -> Track | None:
        """Return a stream's reading with its baseline; None where it was read less than twice."""
        for name in (measure, *_ALIASES.get(measure, ())):
            reading = f"{stream}/{name}"
            reference = self._series(reading, "reference").finite()
            raw = self._series(reading, "raw").finite()
            start = self.run.baseline(reading)
            moved = len(reference) and int(reference.steps[-1]) > 0 and not self.reference_still
            if start is not None and moved:
                return Track(reading, reference, start, "raw" if len(raw) else "start")
            batch = self._series(reading, "batch").finite()
            if len(batch) > 1:
                first = batch.values[batch.steps <= max(3, int(batch.steps[0]))]
                return Track(reading, batch, float(first.mean()), "start")
            if len(reference) > 1:
                return Track(reading, reference, float(reference.values[0]), "start")
        return None

    @cached_property
    def streams(self) -> list[Subject]:
        """Every stream that is declared or was heard, with its role."""
        declared = {one.name: one.role for one in self.config.streams}
        covered = {name: one.role for name, one in self.run.coverage.items()}
        read = [reading.rpartition("/")[0] for reading, _, _ in self.run.keys]
        names = dict.fromkeys([*declared, *covered, *read])

        def role(name: str) -> str | None:
            first, _, number = name.rpartition(".")
            # A further call of a tap in one batch stands under its stream's name and a number.
            further = role(first) if number.isdigit() and first in names else None
            return declared.get(name) or covered.get(name) or further

        return [
            Subject(name, role(name) or (name if name in EMBEDDINGS else "hidden"))
            for name in names
            if name and self._of_stream(f"{name}/")
        ]

    @cached_property
    def heard(self) -> dict[str, list[Coverage]]:
        """The coverage records of every stream."""
        found: dict[str, list[Coverage]] = {}
        for one in self.run.of(Coverage):
            found.setdefault(one.stream, []).append(one)
        return found

    @cached_property
    def reference_still(self) -> bool:
        """Whether the reference pairs never move while the streams of the batches do.

        They do not go through what is trained then, such as through a copy of the model, and say nothing of it.
        """
        names = {on: [key[0] for key in self.run.keys if self._of_stream(key[0]) and key[1] == on] for on in SAMPLES}
        read = [one for name in dict.fromkeys(names["reference"]) if len(one := self._series(name, "reference")) > 1]
        still = all(np.ptp(one.values) <= max(1e-6, _STILL * abs(float(one.values[0]))) for one in read)
        return (
            bool(read) and still and any(_moves(self._series(name, "batch")) for name in dict.fromkeys(names["batch"]))
        )

    @cached_property
    def unscored_drift(self) -> float | None:
        """How far weights moved while no reading of the reference pairs, and no score, changed by a bit.

        None where something changed, where no weight moved, or where one of the two was not read.
        """
        names = [one for one in (D_PRIME, RANK) if len(self.series(one, on="reference").finite()) > 1]
        same = all(float(np.ptp(self.series(one, on="reference").finite().values)) == 0.0 for one in names)
        # Scores of another collection that change say that what is trained is on their path.
        scored = [curve for curve in self.curves if curve.name not in (REFERENCE, BATCH)]
        far = max((float(one.values[-1]) for one in self.groups("drift")), default=0.0)
        still = bool(names) and same and all(len(set(curve.values)) == 1 for curve in scored)
        return far if still and far > _MOVED else None

    @cached_property
    def trained_through(self) -> bool:
        """Whether a backward came through a query or a document."""
        sides = [one.name for one in self.streams if one.role in ("query", "document", "left", "right", "view")]
        return any(name.rpartition("/")[0] in sides and on == "batch" for name, on, _ in self.run.keys)

    def _of_stream(self, reading: str) -> bool:
        cut = self.config.dimensions and split_dimension(reading.rpartition("/")[0])[1] in self.config.dimensions
        return not cut and reading.partition("/")[0] not in NOT_STREAMS

    @cached_property
    def cuts(self) -> dict[int, Evidence]:
        """The run as the first columns of its embeddings show it, by how many these are, the most first."""
        read = {split_dimension(name)[1] for name, _, _ in self.run.keys} if self.config.dimensions else set()
        dimensions = sorted(read & set(self.config.dimensions), reverse=True)
        return {one: Evidence(self.run.cut(one), tests=len(dimensions)) for one in dimensions}

    @property
    def seen(self) -> bool:
        """Whether the reference pairs are training pairs themselves."""
        return self.config.reference is not None and self.config.reference.seen

    @cached_property
    def evaluations(self) -> Evaluations:
        """What was scored."""
        return Evaluations(self.run)

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """Retrieval on every collection, the reference pairs among them, else separation from readings."""
        aside = self.misread or self.told_in_training
        subjects = [one for one in self.evaluations.subjects if one.collection != REFERENCE or not aside]
        seen = self.seen
        found = []
        for one in subjects:
            here = seen and one.collection == REFERENCE
            found.append(collection_curve(self.evaluations, one, seen=here, tests=len(subjects)))
        curves = over_collections([one for one in found if one is not None], tests=self._tests)
        reference = next((one for one in curves if one.name == REFERENCE), None)
        if reference is None or reference.fell is None or (not reference.fell and self._saturated(reference)):
            other = self._separation(seen=seen)
            if other is not None and (reference is None or reference.fell is None or other.fell):
                curves = [other, *(one for one in curves if one is not reference)]
        elif not reference.fell and not _solved(reference) and (other := self._between(seen=seen)) is not None:
            curves = [other, *(one for one in curves if one is not reference)]
        if self.driven_apart:
            # A loss that does so harms by itself: any fall that is resolved counts.
            curves = [curve.with_small_falls() if curve.inside else curve for curve in curves]
        return tuple(outweighed(curves) if self.config.examined else curves)

    @cached_property
    def kept(self) -> tuple[Curve, ...]:
        """Scores of finished models, of all collections, where all are kept; none where one may be lost."""
        return kept(self.curves) if self.config.examined else ()

    @cached_property
    def harm(self) -> tuple[Condition, ...]:
        """Whether separation or retrieval fell, as parts of a signature; one unknown part where nothing says.

        While the pairs' own domain rises, no geometry is critical, and a fall elsewhere is forgetting: trainings that
        retrieved better were seen with norms 47 x as long, and with .015 of the raw encoder's (1 - common share). Where
        the scores of finished models are kept and separation fell, none is critical either, and it warns.
        """
        rising = [curve for curve in self.curves if curve.inside and curve.rose and not curve.fell]
        rising = [] if any(curve.outweighed for curve in self.curves) else rising
        found = []
        for curve in rising or self.curves:
            fell, worst = curve.fell, curve.worst
            if fell is False and curve.seen and not curve.learnt:
                fell = None
            if worst is not None:
                reading = f"{curve.name}/{curve.metric}"
                found.append(
                    Condition(
                        reading=reading,
                        value=worst.value,
                        cut=worst.cut,
                        holds=fell,
                        harm=True,
                        interval=worst.interval,
                    )
                )
        if not any(one.holds for one in found):
            reference, batch = (self._series(D_PRIME, on) for on in ("reference", "batch"))
            known = len(reference) > 1 and not self.reference_still
            solved = solved_without_separating(reference if known else batch, self._series("loss/total", "batch"))
            found += [] if solved is None else [solved]
        return tuple(found) or (Condition(reading=RANK, value=None, cut=0.0, holds=None, harm=True),)

    @cached_property
    def fallen(self) -> Curve | None:
        """The curve that says best since when separation or retrieval fell; None where nothing fell."""
        fell = [curve for curve in self.curves if curve.fell]
        return max(fell, key=lambda curve: (bool(curve.inside), len(curve.steps)), default=None)

    @cached_property
    def lost_before(self) -> bool:
        """Whether whatever fell is below the raw encoder alone: it was lost before the first step."""
        fell = [one for curve in self.curves for one in curve.changes if one.fell]
        return bool(fell) and all(one.against == "raw" for one in fell)

    @cached_property
    def separation_onset(self) -> Onset | None:
        """Since when separation fell, by d'; None where it did not, or where it was read too seldom to tell.

        Of the reference pairs where they were read often enough, else of the batches, between the readings of the
        reference pairs where it fell. A run that gained most of what it is below the raw encoder is at fault since it
        stopped gaining.
        """
        if self.fallen is None or not self.fallen.inside:
            return None
        reference, batch = (self._series(D_PRIME, on, dense=True).finite() for on in ("reference", "batch"))
        dense = len(reference) > 1 and np.median(np.diff(reference.steps)) <= DENSE * max(self.run.steps, 1)
        ordered = [one for one in ((reference, batch) if dense else (batch, reference)) if len(one) >= FEWEST]
        if self.fallen.stopped_short:
            return next((found for one in ordered if (found := levelled(one.steps, one.values))), None)
        found = next((found for one in ordered if (found := change_point(one.steps, one.values))), None)
        if self.reference_still or len(reference) < 2:
            return found
        return within(found, left(reference.steps, reference.values))

    def onset_of(self, curve: Curve) -> Onset | None:
        """Return since when a curve fell; where readings far apart alone say so, not before the embeddings moved."""
        return self.narrowed((self.separation_onset if curve.inside and curve.fell else None) or curve.onset)

    def narrowed(self, found: Onset | None) -> Onset | None:
        """Return an onset that lies between two readings far apart as of when the embeddings moved between them."""
        if found is None or found.high - found.low <= FAR * self.run.steps or found.step < found.high:
            return found
        between = [one for one in self._shapes if one.low <= found.high and one.high >= found.low]
        if not between:
            return found

        def apart(one: Onset) -> tuple[int, int]:
            return max(0, found.low - one.step, one.step - found.high), one.high - one.low

        moved = min(between, key=apart)
        low = max(moved.low, found.low)
        return Onset(step=min(max(moved.step, low), found.high), low=low, high=found.high)

    def moved(self, track: Track) -> Onset | None:
        """Return since when a reading moves the way it moved, by the batches; None where they do not say.

        Of a stream that is read on the reference pairs alone, by the same measure of the streams of the batches.
        """
        falls = float(track.series.values[-1]) < track.baseline
        if len(self._series(track.reading, "batch")):
            return self._moves(track.reading, falls=falls)
        measure = track.reading.rpartition("/")[2]
        others = (self._moves(f"{one.name}/{measure}", falls=falls) for one in self.streams)
        return surest(others, self.run.steps)

    @cached_property
    def _shapes(self) -> list[Onset]:
        """Since when the embeddings moved, by the batches: how far apart they are, and what all of them share."""
        names = [f"{one.name}/{measure}" for one in self.streams for measure in ("spread", "common_share")]
        return [found for name in names if (found := self._moves(name))]

    def _moves(self, reading: str, *, falls: bool | None = None) -> Onset | None:
        series = self._series(reading, "batch").finite()
        if len(series) < FEWEST:
            return None
        values = series.values
        if values.min() > 0 and values.max() > _BY_FACTORS * values.min():
            values = np.log(values)
        return change_point(series.steps, values, falls=bool(values[-1] < values[0]) if falls is None else falls)

    def _separation(self, *, seen: bool) -> Curve | None:
        rank, d_prime = (self._series(name, "reference") for name in (RANK, D_PRIME))
        raw = {name: float(one.values[0]) for name in (RANK, D_PRIME) if len(one := self._series(name, "raw").finite())}
        found = self._of_domain(reference_curve(rank, d_prime, raw, seen=seen))
        if found is not None and found.fell is not None and not self.told_in_training:
            return found
        return batch_curve(*(self._series(name, "batch") for name in (RANK, D_PRIME))) or found

    def _between(self, *, seen: bool) -> Curve | None:
        """Return a fall from the best stretch that two full readings of the reference pairs cannot show.

        From the part of the pairs that is read in between, else from the batches; None where neither shows a fall.
        """
        dense = (self._series(name, "reference", dense=True) for name in (RANK, D_PRIME))
        part = self._of_domain(part_curve(*dense, seen=seen))
        found = (
            part
            if part is not None and part.fell
            else batch_curve(*(self._series(name, "batch") for name in (RANK, D_PRIME)))
        )
        return found if found is not None and found.fell else None

    def _of_domain(self, curve: Curve | None) -> Curve | None:
        """Return a curve of the reference pairs with their domain."""
        known = self.config.reference
        inside = True if known is None else {"in": True, "out": False}.get(known.domain or "")
        return None if curve is None else replace(curve, inside=inside)

    @staticmethod
    def _saturated(curve: Curve) -> bool:
        return bool(curve.values) and curve.values[0] > SATURATED


def _solved(curve: Curve) -> bool:
    """Return whether pairs that began otherwise end with nearly every own document the first, resolved.

    Scores that spread less are no harm there: what retrieves has not fallen.
    """
    start = curve.against("start")
    rose = start is not None and start.rose
    return rose and curve.metric == "mrr" and curve.values[-1] > SATURATED


def _moves(series: Series) -> bool:
    """Return whether a reading of the batches changes by more than neighbouring readings differ."""
    values, third = series.finite().values, len(series.finite()) // 3
    if third < 3:
        return False
    error = float(np.std(np.diff(values))) / np.sqrt(third)
    return abs(float(values[-third:].mean() - values[:third].mean())) > max(_MOVES * error, 1e-9)
