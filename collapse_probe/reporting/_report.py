"""The report of one run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..diagnosis import FindingRow as Finding
from ..diagnosis import collections, findings
from ..journal import Run, encode_number
from . import _attribution_tables, _limits, _prose, _score_tables, _tables
from ._gallery import Figure, caption_line, draw_all
from ._place import identity, write_folder
from ._render import render_template
from ._text import Table, code, md, number

REPORT = "failure_analysis.md"


def write_report(run: Run, folder: Path) -> Path:
    """Write ``failure_analysis.md``, its figures and ``findings.json`` into a folder.

    A report of the same run is replaced, as :func:`write_folder` says.

    Args:
        run: The run.
        folder: Where the report goes.

    Returns:
        The path of the Markdown file.
    """
    return write_folder(folder, identity(run), lambda built: _build(run, built)) / REPORT


def render(run: Run, figures: dict[str, Figure], found: Sequence[Finding]) -> str:
    """Return the report's Markdown.

    Args:
        run: The run.
        figures: Name to figure, of those that were drawn.
        found: The run's findings.
    """
    return render_template("failure_analysis.md.j2", _context(run, figures, found))


def _build(run: Run, folder: Path) -> None:
    found = findings(run)
    (folder / "figures").mkdir()
    figures = draw_all(run, folder / "figures")
    (folder / REPORT).write_text(render(run, figures, found), encoding="utf-8")
    content = [_jsonable(finding) for finding in found]
    (folder / "findings.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _context(run: Run, figures: dict[str, Figure], found: Sequence[Finding]) -> dict[str, Any]:
    recipe = run.settings.get("recipe", {})
    numbers = {name: index for index, name in enumerate(figures, start=1)}
    return {
        "run": run,
        "header": _header(run, found),
        "in_short": _prose.in_short(run, found),
        "performance": [
            (name, _score_tables.sample(run, name), _score_tables.performance(run, name)) for name in collections(run)
        ],
        "average": _score_tables.average(run),
        "groups": _score_tables.groups(run),
        "residual": _tables.residual_by_epoch(run),
        "residual_use": _tables.residual_use(run),
        "has_residual": recipe.get("predictor") == "residual",
        "losses": _tables.losses(run),
        "validation": _score_tables.validation(run),
        "embeddings": _embedding_tables(run),
        "preflight": _tables.preflight(run),
        "grafts": _attribution_tables.grafts(run),
        "deltas": _attribution_tables.deltas(run),
        "selection": _prose.selection_lines(run),
        "monitored": _tables.monitored(found),
        "reasons": _prose.reasons(found),
        "coverage": _tables.coverage(run),
        "limits": _limits.limits(run),
        "reproduce": _reproduce(run),
        "trains": bool(run.settings.get("pairs")),
        "figures": [(numbers[name], figures[name].file) for name in figures],
        "figure": lambda name: caption_line(numbers[name], figures[name]) if name in figures else "",
    }


def _header(run: Run, found: Sequence[Finding]) -> list[tuple[str, str]]:
    recipe, encoder, pairs = (run.settings.get(key) or {} for key in ("recipe", "encoder", "pairs"))
    times = [str(record["time"]) for record in run.records("start") + run.records("end")]
    day = times[0][:10] if times else "unknown"
    trained = "nothing was trained"
    if pairs:
        trained = f"{pairs['train']:,} pairs, {pairs['validation']:,} held out, from {code(pairs['source'])}"
    scored = [
        f"{md(c['name'])} {md(c['split'])} ({c['n_queries']:,} queries, {c['n_documents']:,} documents)"
        for c in run.settings.get("collections", [])
    ]
    embedded = run.settings.get("embedded") or []
    notes = [f"{md(c['name'])}: {md(note)}" for c in run.settings.get("collections", []) for note in c.get("notes", [])]
    rows = [
        ("Date", day),
        ("Recipe", f"{md(recipe.get('name', 'unknown'))}, seed {run.settings.get('seed', 'unknown')}"),
        (
            "Encoder, top layers trained" if recipe.get("unfreeze_layers") else "Encoder, frozen",
            f"{md(encoder.get('name', 'unknown'))}, D = {encoder.get('dimension', 'unknown')}{_settings(encoder)}",
        ),
        ("Trained on", trained),
        *_read_as(pairs),
        ("Scored on", "; ".join(scored) or "nothing"),
        *_chosen_by(run),
        ("Modules", _prose.modules(run)),
        (
            "Device, precision",
            f"{run.settings.get('device', 'unknown')}, {run.settings.get('precision', 'unknown')}",
        ),
        ("Watched", ", ".join(md(name) for name in run.settings.get("watch", [])) or "nothing"),
        ("Status", run.status + (f"; {run.torn} torn journal line(s) skipped" if run.torn else "")),
    ]
    rows.append(("Findings", _prose.counts(found)))
    if embedded:
        rows.append(("Embedded defaults", ", ".join(md(part) for part in embedded)))
    rows += [("Note", note) for note in [*notes, *_shared(run)]]
    return rows


def _settings(encoder: dict[str, Any]) -> str:
    """Return the settings of an encoder that are not the usual ones."""
    parts = [f"{task} prompt {code(text)}" for task, text in (encoder.get("prompts") or {}).items() if text]
    if encoder.get("routed"):
        parts.append("queries and documents by routes of their own")
    if encoder.get("truncate_dim"):
        parts.append(f"cut to {encoder['truncate_dim']} dimensions")
    if encoder.get("saved_dtype", encoder.get("dtype")) != encoder.get("dtype"):
        parts.append(f"weights of {md(encoder['saved_dtype'])} used in {md(encoder['dtype'])}")
    if encoder.get("verified") is False:
        parts.append("**unverified**: not on the machine, stored vectors taken at their word")
    return "".join(f"; {part}" for part in parts)


def _shared(run: Run) -> list[str]:
    """Return how many of the pairs' documents are in each corpus."""
    lines = []
    for collection in run.settings.get("collections", []):
        found = collection.get("trained_documents")
        if found:
            there = f"{found['equal'] + found['near']:,} of the {found['distinct']:,} documents of the pairs"
            near = f" ({found['near']:,} nearly)" if found["near"] else ""
            lines.append(f"{md(collection['name'])}: {there} are in its corpus{near}")
    return lines


def _read_as(pairs: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("Read as", md(pairs["form"]))] if pairs.get("form") else []
    rows += [("Note", f"pairs: {md(note)}") for note in pairs.get("notes") or ()]
    if pairs.get("negatives"):
        rows.append(("Note", f"pairs: {int(pairs['negatives']):,} negatives, which no recipe uses"))
    return rows


def _chosen_by(run: Run) -> list[tuple[str, str]]:
    split = run.settings.get("development")
    if not split:
        return []
    return [("Checkpoints chosen on", f"{md(split['name'])} {md(split['split'])} ({split['n_queries']:,} queries)")]


def _embedding_tables(run: Run) -> list[tuple[str, Table]]:
    tables = [
        ("Queries", _tables.embeddings(run, "query")),
        ("Documents", _tables.embeddings(run, "document")),
    ]
    return [(label, table) for label, table in tables if table]


def _reproduce(run: Run) -> list[tuple[str, str]]:
    config = run.settings
    git = config.get("git")
    rows = [
        ("Encoder weights", code(str((config.get("encoder") or {}).get("weights_sha256", "unknown")))),
        ("Pairs", code(str((config.get("pairs") or {}).get("fingerprint", "none")))),
    ]
    rows += [(md(c["name"]), code(c["fingerprint"])) for c in config.get("collections", []) if c.get("fingerprint")]
    rows.append(("Seed", str(config.get("seed", "unknown"))))
    if config.get("threads"):
        rows.append(("CPU threads", str(config["threads"])))
    rows.append(("Versions", ", ".join(f"{md(k)} {md(v)}" for k, v in (config.get("versions") or {}).items())))
    if git:
        rows.append(("Commit", code(git["commit"]) + (" with changes" if git["dirty"] else "")))
    changed = {k: v for k, v in (config.get("recipe") or {}).items() if k != "name"}
    rows.append(("Recipe", ", ".join(f"{md(k)} {_field(v)}" for k, v in changed.items())))
    return rows


def _field(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return number(float(value)) if isinstance(value, int | float) else md(value)


def _jsonable(finding: Finding) -> dict[str, Any]:
    content = finding.as_dict()
    if finding.value is not None:
        content["value"] = encode_number(finding.value)
    return content
