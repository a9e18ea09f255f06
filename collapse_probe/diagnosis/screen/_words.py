"""Numbers, names and findings in words."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from ...journal import RunConfig
from ...journal.vocabulary import NOT_STREAMS
from .._contract import Condition, Finding, Judgement, Remedy
from ..detectors import BY_CODE
from ..detectors._temperature import contrasts

WIDTH = 100
_NAME = 32
_WORDS = ("loss", "optimizer", "model", "data")

_SOFTMAX = "in-batch softmax"
"""What a remedy calls a loss that :func:`contrasts`."""

METRICS = {"ndcg@10": "nDCG@10", "mrr": "MRR", "mrr@10": "MRR@10", "d_prime": "d'"}


def clean(text: object, *, length: int = _NAME) -> str:
    r"""Return a name that can neither break a line nor move a terminal's cursor, shortened in the middle.

    It is cut between words where one ends near the cut.

    >>> clean("a\x1b[31m\nb"), clean("encoder.layer.11/attention/output", length=24)
    ('a?[31m?b', 'encoder.…output')
    """
    shown = "".join("?" if unicodedata.category(one)[0] in "CZ" and one != " " else one for one in str(text))
    if len(shown) <= length:
        return shown
    head, tail = shown[: length // 2], shown[-(length - length // 2 - 1) :]
    before, after = re.match(r".*\W", head), re.search(r"\W", tail)
    if before and before.end() > len(head) // 2:
        head = before[0]
    if after and after.start() < len(tail) // 2:
        tail = tail[after.end() :]
    return f"{head}…{tail}"


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a number as short as it can be read.

    >>> number(0.6684), number(-0.1056, sign=True), number(3.437), number(2.2e-6), number(None), number(153.2)
    ('.668', '-.106', '3.44', '2.2e-06', 'not measured', '153')
    """
    if value is None:
        return "not measured"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("infinite" if value > 0 else "-infinite")
    plus = "+" if sign and value > 0 else ""
    if value == 0:
        return "0"
    if 5e-4 <= abs(value) < 1:
        shown = f"{value:.3f}"
        return plus + (shown.replace("0.", ".", 1) if abs(float(shown)) < 1 else f"{value:.2f}")
    if abs(value) < 5e-4 or abs(value) >= 1e5:
        return f"{plus}{value:.1e}"
    return f"{plus}{value:.3g}" if abs(value) < 1000 else f"{plus}{value:,.0f}"


def metric(name: str) -> str:
    """Return a metric as people write it."""
    return METRICS.get(name, clean(name))


def since(judgement: Judgement | None, config: RunConfig | None = None) -> str:
    """Return since when, in words; empty where that is unknown, and where one model is judged against another."""
    onset = judgement.onset if judgement else None
    if onset is None or (config is not None and len(config.examined) == 2):
        return ""
    if config is not None and (name := config.at(onset.step)):
        return f"since {clean(name)}"
    span = "" if onset.low == onset.high else f" [{onset.low:,}, {onset.high:,}]"
    return f"since step {onset.step:,}{span}"


def halving(judgement: Judgement | None) -> str:
    """Return how fast separation falls, in words; empty where that is unknown.

    >>> from collapse_probe.diagnosis import Forecast, Judgement
    >>> halving(Judgement(value=1.0, forecast=Forecast(reading="pairs/d_prime", half_life=140.2, steps=300)))
    "half-life of separation (d') 140 steps"
    """
    forecast = judgement.forecast if judgement else None
    if forecast is None:
        return ""
    name = metric(forecast.reading.rpartition("/")[2])
    return f"half-life of separation ({name}) {number(forecast.half_life)} steps"


def title(finding: Finding) -> str:
    """Return a finding's kind in words."""
    return BY_CODE[finding.code].title


def folded(findings: Sequence[Finding]) -> list[tuple[Finding, ...]]:
    """Return findings with those together that differ in their streams and numbers alone, in the order of the first."""
    groups: dict[Any, list[Finding]] = {}
    for one in findings:
        groups.setdefault(_likeness(one), []).append(one)
    return [tuple(some) for some in groups.values()]


def _likeness(finding: Finding) -> tuple[Any, ...]:
    parts = _parts(finding)
    if BY_CODE[finding.code].per != "stream" or not parts:
        return finding.code, finding.subject
    same = [
        (one.reading.removeprefix(f"{finding.subject}/"), number(one.cut), one.against, one.value is None)
        for one in parts
    ]
    return finding.code, finding.status, tuple(same)


def _parts(finding: Finding) -> list[Condition]:
    return [one for one in finding.judgement.conditions if not one.harm] if finding.judgement else []


def evidence_line(finding: Finding, *alike: Finding) -> str:
    """Return the numbers that a finding rests on, in one line, with those of the ones that are folded with it."""
    if finding.judgement is None:
        return ""
    parts = zip(*(_parts(one) for one in (finding, *alike)), strict=True)
    texts = [_part(*some) for some in parts] or [_value(finding, finding.judgement)]
    # What was seen, and not measured, is a sentence.
    texts = texts if any(texts) else [clean(one.reading, length=100) for one in _parts(finding) if one.holds]
    return "; ".join(text for text in texts if text)


def claim(finding: Finding, *alike: Finding, config: RunConfig | None = None) -> str:
    """Return what a finding says, with those that are folded with it, as a title."""
    some = (finding, *alike)
    subjects = [one.subject for one in some if one.subject]
    what = f"{title(finding)}: {named(subjects)}" if subjects else title(finding)
    when = " and ".join(dict.fromkeys(said for one in some[:2] if (said := since(one.judgement, config))))
    return f"{what[0].upper()}{what[1:]}{f', {when}' if when else ''}"


def named(names: Sequence[str]) -> str:
    """Return names as a list, the first two of many.

    >>> named(["query"]), named(["query", "document"]), named(["a", "b", "c", "d"])
    ('query', 'query, document', 'a, b and 2 more')
    """
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(clean(one) for one in names[:2]) + more


def remedies(
    findings: Sequence[Finding],
    config: RunConfig,
    *,
    first: Sequence[Remedy] = (),
    losses: Sequence[str] = (),
    pushes: bool = False,
) -> dict[str, Any]:
    """Return what to change: what helps against the cause, where one is named, else the remedies of findings.

    Fields of a recipe where the run has one, else words by what they are about; nothing that the run has already.

    Args:
        findings: What was found, the gravest first.
        config: What the run is.
        first: Remedies of the cause.
        losses: Names of the loss and its terms.
        pushes: Whether the loss pushes different texts apart, whatever its name.
    """
    has_softmax = pushes or any(contrasts(one) for one in losses)
    recipe = config.session.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    fields = set(recipe)
    one = _fitting(first, fields)
    if one is not None and (wanted := _lacking(one.change, recipe, has_softmax)):
        return wanted
    change: dict[str, Any] = {}
    for finding in findings:
        one = _fitting(_meant(finding), fields)
        for key, value in (_own_remedies(finding, config) or (one.change if one else {})).items():
            change.setdefault(key, _dated(value, finding))
    change = _lacking(change, recipe, has_softmax)
    return {key: value for key, value in change.items() if not fields or key in fields} or change


def _lacking(change: Mapping[str, Any], recipe: Mapping[str, Any], has_softmax: bool) -> dict[str, Any]:
    """Return a change without what the recipe or the loss has already."""
    return {
        key: value
        for key, value in change.items()
        if (key not in recipe or recipe[key] != value) and not (has_softmax and _SOFTMAX in str(value))
    }


def _dated(value: Any, finding: Finding) -> Any:
    """Return the words of a remedy with the onset for ``that step``."""
    onset = finding.judgement.onset if finding.judgement else None
    if onset is None or not isinstance(value, str):
        return value
    sure = onset.low >= onset.step - 1
    return value.replace("that step", f"step {onset.step:,}" if sure else f"steps {onset.low + 1:,} to {onset.step:,}")


def _before_the_loss(finding: Finding) -> bool:
    """Return whether what was not finite first is a stream, in a step before which everything was."""
    onset = finding.judgement.onset if finding.judgement else None
    known = finding.kind == "divergence" and onset is not None and onset.low >= onset.step - 1
    return known and any(one.partition("/")[0] not in NOT_STREAMS for one in finding.evidence)


def _own_remedies(finding: Finding, config: RunConfig) -> dict[str, Any]:
    """Return what the user's own declarations of a range say to do, by their probes."""
    return {
        probe: entry["remedy"]
        for probe, content in config.probes.items()
        if finding.kind == "range" and isinstance(content, Mapping)
        for entry in content.get("expected") or ()
        if isinstance(entry, Mapping) and entry.get("reading") == finding.subject and entry.get("remedy")
    }


def _meant(finding: Finding) -> list[Remedy]:
    """Return a finding's remedies, those first that are for a part that it has; none for one that it has not."""
    had = {"", *finding.evidence, *(one.reading for one in _parts(finding))}
    had |= {"STREAM"} if _before_the_loss(finding) else set()
    return sorted((one for one in BY_CODE[finding.code].remedies if one.part in had), key=lambda one: not one.part)


def _fitting(found: Sequence[Remedy], fields: set[str]) -> Remedy | None:
    own = next((one for one in found if fields & set(one.change)), None)
    return own or next((one for one in found if set(one.change) <= set(_WORDS)), None)


def _part(one: Condition, *alike: Condition) -> str:
    values = [each.value for each in (one, *alike) if each.value is not None]
    if not values:
        return ""
    streams = list(dict.fromkeys(each.reading.rpartition("/")[0] for each in (one, *alike)))
    measure = one.reading.rpartition("/")[2]
    whose = {"raw": " x the raw encoder's", "start": " x that of the start"}.get(one.against, "")
    if measure == "mrr_centred":
        return f"centring adds {_numbers(values, sign=True)} to the reciprocal rank"
    name = clean(one.reading, length=60) if len(streams) == 1 else f"{named(streams)}: {measure}"
    if measure in ("common_share", "mean_cosine"):
        name = f"{named(streams)}: 1 - {measure.replace('_', ' ')}"
    return f"{name} is {_numbers(values)}{whose} (cut {number(one.cut)})"


def _numbers(values: Sequence[float], *, sign: bool = False) -> str:
    """Return numbers in words: two as they are, more by their ends."""
    shown = list(dict.fromkeys(number(one, sign=sign) for one in values))
    if len(shown) <= 2:
        return " and ".join(shown)
    return f"{number(min(values), sign=sign)} to {number(max(values), sign=sign)}"


def _value(finding: Finding, judgement: Judgement) -> str:
    name = clean(", ".join(finding.evidence[:2]) or finding.subject, length=60)
    if finding.kind == "divergence":
        first = "; it is the model's output, before any loss" if _before_the_loss(finding) else ""
        return f"{name}: not finite in {judgement.value or 0:.0%} of the readings since then{first}"
    if finding.kind == "coverage" and judgement.value is not None:
        return f"{name} was heard; up to {1 - judgement.value:.0%} of its values are not finite"
    if finding.kind == "unfinished":
        how = "says that the run failed" if "end/failed" in finding.evidence else "has no end record"
        return f"the journal {how}; it goes to step {judgement.outside[-1] if judgement.outside else 0:,}"
    if judgement.value is None:
        return ""
    bounds = judgement.bounds
    cut = bounds.warning if bounds.warning is not None else bounds.critical
    expected = "" if cut is None else f" (cut {number(cut)})"
    if finding.kind == "range" and len(finding.evidence) == 2:
        reading, relative = (clean(one) for one in finding.evidence)
        return f"{reading} is {number(judgement.value)} x the first {relative}{expected}"
    return f"{name} is {number(judgement.value)}{expected}"
