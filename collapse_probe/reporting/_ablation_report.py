"""The report of an ablation: what each change of the configuration does, and what that says about the cause."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..diagnosis.screen import metric
from ..experiments import CONTROL, Ablation, Effect, ModuleShare, Verdict, module_shares
from ..statistics import Interval
from ._ablation_figures import PER_PANEL, forest, forest_height, learning_curves
from ._budget import fitted
from ._page import parts_of, write_page
from ._place import write_folder
from ._render import render_template
from ._style import can_draw, saved
from ._text import Table, code, interval, md, number, score

REPORT = "ablation.md"

DELTA_COLLAPSED = 0.1
"""Share of the untrained |delta| below which delta is said to have collapsed (own cut)."""


SENTENCES = 10
"""Interventions that have a sentence of their own; of more, a verdict has one."""


def write_ablation_report(ablation: Ablation, folder: Path) -> tuple[Path, list[str]]:
    """Write ``ablation.md``, the same as a page ``index.html``, and the tidy table (``cells.parquet``, ``cells.csv``).

    Args:
        ablation: The ablation.
        folder: Where the report goes; see :func:`write_folder` for what of a user's is kept.

    Returns:
        The path of the Markdown file, and the report's first lines as plain text.
    """
    found = ablation.effects
    shares = {collection: module_shares(ablation, collection) for collection in ablation.collections}
    lines = [line for name in found for line in in_short(ablation, name, found[name], shares[name])]
    place = write_folder(
        folder,
        f"ablation {ablation.name} {ablation.config['run']}",
        lambda built: _build(ablation, found, shares, lines, built),
    )
    return place / REPORT, [line.replace("**", "").replace("\\", "") for line in lines]


def in_short(ablation: Ablation, collection: str, found: Sequence[Effect], shares: Sequence[ModuleShare]) -> list[str]:
    """Return what an ablation shows on one collection, as Markdown sentences with their numbers."""
    control = _control(found)
    if control is None:
        return [f"On {md(collection)}, no control run finished, so nothing can be compared."]
    lines = []
    if control.since_start is not None:
        lines.append(
            f"On {md(collection)}, the control's {md(metric(control.metric))} changes by "
            f"{interval(control.since_start)} between step 0 and its end (n = {control.since_start.sample})."
        )
    if shares:
        parts = ", ".join(f"{md(one.module)} {_percent(one.fraction)}" for one in shares if one.module != "interaction")
        lines.append(
            "Resetting trained modules to their initial weights, without retraining, attributes that change on the "
            f"evaluated path to: {parts} (n = {shares[0].share.sample})."
        )
    compared = [one for one in found if one.against_control is not None and one.verdict is not None]
    lines += [_sentence(one) for one in compared] if len(compared) <= SENTENCES else _by_verdict(compared)
    lines += [
        f"**{md(name)}: failed.** No run of it finished{_why_failed(ablation, name)}." for name in _failed(ablation)
    ]
    return lines


def _control(found: Sequence[Effect]) -> Effect | None:
    return next((effect for effect in found if effect.intervention == CONTROL), None)


def _failed(ablation: Ablation) -> list[str]:
    names = dict.fromkeys([*ablation.interventions, *(one.intervention for one in ablation.failures)])
    return [name for name in names if name != CONTROL and not ablation.completed(name)]


def _why_failed(ablation: Ablation, name: str) -> str:
    errors = dict.fromkeys(one.error for one in ablation.failures if one.intervention == name)
    return f": {md('; '.join(errors))}" if errors else ""


def _by_verdict(compared: Sequence[Effect]) -> list[str]:
    """Return a sentence for each verdict with what it was given to: the tables have the rest of their numbers."""
    lines = []
    for verdict in Verdict:
        some = [one for one in compared if one.verdict is verdict]
        named = ", ".join(f"{md(one.intervention)} {interval(one.against_control)}" for one in some)
        if named:
            lines.append(f"**{verdict.value[:1].upper()}{verdict.value[1:]}**, against the control: {named}.")
    return lines


def _sentence(effect: Effect) -> str:
    restored = "" if math.isnan(effect.restored) else f", {_percent(effect.restored)} of the fall"
    text = (
        f"**{md(effect.intervention)}: {effect.verdict.value if effect.verdict else ''}.** "
        f"{interval(effect.against_control)} against the control{restored}"
    )
    if effect.since_start is not None:
        text += f"; since its own step 0 {md(metric(effect.metric))} changes by {interval(effect.since_start)}"
    text += "."
    if not math.isnan(effect.delta_kept):
        kept = f"{number(effect.delta_kept, digits=3)} of step 0's"
        text += f" Delta collapses all the same, to {kept}." if collapsed(effect) else f" Delta ends at {kept}."
    return text


def collapsed(effect: Effect) -> bool:
    """Return whether delta's mean size ended below a tenth of step 0's."""
    return effect.delta_kept < DELTA_COLLAPSED


def _build(
    ablation: Ablation,
    found: dict[str, list[Effect]],
    shares: dict[str, list[ModuleShare]],
    lines: Sequence[str],
    folder: Path,
) -> None:
    (folder / "figures").mkdir()
    sections = []
    for number_, (collection, of_collection) in enumerate(found.items()):
        figures = _draw(ablation, collection, of_collection, folder / "figures", number_)
        causes = _causes_table(ablation, of_collection)
        sections.append(
            {
                "name": collection,
                "metric": metric(of_collection[0].metric) if of_collection else "",
                "effects": _effects_table(ablation, of_collection, changes=not number_),
                "first": not number_,
                "measures": Table((), ()) if number_ else _measures_table(of_collection),
                "shares": _shares_table(shares[collection]),
                "causes": causes,
                "first_causes": bool(causes) and not any(one["causes"] for one in sections),
                "figures": figures,
                "claims": any(ablation.claim(name) for name in ablation.interventions),
            }
        )
    context = {"ablation": ablation, "lines": lines, "sections": sections, "header": _header(ablation)}
    written = render_template("ablation.md.j2", context)
    (folder / REPORT).write_text(fitted(written), encoding="utf-8")
    write_page(folder, parts_of(written, folded="Settings and files"), title=f"ablation {ablation.name}")
    ablation.table.to_parquet(folder / "cells.parquet", index=False)
    text = io.StringIO()
    ablation.table.to_csv(text, index=False)
    (folder / "cells.csv").write_text(text.getvalue(), encoding="utf-8")
    (folder / "effects.json").write_text(json.dumps(ablation.to_dict()["effects"], indent=1) + "\n", encoding="utf-8")


def _header(ablation: Ablation) -> list[tuple[str, str]]:
    run = ablation.cells[0].run if ablation.cells else None
    encoder, pairs = ((run.config.session.get(key) or {}) if run else {} for key in ("encoder", "pairs"))
    expected = len(ablation.config["interventions"]) * len(ablation.config["seeds"])
    founding = [
        ("Plan", md(ablation.config["plan"] or "fields given one by one")),
        ("Encoder", md(encoder.get("name", "unknown"))),
        ("Trained on", f"{pairs.get('train', 0):,} pairs from {code(Path(str(pairs.get('source', ''))).name)}"),
    ]
    return [
        ("Run", code(ablation.config["run"])),
        *(founding if encoder or pairs else []),
        ("Seeds", ", ".join(str(seed) for seed in ablation.config["seeds"])),
        ("Cells", f"{sum(c.run.status == 'completed' for c in ablation.cells)} of {expected} completed"),
        *_incomplete(ablation),
    ]


def _incomplete(ablation: Ablation) -> list[tuple[str, str]]:
    """Return the cells whose training did not come to its end: they are in no difference."""
    bad = [
        f"{md(cell.intervention)}, seed {cell.seed} ({md(cell.run.status)})"
        for cell in ablation.cells
        if cell.run.status != "completed"
    ]
    bad += [f"{md(one.intervention)}, seed {one.seed} ({md(one.error)})" for one in ablation.failures]
    return [("Not compared", "; ".join(bad))] if bad else []


def _effects_table(ablation: Ablation, found: Sequence[Effect], *, changes: bool) -> Table:
    """Return the table of one collection; what each intervention changes stands in the first alone."""
    rows = [
        [
            md(effect.intervention),
            *([_changes(ablation.changes(effect.intervention))] if changes else []),
            score(effect.score),
            interval(effect.since_start),
            interval(effect.against_control),
            "-" if effect.adjusted_p is None else f"{effect.adjusted_p:.4f}",
            "-" if math.isnan(effect.restored) else _percent(effect.restored),
            f"**{effect.verdict.value}**" if effect.verdict else "-",
            _sample(effect),
        ]
        for effect in found
    ]
    for name in _failed(ablation):
        what = [_changes(ablation.changes(name))] if changes else []
        rows.append([md(name), *what, *["-"] * 5, "**failed**", "-"])
    headers = [
        "configuration",
        *(["changes"] if changes else []),
        metric(found[0].metric) if found else "score",
        "since step 0 [95 %]",
        "vs control [95 %]",
        "p (Holm)",
        "of the fall",
        "verdict",
        "n",
    ]
    return Table(headers, rows, words=["changes", "verdict"])


def _sample(effect: Effect) -> str:
    one = effect.since_start or effect.against_control
    return "-" if one is None else one.sample


def _measures_table(found: Sequence[Effect]) -> Table:
    rows = [
        [
            md(effect.intervention),
            "-" if math.isnan(effect.delta_kept) else number(effect.delta_kept, digits=3),
            *(_factor(effect.ratios[measure]) for measure in ("correction", "scale", "rank")),
        ]
        for effect in found
        if not math.isnan(effect.delta_kept) or any(effect.ratios.values())
    ]
    headers = ["configuration", "delta, end / step 0", "correction", "scale", "rank"]
    return Table(headers, rows)


def _shares_table(shares: Sequence[ModuleShare]) -> Table:
    rows = []
    for one in shares:
        divided = ["-", "-"] if one.module == "interaction" else [interval(one.share), _percent(one.fraction)]
        rows.append([md(one.module), interval(one.alone), *divided, one.share.sample])
    return Table(["module", "trained alone [95 %]", "share, all orders [95 %]", "of the change", "n"], rows)


def _causes_table(ablation: Ablation, found: Sequence[Effect]) -> Table:
    control = _control(found)
    if control is None or control.since_start is None or not control.since_start.high < 0:
        return Table((), ())
    rows = [
        [
            md(ablation.claim(e.intervention)),
            md(e.intervention),
            interval(e.against_control),
            f"**{_decides(ablation, e)}**",
        ]
        for e in found
        if e.verdict is not None and ablation.claim(e.intervention)
    ]
    return Table(["claim", "intervention", "effect [95 %]", "verdict"], rows, words=["intervention", "verdict"])


def _decides(ablation: Ablation, effect: Effect) -> str:
    why = ablation.by_construction(effect.intervention)
    if why:
        return f"no cause: {md(why)}"
    less = ablation.trains_less(effect.intervention) and effect.verdict in (Verdict.RESTORES, Verdict.IN_PART)
    return f"{effect.cause}; it also trains less" if less else effect.cause


def _draw(
    ablation: Ablation, collection: str, found: Sequence[Effect], folder: Path, number_: int
) -> list[dict[str, str]]:
    compared = [effect for effect in found if effect.against_control is not None]
    control = _control(found)
    if not compared or control is None or not can_draw():
        return []
    fall = -control.fall.mean if control.fall is not None else None
    suffix = "" if number_ == 0 else f"-{number_ + 1}"
    n, shown = _sample(control), metric(control.metric)
    with saved(folder / f"forest{suffix}.svg", height=forest_height(compared)) as axes:
        forest(axes[0], compared, fall=fall, title=f"{collection}: n = {n}", metric=shown)
    table = ablation.table
    scored = table[(table["collection"] == collection) & (table["measure"] == control.metric)]
    raw = scored[scored["path"] == "raw"]["value"]
    curves = scored[scored["evaluated_path"]]
    names = [effect.intervention for effect in compared]
    panels = [names[i : i + PER_PANEL] for i in range(0, len(names), PER_PANEL)]
    with saved(folder / f"learning_curves{suffix}.svg", rows=len(panels), height=3.6) as axes:
        for axis, panel in zip(axes, panels, strict=True):
            learning_curves(axis, curves, [CONTROL, *panel], raw=float(raw.iloc[0]) if len(raw) else None, metric=shown)
            axis.set_title(f"{collection}: n = {n}", loc="left")
    return [
        {
            "file": f"forest{suffix}.svg",
            "caption": f"Each intervention's {shown} minus the control's, with 95 % intervals over queries and seeds.",
        },
        {
            "file": f"learning_curves{suffix}.svg",
            "caption": f"{shown} on each configuration's evaluated path: the mean over seeds, each seed thin.",
        },
    ]


def _changes(changes: dict[str, Any]) -> str:
    return ", ".join(f"{md(name)} = {md(json.dumps(value))}" for name, value in changes.items()) or "none"


def _factor(ratio: Interval | None) -> str:
    if ratio is None:
        return "-"
    if math.isnan(ratio.low):
        return f"x {number(10**ratio.value, digits=3)}"
    low, high = (number(10**value, digits=3) for value in (ratio.low, ratio.high))
    return f"x {number(10**ratio.value, digits=3)} [{low}, {high}]"


def _percent(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction + 0.0:.1f} %".replace("-0.0 %", "0.0 %")
