"""What a run heard, and what it did not measure: a result, never silence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..journal import Counterfactual, Evaluation, Event
from ._contract import Finding, Status
from ._curves import Curve
from ._evaluations import REFERENCE
from ._evidence import Evidence
from ._onset import FEWEST
from ._separation import BATCH, FEWEST_PAIRS, RANK

_SHOWN = 3

LOCUS = "locus"
"""What is said not to be measured where no module was put back and nothing was interpolated."""

_WORTH = 0.01
"""Share of the loss in no term from which on it is said."""

_RECENT = 20
"""Steps before the end within which a last reading is one of the end; in long runs a tenth of them."""


@dataclass(frozen=True, kw_only=True)
class NotMeasured:
    """Something that was not measured.

    Attributes:
        what: What.
        why: Why not.
        essential: Whether the run cannot be called healthy without it.
    """

    what: str
    why: str
    essential: bool = False


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A stream that was heard, as JSON has it; ``steps`` are at least those whose batches were read."""

    stream: str
    role: str | None
    where: str
    rule: str
    n: int | None
    dimension: int | None
    dtype: str | None
    steps: int


def not_measured(evidence: Evidence, findings: Iterable[Finding]) -> tuple[NotMeasured, ...]:
    """Return what was not measured, the essential first."""
    found = list(findings)
    damage = _damage(evidence)
    grave = [one for one in damage if one.essential]
    essential = [*_finiteness(evidence, found), *_retrieval(evidence), *_declared(evidence), *grave]
    rest = [
        *(one for one in damage if not one.essential),
        *_streams(evidence, {one.what for one in essential}),
        *_collections(evidence),
        *_still(evidence),
        *_ends(evidence),
        *_off_path(evidence),
        *_rest_of_loss(evidence),
        *_locus(evidence, found),
        *_by_kind(found),
    ]
    return (*essential, *sorted(rest, key=lambda one: one.what))


def heard(evidence: Evidence) -> tuple[Heard, ...]:
    """Return the streams that were heard, by name."""
    found = []
    for subject in evidence.streams:
        records = [one for one in evidence.heard.get(subject.name, []) if one.calls or one.steps]
        read = [key for key in evidence.run.keys if key[0].startswith(f"{subject.name}/")]
        if not records and not read:
            continue
        series = [evidence.run.series(name, on=on, dataset=dataset) for name, on, dataset in read[:1]]
        last = records[-1] if records else None
        batches = [evidence.run.series(name, on=on, dataset=dataset) for name, on, dataset in read if on == "batch"]
        read_steps = len(set().union(*(one.steps.tolist() for one in batches)))
        n = int(series[0].n[-1]) if series and len(series[0]) else -1
        dimension = int(series[0].dimension[-1]) if series and len(series[0]) else -1
        found.append(
            Heard(
                stream=subject.name,
                role=subject.role,
                where=last.where if last else _of_further(evidence, subject.name),
                rule=last.rule if last else "",
                n=n if n > 0 else None,
                dimension=(last.dimension if last else None) or (dimension if dimension > 0 else None),
                dtype=(last.dtype if last else None) or (series[0].dtype if series else None),
                steps=max(last.steps if last else 0, read_steps),
            )
        )
    return tuple(sorted(found, key=lambda one: one.stream))


def _of_further(evidence: Evidence, stream: str) -> str:
    """Return where a further call of a stream in one batch comes from, which stands under its name and a number."""
    first, _, number = stream.rpartition(".")
    records = evidence.heard.get(first, []) if number.isdigit() else []
    return f"{records[-1].where}, number {number} of a batch" if records and records[-1].where else ""


def _finiteness(evidence: Evidence, findings: list[Finding]) -> list[NotMeasured]:
    missing = any(one.code == "CP001" and one.status is Status.NOT_MEASURED for one in findings)
    why = _said(evidence, ("no step",)) or "no loss, gradient norm or stream was recorded"
    return [NotMeasured(what="finiteness", why=why, essential=True)] if missing else []


def _said(evidence: Evidence, subjects: tuple[str, ...]) -> str:
    """Return what the watch said of why something was not heard: the first of some subjects that was."""
    if evidence.run.steps and "no step" in subjects:
        subjects = tuple(one for one in subjects if one != "no step")
    notes = {one.subject: one.message for one in evidence.run.of(Event) if one.name == "note"}
    return next((notes[one] for one in subjects if one in notes), "")


def _retrieval(evidence: Evidence) -> list[NotMeasured]:
    known = [curve for curve in evidence.curves if curve.fell is not None]
    blind = _blind(evidence, known) if known and evidence.config.trains else ""
    if not blind and (known or (not evidence.config.trains and evidence.evaluations.records)):
        return []
    if blind:
        why = blind
    elif evidence.curves:
        why = f"{evidence.curves[0].name}: no scores of single queries, so a change has no interval"
    elif evidence.evaluations.records:
        judged = any(evidence.evaluations.metric(name) for name in evidence.evaluations.collections)
        why = "scored once only, so there is no change" if judged else "no metric that was scored is one of retrieval"
    else:
        reasons = ("no step", "unheard", "one matrix", "replay", "pairs", "no embeddings", REFERENCE)
        why = _said(evidence, reasons) or "no collection and no pairs were read"
    return [NotMeasured(what="retrieval or separation", why=why, essential=True)]


def _blind(evidence: Evidence, known: list[Curve]) -> str:
    """Return why curves that do not fall say nothing: no time to fall, or pairs that cannot; nothing where they do."""
    if evidence.run.steps < FEWEST:
        return f"too few steps to tell: {evidence.run.steps} of at least {FEWEST}"
    pairs = all(curve.collection in (REFERENCE, BATCH) for curve in known)
    ranks = evidence.series(RANK, on="reference")
    if all(curve.collection == REFERENCE for curve in known) and len(ranks) and 0 < ranks.n[-1] < FEWEST_PAIRS:
        return f"{ranks.n[-1]} reference pairs are too few to show a fall: give {FEWEST_PAIRS} or more as reference="
    if pairs and evidence.same_vectors and not evidence.told_in_training:
        same = "a query and its document have the same embedding, so these pairs are too easy to show a fall"
        return f"{same}: give others as reference="
    return ""


def _collections(evidence: Evidence) -> list[NotMeasured]:
    """Return what was scored and is not judged: variants scored once, and metrics not known to be of retrieval."""
    evaluations, found, judged = evidence.evaluations, [], {one.name for one in evidence.curves}
    for name in evaluations.collections:
        once = [one.variant for one in evaluations.subjects if one.collection == name and one.label not in judged]
        if 0 < len(once) < len(evaluations.variants(name)):
            why = f"{_some(once)}: scored once only, so there is no change"
            found.append(NotMeasured(what=f"variants of {name}", why=why))
        if name != REFERENCE and (unknown := evaluations.unknown(name)):
            why = f"{_some(unknown)}: not known as a metric of retrieval that is better the higher"
            found.append(NotMeasured(what=f"metrics of {name}", why=why))
    return found


def _still(evidence: Evidence) -> list[NotMeasured]:
    why = "they do not move while the trained streams do: they do not go through what is trained"
    return [NotMeasured(what=REFERENCE, why=why)] if evidence.reference_still else []


def _ends(evidence: Evidence) -> list[NotMeasured]:
    """Return the ends of streams that were last read long before the run's end: their last value is none of now."""
    last: dict[str, int] = {}
    for name, on, dataset in evidence.run.keys:
        if on == "batch" and name.rpartition("/")[0] in evidence.heard:
            series, stream = evidence.run.series(name, on=on, dataset=dataset), name.rpartition("/")[0]
            last[stream] = max(last.get(stream, 0), *(series.steps.tolist() or [0]))
    steps = evidence.run.steps
    return [
        NotMeasured(what=f"the end of {stream}", why=f"last read at step {step} of {steps}")
        for stream, step in last.items()
        if 0 < step < steps - max(_RECENT, steps / 10)
    ]


def _off_path(evidence: Evidence) -> list[NotMeasured]:
    """Return what is trained and is on no path that was scored."""
    variants = {one.variant for one in evidence.run.of(Evaluation)} - {"raw"}
    off = [one.name for one in evidence.run.modules if one.trained and one.scored is False]
    more = f" and {len(off) - _SHOWN} more" if len(off) > _SHOWN else ""
    what = f"what {', '.join(off[:_SHOWN])}{more} is worth"
    why = "trained, and not on the path that is scored"
    return [NotMeasured(what=what, why=why)] if off and len(variants) < 2 else []


def _rest_of_loss(evidence: Evidence) -> list[NotMeasured]:
    """Return which share of the loss is in no term that was handed over."""
    rest, total = (evidence.series(f"loss/{name}").finite().values for name in ("rest", "total"))
    whole = float(np.median(np.abs(total))) if len(total) else 0.0
    share = float(np.median(np.abs(rest))) / whole if len(rest) and whole > 0 else 0.0
    why = "it is in none of the terms that were handed over, so its forces were not read"
    return [NotMeasured(what=f"{share:.2f} of the loss", why=why)] if share >= _WORTH else []


def _locus(evidence: Evidence, findings: list[Finding]) -> list[NotMeasured]:
    """Return that it is not known which module holds a change: that takes the weights of step 0 and of the end."""
    scored = any(one.family in ("graft", "interpolation") for one in evidence.run.of(Counterfactual))
    if scored or not evidence.config.trains or not any(one.grave for one in findings):
        return []
    own = evidence.config.session.get("recipe") is not None
    why = "no epoch was scored with modules put back to step 0" if own else "no weights of step 0 were kept"
    return [NotMeasured(what=LOCUS, why=f"which module holds the change cannot be told: {why}")]


def _declared(evidence: Evidence) -> list[NotMeasured]:
    found = [
        NotMeasured(what=f"stream {one.name}", why=_silence(evidence, one.name), essential=True)
        for one in evidence.config.streams
        if one.declared and _silent(evidence, one.name)
    ]
    reference = evidence.config.reference
    read = any(on == "reference" for _, on, _ in evidence.run.keys)
    scored = {
        one.collection for one in evidence.run.of(Evaluation) if one.variant != "raw" or not evidence.config.trains
    }
    if reference is not None and reference.declared and not read and REFERENCE not in scored:
        said = _said(evidence, (REFERENCE,)).partition("no reference pairs from step 0 on: ")[2]
        found.append(NotMeasured(what=REFERENCE, why=said or "given, and never read", essential=True))
    for collection in evidence.config.collections:
        if collection.declared and collection.name not in scored:
            found.append(
                NotMeasured(what=f"collection {collection.name}", why="declared, and never scored", essential=True)
            )
    return found


def _damage(evidence: Evidence) -> list[NotMeasured]:
    """Return what is damaged: scores of queries between other evaluations cost their evaluation alone."""
    faults = dict(evidence.evaluations.faults)
    if evidence.run.folder is not None:
        for file in dict.fromkeys(one.per_query for one in evidence.run.of(Evaluation) if one.per_query):
            if file not in faults and not evidence.run.has_file(file):
                faults[file] = f"{file}: is missing"
    lines = [(line, True) for line in evidence.run.damage]
    # Records in memory are whole, whatever became of their file.
    lines += [(one.message, False) for one in evidence.run.of(Event) if one.name == "cut"]
    lines += [(line, not evidence.evaluations.is_between(file)) for file, line in faults.items()]
    inside = f"{evidence.run.folder}/"
    return [
        NotMeasured(what="an undamaged journal", why=line.removeprefix(inside), essential=grave)
        for line, grave in lines
    ]


def _silent(evidence: Evidence, stream: str) -> bool:
    records = evidence.heard.get(stream)
    return bool(records) and not any(one.calls or one.steps for one in records or ())


def _silence(evidence: Evidence, stream: str) -> str:
    return next((one.why for one in reversed(evidence.heard.get(stream, [])) if one.why), "was not heard")


def _streams(evidence: Evidence, known: set[str]) -> list[NotMeasured]:
    return [
        NotMeasured(what=f"stream {name}", why=_silence(evidence, name))
        for name in evidence.heard
        if _silent(evidence, name) and f"stream {name}" not in known
    ]


def _by_kind(findings: list[Finding]) -> list[NotMeasured]:
    missing: dict[str, list[str]] = {}
    found_out = {one.kind for one in findings if one.grave}
    for one in findings:
        if (
            one.kind not in found_out
            and one.status is Status.NOT_MEASURED
            and one.code not in ("CP001", "CP002", "CP201")
        ):
            missing.setdefault(one.kind, []).extend(_unread(one))
    found = []
    for kind, names in missing.items():
        unique = list(dict.fromkeys(name for name in names if name))
        found.append(NotMeasured(what=kind, why=f"not enough of {_some(_by_measure(unique)) or 'it'}"))
    return found


def _by_measure(readings: list[str]) -> list[str]:
    """Return readings with those of the same measure together.

    >>> _by_measure(["query/mrr", "document/mrr", "loss/total"])
    ['mrr of query, document', 'loss/total']
    """
    streams: dict[str, list[str]] = {}
    for one in readings:
        streams.setdefault(one.rpartition("/")[2], []).append(one)
    return [
        some[0] if len(some) == 1 else f"{measure} of {_some([one.rpartition('/')[0] or one for one in some])}"
        for measure, some in streams.items()
    ]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _unread(finding: Finding) -> tuple[str, ...]:
    conditions = finding.judgement.conditions if finding.judgement else ()
    unread = tuple(one.reading for one in conditions if one.holds is None and not one.harm)
    return unread or finding.evidence or (finding.subject,)
