"""The first screen: at most 24 lines of 100 columns and 2 kB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...journal import End, Event, Run, RunConfig
from ...journal.vocabulary import at_dimension, split_dimension
from ...statistics import SEEDS_TO_CONFIRM
from .._contract import Finding, Remedy, Status
from .._curves import Change
from .._evaluations import REFERENCE
from .._evidence import Evidence
from .._fallen import Fallen
from .._findings import ASKED
from .._kept import easy
from .._measured import NotMeasured
from .._selection import keeping
from ..causes import MECHANISMS, Cause, Decision
from ..causes._readings import pushes
from ._curves import curves, until
from ._delivered import delivered
from ._examined import another_origin, examined, settings_to_put_back, weights_are_the_first_ones
from ._fallen import FILE, who_fell
from ._notes import notes
from ._paper import INDENT, Page, page_of
from ._words import WIDTH, clean, evidence_line, folded, halving, metric, named, number, remedies, since, title

LINES = 24
BYTES = 2048

_LONG_ENOUGH = 60.0
"""Seconds of a run from which on its share of watching is said: to begin and to end takes about a second."""

FIRST = {
    Status.HEALTHY: "HEALTHY",
    Status.WARNING: "WARNING",
    Status.CRITICAL: "UNHEALTHY",
    Status.NOT_MEASURED: "NOT MEASURED",
}
_CURVES, _FEWER = 6, 3
"""Where the curves stand among the parts of the screen, and how many of them where there is little room."""

_UNTRAINED = {"scoring", "keep"}
"""What remedies change without further training."""


def first_screen(
    evidence: Evidence,
    *,
    width: int = WIDTH,
    status: Status,
    kinds: Sequence[Finding],
    causes: Sequence[Cause],
    missing: Sequence[NotMeasured],
    rows: Sequence[dict[str, Any]],
    findings: Sequence[Finding],
    lost: Sequence[Fallen] = (),
) -> str:
    """Return the first screen as plain text, in as many columns as are asked for."""
    page = page_of(width)
    dead = dead_since(findings)
    parts = [
        [*verdict(page, evidence, status, kinds, missing), *_ended(page, evidence)],
        seen(page, kinds),
        why(page, causes),
        page.wrapped("Models", models) if (models := examined(evidence.config)) else [],
        _retrieval(evidence, rows, dead),
        _loss(evidence),
        curves(page, evidence, dead),
        _do(page, evidence, kinds, causes),
        page.wrapped("Delivered", said) if (said := delivered(evidence, rows)) else [],
        page.wrapped("Who fell", fell, most=2) if (fell := who_fell(lost)) else [],
        [f"{'':<{INDENT}}{FILE}"] if fell else [],
        [*_damage(missing), *notes(page, evidence, status, kinds)],
        measured(page, findings, missing, rows=_of_processes(evidence)),
        _cost(evidence),
    ]
    return _fitted(page, parts)


def verdict(
    page: Page, evidence: Evidence, status: Status, kinds: Sequence[Finding], missing: Sequence[NotMeasured]
) -> list[str]:
    """Return the first word, what was found, and since when."""
    first = FIRST[status]
    text = in_words(evidence, status, kinds, missing)
    return page.wrapped(first, text, indent=max(INDENT, len(first) + 2))


def in_words(evidence: Evidence, status: Status, kinds: Sequence[Finding], missing: Sequence[NotMeasured]) -> str:
    """Return what was found and since when; why nothing can be said, where something essential was not measured."""
    if status is Status.NOT_MEASURED:
        grave = [one for one in missing if one.essential]
        return f"{clean(grave[0].what, length=60)}: {clean(grave[0].why, length=200)}" if grave else ""
    if kinds:
        return headline(kinds, evidence.config) + _kept(evidence, kinds)
    models = len(evidence.config.examined) - 1
    what = f"{evidence.run.steps:,} steps" if models < 0 else "1 model" if models == 1 else f"{models} models"
    text = f"nothing was found in {what}"
    return text + (", then the run was interrupted" if evidence.run.status == "interrupted" else "")


def _ended(page: Page, evidence: Evidence) -> list[str]:
    """Return how a run ended that did not complete, with what the journal says of it."""
    run, ends = evidence.run, evidence.run.of(End)
    if run.status == "completed" or not (ends or isinstance(run, Run)):
        return []
    if not ends:
        torn = isinstance(run, Run) and run.torn
        why = "; the last line of the journal is cut, as by a kill or a full disk" if torn else ""
        return page.wrapped("Ended", f"the journal has no end record; it goes to step {run.steps:,}{why}")
    message = clean(ends[-1].message, length=240).removeprefix(f"{run.status} after step {run.steps}").strip(": ")
    return page.wrapped("Ended", f"{run.status} after step {run.steps:,}" + (f": {message}" if message else ""))


def headline(kinds: Sequence[Finding], config: RunConfig | None = None) -> str:
    grave = [one for one in kinds if one.status is kinds[0].status]
    grave = [one for one in grave if one.kind != "range"] or grave
    by_kind: dict[str, list[Finding]] = {}
    for one in grave:
        by_kind.setdefault(title(one), []).append(one)
    names = []
    for name, some in list(by_kind.items())[:3]:
        subjects = [one.subject for one in some if one.subject]
        names.append(f"{name} ({named(subjects)})" if subjects else name)
    more = f", and {len(by_kind) - 3} more" if len(by_kind) > 3 else ""
    said = [one for one in (since(grave[0].judgement, config), halving(grave[0].judgement)) if one]
    return ", ".join([", then ".join(names) + more, *said])


def _kept(evidence: Evidence, kinds: Sequence[Finding]) -> str:
    """Return which scores of finished models are kept, beside a warning of what could harm them; else nothing."""
    parts = kinds[0].judgement.conditions if kinds[0].judgement else ()
    if kinds[0].status is not Status.WARNING or not evidence.kept or not any(one.harm for one in parts):
        return ""
    curves = sorted(evidence.kept, key=easy)[:2]
    said = [f"{clean(one.name, length=24)} {metric(one.metric)} {_interval(one.changes[0])}" for one in curves]
    little = all(easy(one) for one in curves)
    more = f"; {number(curves[0].changes[0].before)} at the start is too easy to show a loss: give a larger collection"
    return f", and the scores are kept: {', '.join(said)}{more if little else ''}"


def _interval(change: Change) -> str:
    known = change.interval
    ends = f" [{number(known.low, sign=True)}, {number(known.high, sign=True)}]" if known else ""
    return f"{number(change.value, sign=True)}{ends}"


def seen(page: Page, kinds: Sequence[Finding]) -> list[str]:
    shown = [one for one in kinds if one.kind not in ("loss_against_retrieval", "unfinished")]
    texts = [f"{some[0].code}  {text}" for some in folded(shown) if (text := evidence_line(*some))]
    texts = list(dict.fromkeys(texts))[:4]
    return [line for at, text in enumerate(texts) for line in page.wrapped("" if at else "Seen", text, most=2)]


def why(page: Page, causes: Sequence[Cause]) -> list[str]:
    """Return the first cause that is not refuted, how sure it is, by what, and what would decide."""
    if not causes:
        return []
    one = next((cause for cause in causes if cause.verdict != "refuted"), causes[0])
    where = f", in {clean(one.locus, length=40)}" if one.locus else ""
    said = f"{one.verdict}: {one.title}{where}"
    if one.decided is None:
        because = [f"{clean(name, length=50)} {number(value)}" for name, value in list(one.because.items())[:2]]
        known = f" ({', '.join(because)})" if because else ""
        return page.wrapped("Why", f"{said}{known}. To decide: {one.decides}.")
    few = one.verdict in ("supported", "contributes") and one.decided.seeds < SEEDS_TO_CONFIRM
    more = f" To decide: {SEEDS_TO_CONFIRM} seeds." if few else ""
    more = more or (" To decide: more seeds, or more queries." if one.verdict == "unresolved" else "")
    return page.wrapped("Why", f"{said} ({decided_by(one.decided)}).{more}")


def decided_by(one: Decision) -> str:
    """Return what an intervention changed, with its interval and what that was taken over."""
    ends = (
        "" if one.low is None or one.high is None else f" [{number(one.low, sign=True)}, {number(one.high, sign=True)}]"
    )
    over = f"{one.queries:,} queries" + (f" x {one.seeds} seeds" if one.seeds > 1 else " of one seed")
    what = f"{clean(one.collection, length=24)} {metric(one.metric)} {number(one.change, sign=True)}{ends}"
    return f"{clean(one.intervention, length=60)}: {what}, {over}"


def dead_since(findings: Sequence[Finding]) -> int | None:
    """Return the step from which the run is not finite for good; None where it is."""
    grave = [one.judgement for one in findings if one.kind == "divergence" and one.status is Status.CRITICAL]
    return next((one.onset.step for one in grave if one and one.onset), None)


def _retrieval(evidence: Evidence, rows: Sequence[dict[str, Any]], dead: int | None) -> list[str]:
    lines = []
    lives = {one.name: until(one.steps, dead) for one in evidence.curves}
    worst = {one.name: one.worst for one in evidence.curves if one.worst and one.worst.fell}
    since = {one.name: one.steps[0] for one in evidence.curves if one.variant and one.steps[0]}
    fell = {at_dimension(c.name, d) for d, cut in evidence.cuts.items() for c in cut.curves if c.fell}
    cuts = [one for one in rows if split_dimension(one["collection"])[1] in evidence.cuts]
    # Of embeddings' first columns those that fell, the fewest first, else the fewest.
    shown = [one for one in reversed(cuts) if one["collection"] in fell][:2] or cuts[-1:]
    rows = [one for one in rows if one not in cuts]
    means = {one.collection for one in evidence.evaluations.records.values() if one.mean_of}
    rows = sorted(
        rows,
        key=lambda one: (
            one["domain"] != "in" or one["collection"] == REFERENCE,
            one["collection"] not in (REFERENCE, *means),
        ),
    )
    for row in [*rows[: 4 - len(shown)], *shown]:
        change = worst.get(row["collection"])
        if change is not None and change.against == "best":
            lines.append(_from_best(row, change))
            continue
        name = f"{clean(row['collection'], length=24)} {metric(row['metric'])}"
        before = row["start"] if row["start"] is not None else row["raw"]
        moved = number(row["end"]) if before is None else f"{number(before)} -> {number(row['end'])}"
        change, sure = row["change"], ""
        if change and change["low"] is not None:
            ends = f"[{number(change['low'], sign=True)}, {number(change['high'], sign=True)}]"
            sure = f"{number(change['value'], sign=True)} {ends}"
        sure = lives.get(row["collection"]) or sure
        raw = f"raw {number(row['raw'])}" if row["raw"] is not None and row["start"] is not None else ""
        n = f"n {row['n']:,}" if row["n"] else ""
        domain = "in-domain" if row["domain"] == "in" else ""
        late = since.get(row["collection"]) if row["start"] is not None else None
        first = f"from step {late:,}" if late else ""
        lines.append("  ".join(one for one in (f"{name:<22}", moved, sure, n, raw, first, domain) if one))
    if len(rows) > 4 - len(shown):
        lines.append(f"and {len(rows) + len(shown) - 4} more collections")
    return labelled("Retrieval", lines)


def _from_best(row: dict[str, Any], change: Change) -> str:
    """Return a fall that only the run's best stretch shows: between the start and the end there is none."""
    name = f"{clean(row['collection'], length=24)} {metric(row['metric'])}"
    moved = f"{number(change.before)} at its best -> {number(change.after)}"
    sure, n = "", ""
    if change.interval is not None:
        scale = abs(change.before) if row["metric"] == "d_prime" else 1.0
        low, high = (number(one * scale, sign=True) for one in (change.interval.low, change.interval.high))
        sure, n = f"{number(change.value * scale, sign=True)} [{low}, {high}]", f"n {change.interval.n:,}"
    domain = "in-domain" if row["domain"] == "in" else ""
    return "  ".join(one for one in (f"{name:<22}", moved, sure, n, domain) if one)


def _loss(evidence: Evidence) -> list[str]:
    series = evidence.series("loss/total", on="batch")
    if not len(series):
        return []
    bad = int((~np.isfinite(series.values)).sum())
    text = f"{series.values[0]:.2g} -> {series.values[-1]:.2g} in {evidence.run.steps:,} steps"
    return labelled("Loss", [text + (f"; {bad:,} readings are not finite" if bad else "")])


def _do(page: Page, evidence: Evidence, kinds: Sequence[Finding], causes: Sequence[Cause]) -> list[str]:
    gravest = [one for one in kinds if one.status is kinds[0].status]
    losses = [name.partition("/")[2] for name, _, _ in evidence.run.keys if name.startswith("loss/")]
    first = next((one.remedies for one in causes if one.named), ())
    best = next((one for one in first if one.gain is not None and not _UNTRAINED & set(one.change)), None)
    about: dict[str, Any] = {"losses": losses, "pushes": pushes(evidence)}
    change = dict(best.change) if best else remedies(gravest[:3], evidence.config, first=first, **about)
    fields = [
        f"{key}={_plain(value)}" for key, value in change.items() if not isinstance(value, str) or " " not in value
    ]
    words = [f"{key}: {value}" for key, value in change.items() if isinstance(value, str) and " " in value]
    if kinds and (others := settings_to_put_back(evidence.config)):
        fields, words = ([], []) if weights_are_the_first_ones(evidence.config) else (fields, words)
        words = [f"settings: {others}", *words]
    if kinds and (other := another_origin(evidence.config)):
        fields, words = [], [f"base: {other}"]
    if best is not None and best.gain is not None:
        fields = [*fields, f"measured: {clean(best.reading, length=40)} {number(best.gain, sign=True)}"]
    kept = next((one for one in first if "keep" in one.change), None) or (None if first else keeping(evidence.run))
    if kept is not None:
        words.append(f"keep {kept.change['keep']} (measured, {_gain(kept)})")
    for one in first:
        if one.gain is not None and "scoring" in one.change:
            words.append(f"scoring: {one.change['scoring']} (measured, MRR {number(one.gain, sign=True)})")
    said = "; ".join([", ".join(fields), *words] if fields else words)
    # What is said of a collapse alone is what most of them have in common.
    if (
        said
        and kinds
        and not first
        and not evidence.config.examined
        and any(kinds[0].kind in one.explains for one in MECHANISMS if one.cause == "no_repulsion")
    ):
        said = f"no cause is suspected; what may help: {said}"
    return page.wrapped("Do", said) if said else []


def _gain(one: Remedy) -> str:
    collection, _, of = one.reading.rpartition("/")
    ends = "" if one.low is None else f" [{number(one.low, sign=True)}, {number(one.high, sign=True)}]"
    return f"{clean(collection, length=24)} {metric(of)} {number(one.gain, sign=True)}{ends}"


def _damage(missing: Sequence[NotMeasured]) -> list[str]:
    lines = [clean(one.why, length=WIDTH - INDENT - 2) for one in missing if one.what == "an undamaged journal"]
    return labelled("Damaged", lines[:2] + ([f"and {len(lines) - 2} more faults"] if len(lines) > 2 else []))


def _of_processes(evidence: Evidence) -> str:
    """Return whose rows were read where several processes trained; nothing where there was one."""
    several = evidence.config.processes
    said = {one.name: one for one in evidence.run.of(Event) if one.subject == "processes"}
    if "merged" not in said:
        return f", on rows of the first of {several} processes" if several > 1 else ""
    since = f" to step {said['alone'].step}, then of the first" if "alone" in said else ""
    return f", on rows of {several} processes{since} (pairs: of the first)"


def measured(page: Page, findings: Sequence[Finding], missing: Sequence[NotMeasured], *, rows: str = "") -> list[str]:
    """Return how many of the kinds that apply were measured on everything that they are about, and what was not.

    Args:
        page: Where it is shown.
        findings: What was judged.
        missing: What was not measured.
        rows: Whose rows were read.
    """
    applies = [one for one in findings if one.status is not Status.NOT_APPLICABLE]
    asked = {one.code for one in applies}
    known = asked - {one.code for one in applies if one.status is Status.NOT_MEASURED}
    names = [f"{clean(one.what.replace('_', ' '))} ({clean(one.why, length=100)})" for one in missing]
    names = [one for one in names if not one.startswith("an undamaged journal")]
    ignored = dict(sorted((one.code, one.ignored) for one in findings if one.ignored))
    reasons = [code if why == ASKED else f"{code} ({clean(why, length=40)})" for code, why in ignored.items()]
    left = f" Ignored: {', '.join(reasons)}." if reasons else ""
    for shown in range(min(len(names), 3), -1, -1):
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        rest = f" Not: {', '.join(names[:shown])}{more}." if names else ""
        lines = page.wrapped("Measured", f"{len(known)} of {len(asked)}{rows}.{rest}{left}")
        if not lines[-1].endswith(" …"):
            break
    return lines


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _cost(evidence: Evidence) -> list[str]:
    """Return what share of a training's time was spent watching it; nothing where that was not measured."""
    ends = evidence.run.of(End)
    ours, seconds = (ends[-1].ours, ends[-1].seconds) if ends else (None, None)
    if not evidence.config.trains or ours is None or not seconds or not 0 <= ours <= seconds:
        return []
    if seconds < _LONG_ENOUGH:
        line = f"{ours:.1f} s of {seconds:.1f} s went into watching; so short a run says little of a long one"
        return labelled("Cost", [line])
    share = f"{100 * ours / seconds:.1f} % of the run's time ({ours:,.1f} s of {seconds:,.1f} s)"
    return labelled("Cost", [f"{share} was spent watching it"])


def labelled(label: str, lines: Sequence[str]) -> list[str]:
    return [f"{'' if at else label:<{INDENT}}{line}" for at, line in enumerate(lines)]


def _fitted(page: Page, parts: list[list[str]]) -> str:
    """Return the parts in their order, as far as there is room.

    The last curves go first, which say nearly what the others do, then the cost, who fell, and all curves.
    """
    order = (13, 10, 9, _CURVES, 5, 1, 7, 4)
    dropped: set[int] = set()
    while True:
        kept = [line.rstrip() for at, part in enumerate(parts) if at not in dropped for line in part]
        lines = [piece for line in kept for piece in page.cut(line)]
        text = "\n".join(lines)
        if (len(lines) <= page.lines(LINES) and len(text.encode()) <= BYTES) or len(dropped) == len(order):
            return text
        if len(parts[_CURVES]) > _FEWER:
            parts = [part[:_FEWER] if at == _CURVES else part for at, part in enumerate(parts)]
        else:
            dropped.add(order[len(dropped)])
