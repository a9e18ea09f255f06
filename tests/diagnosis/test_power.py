"""Power and false alarms of every detector that judges series: shapes, gaps, no numbers, rows, dimensions, noise.

Shapes of what is planted: a step, a drift, a change late in the run, each with gaps or readings that are no numbers.
Harmless are noise, a drift that stays inside the cut, and a warm-up that comes back. Sizes go through in turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from journals_support import Shape, live, ramp, step, transient

from collapse_probe.diagnosis import BY_CODE, DETECTORS, Evidence, NotApplicable, Status
from collapse_probe.diagnosis._findings import cuts_of, subjects
from collapse_probe.diagnosis._status import status_of
from collapse_probe.journal import Evaluation, JournalWriter, ReferenceInfo, Store, StreamInfo

ROWS = (8, 16, 64, 256, 1024, 4096)
DIMENSIONS = (16, 64, 384, 1024)
NOISES = (0.005, 0.02, 0.04)
EVERY = (1, 5, 20)
STEPS = 200

NO_SERIES = {
    "CP002": "coverage",
    "CP003": "the end record",
    "CP202": "evaluations",
    "CP203": "evaluations",
    "CP205": "evaluations",
    "CP206": "evaluations",
    "CP511": "evaluations",
    "CP512": "evaluations",
    "CP519": "vectors that keep every bit",
    "CP520": "an event",
    "CP522": "what is written where it changes",
    "CP523": "an event",
    "CP524": "the first steps alone",
    "CP525": "an event",
    "CP526": "an event",
}
"""Detectors that judge records of another kind: `test_detectors.py` and `benchmarks/nulls.py` are about them."""

Ends = Mapping[str, tuple[float, float]]
"""Reading to its values before and after."""

FALL: Ends = {"pairs/mrr": (0.84, 0.5), "pairs/d_prime": (3.4, 1.5), "pairs/mrr_centred": (0.845, 0.5)}
KEPT: Ends = {**FALL, "pairs/mrr_centred": (0.845, 0.8)}
RISE: Ends = {"pairs/mrr": (0.84, 0.95), "pairs/d_prime": (3.4, 4.4), "pairs/mrr_centred": (0.845, 0.95)}


def both(measure: str, before: float, after: float) -> Ends:
    return {f"{stream}/{measure}": (before, after) for stream in ("query", "document")}


@dataclass(frozen=True)
class Case:
    """What a detector finds, and what it does not.

    Attributes:
        planted: What is to be found.
        inside: As far as readings may go without being found.
        beside: What is so in all runs, such as a fall of separation.
        settings: Of the generator.
        fewest: Rows of a batch, and pairs, below which power is not asked for.
        constant: Whether readings are the same from start to end, because the first ones are judged.
        held: As ``planted``, of the reference pairs alone.
        held_inside: As ``inside``, of the reference pairs alone.
        batches: Whether it is found without reference pairs.
    """

    planted: Ends
    inside: Ends
    beside: Ends = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    fewest: int = 8
    constant: bool = False
    held: Ends = field(default_factory=dict)
    held_inside: Ends = field(default_factory=dict)
    batches: bool = True


def _stream(name: str, role: str) -> dict[str, Any]:
    return {"fields": {"streams": (StreamInfo(name="query", role="query"), StreamInfo(name=name, role=role))}}


_DELTA, _GATE = _stream("delta", "correction"), _stream("alpha", "gate")
_RANGE = {"own": {"expected": [{"reading": "query/norm_median", "max": 1.5, "critical_above": 2.0}]}}
_HELD_OUT = {"fields": {"reference": ReferenceInfo(source="given", declared=True)}}

CASES = {
    "CP001": Case({"loss/total": (1.0, math.nan)}, {"loss/total": (1.0, 1e6)}),
    "CP101": Case(
        {"query/norm_median": (1.0, 3.0)}, {"query/norm_median": (1.0, 1.3)}, settings={"fields": {"probes": _RANGE}}
    ),
    "CP201": Case(FALL, {"pairs/mrr": (0.84, 0.838), "pairs/d_prime": (3.4, 3.2)}),
    "CP204": Case({"pairs/tied_share": (0.01, 0.6)}, {"pairs/tied_share": (0.01, 0.15)}, FALL, batches=False),
    "CP410": Case(both("common_share", 0.2, 0.995), both("common_share", 0.2, 0.6), FALL),
    "CP411": Case(both("norm_median", 1.0, 0.1), both("norm_median", 1.0, 0.4), FALL),
    "CP412": Case(both("norm_median", 1.0, 50.0), both("norm_median", 1.0, 2.5), FALL),
    "CP421": Case(both("common_share", 0.2, 0.9), both("common_share", 0.2, 0.4), KEPT),
    "CP422": Case(
        both("participation_ratio_corrected", 60, 3), both("participation_ratio_corrected", 60, 20), FALL, fewest=64
    ),
    "CP423": Case(both("dead_dimensions", 0.01, 0.6), both("dead_dimensions", 0.01, 0.2), FALL),
    "CP430": Case({"query/norm_median": (1.0, 0.1)}, both("norm_median", 1.0, 0.1), FALL),
    "CP431": Case({"pairs/side_gap": (0.3, 1.5)}, {"pairs/side_gap": (0.3, 0.7)}, KEPT),
    "CP440": Case(
        {"delta/correction_over_residual": (0.3, 0.005)}, {"delta/correction_over_residual": (0.3, 0.05)}, {}, _DELTA
    ),
    "CP441": Case({"delta/mean_abs": (0.02, 1e-4)}, {"delta/mean_abs": (0.02, 0.01)}, {}, _DELTA),
    "CP442": Case({"alpha/value": (0.1, 1e-3)}, {"alpha/value": (0.1, 0.03)}, {}, _GATE),
    "CP443": Case({"alpha/value": (1e-5, 1e-4)}, {"alpha/value": (1e-5, 0.05)}, {}, _GATE, constant=True),
    "CP444": Case({"delta/constancy": (0.2, 0.97)}, {"delta/constancy": (0.2, 0.6)}, {}, _DELTA),
    "CP445": Case({"delta/pass_through": (0.9, 0.02)}, {"delta/pass_through": (0.9, 0.4)}, FALL, _DELTA),
    "CP450": Case({"pairs/hub_occurrence": (0.3, 0.8)}, {"pairs/hub_occurrence": (0.3, 0.42)}, FALL, batches=False),
    "CP501": Case(
        {"gradient/norm": (0.0, 0.0)}, {"gradient/norm": (1e-9, 0.5), "update/head": (2e-5, 1e-3)}, constant=True
    ),
    "CP502": Case(
        {"pairs/mrr": (0.84, 0.98)},
        {"pairs/mrr": (0.84, 0.83)},
        held=FALL,
        held_inside=FALL,
        settings=_HELD_OUT,
        batches=False,
    ),
    "CP503": Case(
        {"pairs/neighbour_overlap": (0.9, 0.3)}, {"pairs/neighbour_overlap": (0.9, 0.6)}, RISE, batches=False
    ),
    "CP504": Case({"lost/head": (0.9, 0.9)}, {"lost/head": (0.1, 0.4)}, constant=True),
    "CP513": Case(
        {"pairs/auc": (0.5, 0.5)},
        {"pairs/auc": (0.95, 0.95)},
        held={"pairs/auc": (0.99, 0.99)},
        held_inside={"pairs/auc": (0.99, 0.99)},
        fewest=64,
        constant=True,
        batches=False,
    ),
    "CP518": Case(
        {"loss/InfoNCE": (100.0, 100.0), **both("teaching", 0.6, 0.6)},
        {"loss/InfoNCE": (100.0, 100.0), **both("teaching", 1.0, 1.0)},
        {"pairs/auc": (0.9, 0.9), "pairs/mrr": (0.6, 0.6)},
        constant=True,
    ),
    "CP514": Case({"pairs/near_own": (4.0, 4.0)}, {"pairs/near_own": (0.1, 8.0)}, FALL, constant=True),
    "CP516": Case(
        {"pairs/mrr": (1.0, 1.0)},
        {"pairs/mrr": (0.95, 0.95)},
        settings=_HELD_OUT,
        fewest=256,
        constant=True,
        batches=False,
    ),
    "CP521": Case({"drift/head": (0.1, 0.1)}, {"drift/head": (0.1, 0.1)}, constant=True, batches=False),
}
"""What is planted for each detector, and how far its readings may go."""

HARMED = [code for code, case in CASES.items() if case.beside in (FALL, KEPT)]


@dataclass(frozen=True)
class Size:
    """Rows, dimensions, noise and cadence of one run."""

    n: int
    dimension: int
    noise: float
    every: int
    reference: bool
    seed: int

    @classmethod
    def of(cls, code: str, at: int) -> Size:
        """Return the size of a detector's run: every value of each kind comes in turn, in another place for each."""
        place = 5 * sorted(CASES).index(code) + at
        case = CASES[code]
        rows = [one for one in ROWS if one >= case.fewest]
        n = rows[place % len(rows)]
        # Means over fewer rows vary more.
        noise = min(0.06, NOISES[place % 3] * math.sqrt(64 / n))
        alone = case.batches and place % 4 == 0 and n >= 64
        return cls(n, DIMENSIONS[place % 4], noise, EVERY[(place // 3) % 3], not alone, place)


def _holes(shape: Shape, kind: str, seed: int) -> Shape:
    """Return a series with a gap, or with readings that are no numbers, away from its start and its end."""
    if kind == "gap":
        return lambda t: math.nan if 0.35 < t < 0.48 else shape(t)
    if kind == "no numbers":
        rng = np.random.default_rng(seed)
        return lambda t: math.nan if 0.02 < t < 0.95 and rng.random() < 0.15 else shape(t)
    return shape


def _run(case: Case, code: str, size: Size, made: Callable[[float, float], Shape], ends: Ends, held: Ends, holes: str):
    planted = {name: made(*pair) for name, pair in {**case.beside, **ends}.items()}
    if code != "CP001":
        planted = {name: _holes(one, holes, size.seed) for name, one in planted.items()}
    alone = {} if size.reference else {"reference": None}
    readings = [name for name in {**case.beside, **ends, **held} if name.partition("/")[0] not in ("loss", "gradient")]
    scalars = ("drift", "update", "lost")
    run = live(
        planted,
        steps=STEPS,
        every=size.every,
        noise=size.noise if code not in ("CP516",) else 0.0,
        seed=size.seed,
        n=size.n,
        dimension=size.dimension,
        reference=size.reference,
        pairs=max(size.n, 256),
        extra={name: 0.0 for name in readings if name.partition("/")[0] not in scalars},
        terms={name: 0.0 for name in planted if name.startswith(("lost/", "loss/InfoNCE"))},
        unmoved=code == "CP521" and ends is case.planted,
        held={name: made(*pair) for name, pair in held.items()},
        fields={**case.settings.get("fields", {}), **alone},
    )
    if code == "CP503":
        _scored(run.store)
    return run


def _scored(store: Store) -> None:
    """Score a collection of which nobody said whether it is of the trained domain: its neighbours are asked then."""
    with JournalWriter(None, store=store) as writer:
        for at in (0, STEPS):
            store.files[f"toy-{at}"] = {"query_ids": [str(i) for i in range(50)], "ndcg@10": [0.5] * 50}
            where = {"collection": "toy", "step": at, "per_query": f"toy-{at}", "n_queries": 50}
            writer.write(Evaluation(metrics={"ndcg@10": 0.5}, **where))


def _status(run: Any, code: str) -> Status:
    """Return the gravest status that a detector alone gives a run."""
    evidence, detector = Evidence(run), BY_CODE[code]
    order = (Status.NOT_APPLICABLE, Status.NOT_MEASURED, Status.HEALTHY, Status.WARNING, Status.CRITICAL)
    found = [Status.NOT_APPLICABLE]
    for subject in subjects(detector, evidence):
        if detector.per == "stream" and not subject.name:
            continue
        try:
            judgement = detector.judge(subject, evidence, cuts_of(detector, evidence.config.probes))
        except NotApplicable:
            continue
        found.append(status_of(judgement, gravest=detector.gravest))
    return max(found, key=order.index)


def _flat(before: float, after: float) -> Shape:
    return lambda t: before


def _end(before: float, after: float) -> Shape:
    return lambda t: after


SHAPES: dict[str, Callable[[float, float], Shape]] = {
    "step": step,
    "drift": lambda before, after: ramp(before, after, since=0.1, until=0.9),
    "late": lambda before, after: ramp(before, after, since=0.6, until=0.75),
}
HOLES = ("none", "gap", "no numbers")
WARNS = ("CP101", "CP204", "CP440", "CP442", "CP443", "CP444", "CP503", "CP516")


def test_every_detector_that_judges_series_is_here():
    assert CASES.keys() | NO_SERIES.keys() == {one.code for one in DETECTORS}
    assert not CASES.keys() & NO_SERIES.keys()


@pytest.mark.parametrize("code", CASES)
def test_what_is_planted_is_found(code):
    case = CASES[code]
    for at, (name, made) in enumerate([*SHAPES.items()] * 2):
        size, holes = Size.of(code, at), HOLES[(at + at // 3) % 3]
        status = _status(_run(case, code, size, made, case.planted, case.held, holes), code)
        wanted = {BY_CODE[code].gravest, *((Status.WARNING,) if code in WARNS else ())}
        assert status in wanted, (name, holes, size)


@pytest.mark.parametrize("code", CASES)
def test_noise_alone_is_not_found(code):
    """Readings stay at their first level but for noise; what is judged by level alone stays inside its cut."""
    case = CASES[code]
    for at in range(6):
        size, holes = Size.of(code, at + 6), HOLES[at % 3]
        # A gate that never opened began closed: the level that is none of that is the one after.
        made = _end if code == "CP443" else _flat
        run = _run(case, code, size, made, case.inside, case.held_inside if case.constant else {}, holes)
        assert _status(run, code) not in (Status.WARNING, Status.CRITICAL), (holes, size)


@pytest.mark.parametrize("code", CASES)
def test_a_drift_inside_the_cut_is_not_found(code):
    """Also where separation falls as much as in the failures, by something else."""
    case = CASES[code]
    for at, made in enumerate([SHAPES["step"], SHAPES["drift"]] * 2):
        size = Size.of(code, at + 12)
        run = _run(case, code, size, made, case.inside, case.held_inside, HOLES[at % 3])
        assert _status(run, code) not in (Status.WARNING, Status.CRITICAL), size


@pytest.mark.parametrize("code", [code for code, case in CASES.items() if not case.constant and code != "CP001"])
def test_a_warm_up_that_comes_back_is_not_found(code):
    case = CASES[code]
    for at in range(4):
        size = Size.of(code, at + 16)

        def warm(before: float, after: float, until: float = (0.1, 0.25)[at % 2]) -> Shape:
            return transient(before, after, at=0.02, until=until)

        run = _run(case, code, size, warm, case.planted, case.held, "none")
        assert _status(run, code) not in (Status.WARNING, Status.CRITICAL), size


@pytest.mark.parametrize("code", HARMED)
def test_what_harms_nothing_is_not_found(code):
    """The same signature while separation rises, or stays as it is."""
    case = CASES[code]
    for at, beside in enumerate((RISE, {name: (before, before) for name, (before, _) in FALL.items()})):
        size = Size.of(code, at + 20)
        run = _run(Case(case.planted, {}, beside, case.settings), code, size, SHAPES["drift"], case.planted, {}, "none")
        assert _status(run, code) is not Status.CRITICAL, size
