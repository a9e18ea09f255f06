"""What an ablation decided, kept beside the runs that it is about, so that their diagnosis says it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..diagnosis import VERDICTS, Decision
from ..journal import Run, atomic_write_text
from ._effects import Effect, effects
from ._results import Ablation

SCHEMA = 1


def decisions(ablation: Ablation) -> list[Decision]:
    """Return what every intervention did on every collection, the control left out."""
    return [
        decision
        for collection in ablation.collections
        for effect in effects(ablation, collection)
        if (decision := _decision(ablation, effect)) is not None
    ]


def write_verdicts(ablation: Ablation, *runs: Run) -> Path:
    """Write ``verdicts.json`` into an ablation's folder and beside runs that have its control's configuration.

    Each file is written at once. What other ablations of a run decided stays. Journals are not touched.

    Args:
        ablation: The ablation.
        runs: The run that is ablated, the control's cells.

    Returns:
        The file in the ablation's folder.
    """
    entry = {
        "name": ablation.name,
        "folder": str(ablation.folder),
        "effects": [_plain(asdict(one)) for one in decisions(ablation)],
    }
    path = ablation.folder / VERDICTS
    _write(path, str(ablation.config["run"]), [entry])
    for run in runs:
        beside = run.folder / VERDICTS
        kept = [one for one in _others(beside, run.identity) if one.get("name") != ablation.name]
        _write(beside, run.identity, [*kept, entry])
    return path


def _write(path: Path, run: str, entries: list[dict[str, Any]]) -> None:
    content = {"schema": SCHEMA, "run": run, "ablations": entries}
    atomic_write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _others(path: Path, run: str) -> list[dict[str, Any]]:
    """Return what a run's file holds; nothing of a file that is another run's, or that cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        same = content["schema"] == SCHEMA and content["run"] == run
        return [one for one in content["ablations"] if isinstance(one, dict)] if same else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _decision(ablation: Ablation, effect: Effect) -> Decision | None:
    found = effect.against_control
    if found is None or effect.verdict is None:
        return None
    name = effect.intervention
    return Decision(
        intervention=name,
        changes=ablation.changes(name),
        tests=ablation.tests(name),
        by_construction=ablation.by_construction(name),
        trains_less=ablation.trains_less(name),
        collection=effect.collection,
        domain=effect.domain,
        metric=effect.metric,
        effect=effect.verdict.value,
        change=found.mean,
        low=found.low,
        high=found.high,
        p=effect.adjusted_p,
        fall=None if effect.fall is None else effect.fall.mean,
        restored=effect.restored,
        seeds=found.n_seeds,
        queries=found.n_queries,
    )


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(one, float) and not math.isfinite(one) else one for key, one in entry.items()}
