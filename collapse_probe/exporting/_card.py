"""A section for a model card, to be pasted by a person: the verdict, the raw encoder as row 0, intervals."""

from __future__ import annotations

import math
from typing import Any

from ..diagnosis import Diagnosis, Finding, diagnosed
from ..diagnosis.screen import evidence_line, metric, number, since, title
from ..journal import LiveRun, RunConfig
from ..reporting import Table, bullets, md
from ._names import harmless

_WORDS = {"healthy": "HEALTHY", "warning": "WARNING", "critical": "UNHEALTHY", "not measured": "NOT MEASURED"}
_FINDINGS = 10
_COLLECTIONS = 20

_TRAINED = (
    "Row 0 is the encoder before this training. Changes are from row 1, or from row 0 where there is no row 1, with "
    "95 % intervals over the queries. Read from the training's journal"
)
_EXAMINED = "Row 0 is what the model began as. Changes have 95 % intervals over the queries. Examined"


def card(run: LiveRun) -> str:
    """Return the section of a run in Markdown. Diagnoses it, which can take seconds.

    Raises:
        InputError: a declaration of the run cannot be used.
    """
    return card_of(diagnosed(run)[1], run)


def card_of(diagnosis: Diagnosis, run: LiveRun) -> str:
    """Return the section of a run that is diagnosed."""
    from .. import __version__

    table = _of_models(diagnosis, run) if run.config.examined else _table(diagnosis)
    rest = len(diagnosis.retrieval) - _COLLECTIONS
    parts = [
        "## Did training harm the embeddings?",
        f"**{_WORDS[diagnosis.status.value]}** {_what(diagnosis, run)}{_unfinished(run)}. {_first(diagnosis)}",
        table.markdown if table else "Retrieval was not measured, so there is no score of the raw encoder either.",
        f"{rest:,} more collections were scored." if rest > 0 else "",
        _delivered(diagnosis),
        bullets(_sentence(one, run.config) for one in diagnosis.kinds[:_FINDINGS]),
        f"{len(diagnosis.kinds) - _FINDINGS:,} more findings." if len(diagnosis.kinds) > _FINDINGS else "",
        _missing(diagnosis),
        f"{_EXAMINED if run.config.examined else _TRAINED} by collapse-probe {__version__}.",
    ]
    return "\n\n".join(one for one in parts if one) + "\n"


def _what(diagnosis: Diagnosis, run: LiveRun) -> str:
    models = run.config.examined
    if not models:
        return f"after {diagnosis.steps:,} steps"
    return f"{md(_text(models[-1].name))} against {md(_text(models[0].name))}"


def _unfinished(run: LiveRun) -> str:
    return "" if run.status == "completed" else f" ({run.status})"


def _first(diagnosis: Diagnosis) -> str:
    if not diagnosis.kinds:
        return "No finding is raised." if diagnosis.status.value == "healthy" else "Too little was measured to say."
    names = dict.fromkeys(title(one) for one in diagnosis.kinds[:3])
    said = ", then ".join(md(one) for one in names)
    return f"{said[0].upper()}{said[1:]}."


def _table(diagnosis: Diagnosis) -> Table:
    rows = []
    for one in diagnosis.retrieval[:_COLLECTIONS]:
        name, n = md(_text(one["collection"])), "-" if one["n"] is None else f"{one['n']:,}"
        about = [name, md(metric(one["metric"])), n]
        rows.append(["0", "raw encoder", *about, _score(one["raw"]), "-"])
        if one["start"] is not None:
            rows.append(["1", "step 0", *about, _score(one["start"]), "-"])
        rows.append(["2", "trained", *about, _score(one["end"]), _change(one["change"])])
    headers = ["row", "model", "collection", "metric", "n", "score", "change"]
    return Table(headers, rows, words=("model", "collection", "metric"))


def _score(value: float | None) -> str:
    return number(value)


def _of_models(diagnosis: Diagnosis, run: LiveRun) -> Table:
    """Return the scores of the first and of the last of finished models."""
    first, last = (md(_text(one.name)) for one in (run.config.examined[0], run.config.examined[-1]))
    rows = []
    for one in diagnosis.retrieval[:_COLLECTIONS]:
        name, n = md(_text(one["collection"])), "-" if one["n"] is None else f"{one['n']:,}"
        about = [name, md(metric(one["metric"])), n]
        rows.append(["0", first, *about, _score(one["start"]), "-"])
        rows.append(["1", last, *about, _score(one["end"]), _change(one["change"])])
    headers = ["row", "model", "collection", "metric", "n", "score", "change"]
    return Table(headers, rows, words=("model", "collection", "metric"))


def _change(change: dict[str, Any] | None) -> str:
    if change is None or change["value"] is None:
        return "-"
    shown, low, high = number(change["value"], sign=True), change["low"], change["high"]
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return shown
    return f"{shown} [{number(low, sign=True)}, {number(high, sign=True)}]"


def _sentence(finding: Finding, config: RunConfig) -> str:
    of = f" of {md(_text(finding.subject))}" if finding.subject else ""
    when = since(finding.judgement, config)
    numbers = md(harmless(evidence_line(finding)))
    said = f"{finding.status.value}: {md(title(finding))}{of}{f' {when}' if when else ''} ({finding.code})"
    return f"{said}. {numbers}" if numbers else said


def _delivered(diagnosis: Diagnosis) -> str:
    """Return whose weights the training left, where the scores of the last row are of others."""
    said = (diagnosis.delivered or {}).get("said", "")
    return f"{md(harmless(said[0].upper() + said[1:], length=240))}." if said else ""


def _missing(diagnosis: Diagnosis) -> str:
    names = [md(_text(one.what.replace("_", " "))) for one in diagnosis.not_measured]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"Not measured: {', '.join(names[:8])}{more}." if names else ""


def _text(name: str) -> str:
    return harmless(name, length=80)
