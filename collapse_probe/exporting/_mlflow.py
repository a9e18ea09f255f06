"""MLflow, by its client."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._described import Described
from ._export import Unreachable, Written

_KEY, _CONTENT = "collapse_probe.run", "collapse_probe.content"
_BATCH = 1000
_TAG = 5000


def writer(to: str) -> Callable[[Described, str | None, str], Written]:
    """Return what writes a run of an experiment.

    Raises:
        ModuleNotFoundError: mlflow is not installed.
    """
    import mlflow  # noqa: F401

    return _write


def _write(run: Described, into: str | None, project: str) -> Written:
    from mlflow.exceptions import MlflowException

    with _impatient():
        try:
            return _log(run, into, project)
        except MlflowException as error:
            said = " ".join(str(error).split())[:300]
            raise Unreachable(f"mlflow could not write {into or 'where it is set to'} ({said})") from error


def _log(run: Described, into: str | None, project: str) -> Written:
    from mlflow.entities import Metric, RunTag
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=_uri(into))
    experiment = _experiment(client, project, into)
    older = client.search_runs([experiment], filter_string=f"tags.`{_KEY}` = '{run.key}'")
    where = f"{client.tracking_uri} experiment {project}, run "
    for one in older:
        if one.data.tags.get(_CONTENT) == run.content:
            return Written(where=where + one.info.run_id, fresh=False)
    began = int(run.times.began * 1000)
    made = client.create_run(experiment, start_time=began, run_name=run.name, tags={_KEY: run.key}).info.run_id
    points = [
        Metric(line.name, value, int(time * 1000), step)
        for line in run.lines
        for step, value, time in zip(line.steps.tolist(), line.values.tolist(), line.times.tolist(), strict=True)
    ]
    for at in range(0, len(points), _BATCH):
        client.log_batch(made, metrics=points[at : at + _BATCH])
    for name, text in _tags(run).items():
        client.log_batch(made, tags=[RunTag(name, text[:_TAG])])
    client.set_terminated(made, "FINISHED" if run.ended else "KILLED", int(run.times.ended * 1000))
    # Written last: a run without it is the rest of an export that was broken off.
    client.set_tag(made, _CONTENT, run.content)
    for one in older:
        client.delete_run(one.info.run_id)
    infinite = any(math.isinf(one.value) for one in points)
    notes = ["MLflow keeps an infinite number as the largest finite one"] if infinite else []
    if not run.times.began:
        notes.append("the journal has no times")
    return Written(where=where + made, notes=notes)


def _tags(run: Described) -> dict[str, str]:
    """Return verdict and findings, a tag each: MLflow has no alerts."""
    found = {f"collapse_probe.finding.{one.code}": "" for one in run.alerts}
    for one in run.alerts:
        found[f"collapse_probe.finding.{one.code}"] += f"{one.title}. {one.text}\n"
    return {**found, "collapse_probe.verdict": run.status, "mlflow.note.content": run.card}


def _uri(into: str | None) -> str | None:
    if into is None or "://" in into or into in ("databricks", "uc"):
        return into
    Path(into).mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(Path(into) / 'mlflow.db').resolve()}"


def _experiment(client: Any, name: str, into: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise Unreachable(f"mlflow experiment {name} is deleted; restore it, or give another project")
        return found.experiment_id
    own = into is not None and "://" not in into
    return client.create_experiment(
        name, artifact_location=(Path(into) / "artifacts").resolve().as_uri() if own else None
    )


@contextmanager
def _impatient() -> Iterator[None]:
    """Let a server that is not there be said within seconds, unless the user says how long to try."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
