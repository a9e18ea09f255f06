"""The report of one run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..diagnosis import FindingRow, as_run
from ..errors import InputError
from ..experiments import RECORD, Ablation
from ..journal import encode_number
from ._budget import fitted
from ._drawing import draw_all
from ._facts import Facts
from ._page import PAGE, Part, write_page
from ._place import identity, write_folder
from ._render import render_template
from ._sections import SECTIONS
from ._style import can_draw
from ._text import Aside, md

REPORT = "failure_analysis.md"
FOLDED = "Configuration, command and files"


def write_report(run: Any, folder: str | os.PathLike[str] | None = None, *, figures: bool = True) -> Path:
    """Write the report of a run: ``failure_analysis.md``, the same as a page ``index.html``, figures. Can take seconds.

    Its first lines are the first screen of :func:`collapse_probe.diagnose`; ``findings.json`` has every finding. The
    page is one file that needs neither network nor script. A report of the same run is replaced; a
    file of it that somebody changed since is kept beside the new one, and a folder that holds something else is left
    alone: then ``FOLDER-2`` is written, and so on.

    Args:
        run: A run folder's path, a ``Run`` or a ``Watch``; or an ``Ablation`` or its folder, whose report is
            ``ablation.md``.
        folder: Where the report goes; None for ``reports/NAME`` with its name.
        figures: Whether figures are drawn. They need ``collapse-probe[report]``; without it the report says so.

    Returns:
        The path of the Markdown file.

    Raises:
        InputError: no such run, one that cannot be read, or a file where the folder should go.
    """
    if isinstance(run, Ablation) or (isinstance(run, str | Path) and (Path(run) / RECORD).is_file()):
        from ._ablation_report import write_ablation_report

        ablation = run if isinstance(run, Ablation) else Ablation.load(run)
        return write_ablation_report(ablation, Path("reports") / ablation.name if folder is None else Path(folder))[0]
    loaded = as_run(run)
    if folder is not None and Path(folder).is_file():
        raise InputError(f"{folder}: is a file, where the report's folder is needed; choose another name")
    facts = Facts(loaded, drawing=can_draw(), wanted=figures)
    place = Path("reports") / loaded.name if folder is None else Path(folder)
    return write_folder(place, identity(loaded), lambda built: _build(facts, built)) / REPORT


def written(facts: Facts) -> list[dict[str, Any]]:
    """Return what every section says that applies: its title, whether it is folded, and its blocks of Markdown."""
    return [
        {"title": one.title, "folded": one.folded, "blocks": blocks}
        for one in SECTIONS
        if one.applies(facts) and (blocks := [block for block in one.write(facts) if block])
    ]


def _short(section: dict[str, Any]) -> dict[str, Any]:
    """Return a section as the Markdown has it: without what only the page shows, and with a word on that."""
    blocks = [one for one in section["blocks"] if not isinstance(one, Aside)]
    more = [f"More of this is in `{PAGE}`."] if len(blocks) < len(section["blocks"]) else []
    return {**section, "blocks": [*blocks, *more]}


def _parts(facts: Facts, sections: list[dict[str, Any]]) -> list[Part]:
    """Return the sections as parts of a page."""
    parts = []
    for one in sections:
        heading = f"## {one['title']}" if one["title"] else f"# Diagnosis of {md(facts.run.name)}"
        blocks = "\n\n".join(one["blocks"])
        parts.append(Part(blocks, FOLDED, heading) if one["folded"] else Part(blocks, heading=heading))
    return parts


def _build(facts: Facts, folder: Path) -> None:
    if facts.drawing:
        (folder / "figures").mkdir()
        facts.figures = draw_all(facts, folder / "figures")
    sections = written(facts)
    context = {"run": facts.run, "sections": [_short(one) for one in sections], "folded": FOLDED}
    short = fitted(render_template("failure_analysis.md.j2", context))
    (folder / REPORT).write_text(short, encoding="utf-8")
    title = f"diagnosis of {facts.run.name}"
    write_page(folder, _parts(facts, sections), title=title, screen=facts.diagnosis.summary)
    content = [_jsonable(finding) for finding in facts.findings]
    (folder / "findings.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for section in SECTIONS:
        for name, table in section.files.items():
            text = table(facts) if section.applies(facts) else None
            if text is not None:
                (folder / name).write_text(text, encoding="utf-8")


def _jsonable(finding: FindingRow) -> dict[str, Any]:
    content = finding.as_dict()
    if finding.value is not None:
        content["value"] = encode_number(finding.value)
    return content
