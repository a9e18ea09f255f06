"""The tables of retrieval scores, from a run."""

from __future__ import annotations

from typing import Any

from ..diagnosis import HEADLINE, collections, difference, epochs, evaluated_path, evaluation_records
from ..journal import Run
from ._tables import LOSS_TERMS, by_epoch, value_of
from ._text import Table, interval, md, number, percent, score

METRIC_LABELS = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "map@100": "MAP@100", "recall@100": "Recall@100"}
PATH_LABELS = {"raw": "raw encoder", "no_predictor": "without predictor", "predictor": "with predictor"}


def performance(run: Run, collection: str) -> Table:
    """Return every evaluation of one collection, with paired differences against raw encoder and step 0."""
    records = evaluation_records(run)
    raw = records.get((collection, "raw", 0))
    metrics = list(dict.fromkeys(m for (c, _, _), r in records.items() if c == collection for m in r["metrics"]))
    rows = []
    for path, epoch in _scored(run, collection):
        record = records[(collection, path, epoch)]
        value = float(record["metrics"][HEADLINE])
        base = float(raw["metrics"][HEADLINE]) if raw else None
        rows.append(
            [
                _model(path, epoch),
                *(score(_metric(record, metric)) for metric in metrics),
                percent((value - base) / base) if base and path != "raw" else "-",
                interval(difference(run, collection, ("raw", 0), (path, epoch))) if path != "raw" else "-",
                interval(difference(run, collection, (path, 0), (path, epoch))) if epoch > 0 else "-",
                number(float(record["tied_share"])),
                str(record["n_queries"]),
            ]
        )
    labels = [METRIC_LABELS.get(metric, metric) for metric in metrics]
    headers = ["model", *labels, "vs raw", "vs raw [95 %]", "vs step 0 [95 %]", "tied", "n queries"]
    return Table(headers, rows)


def average(run: Run) -> Table:
    """Return nDCG@10 averaged over the collections, where there are several, as the founding document does."""
    names = collections(run)
    return _average(run, names, _units(run)) if len(_units(run)) > 1 else Table((), ())


def groups(run: Run) -> list[tuple[str, Table]]:
    """Return nDCG@10 averaged over the parts of each collection that comes in parts, as BEIR averages cqadupstack."""
    found = [(name, members) for name, members in _units(run).items() if len(members) > 1]
    return [(name, _average(run, members, {member: [member] for member in members})) for name, members in found]


def _units(run: Run) -> dict[str, list[str]]:
    """Return what is averaged over, with its collections: each collection, but the parts of one together."""
    units: dict[str, list[str]] = {}
    for (label, _, _), record in evaluation_records(run).items():
        members = units.setdefault(record.get("group") or label, [])
        if label not in members:
            members.append(label)
    return units


def _average(run: Run, names: list[str], units: dict[str, list[str]]) -> Table:
    records = evaluation_records(run)
    rows = []
    base: float | None = None
    for path, epoch in _scored(run, names[0]):
        found = [records.get((name, path, epoch)) for name in names]
        if any(record is None for record in found):
            continue
        score_of = {n: float(r["metrics"][HEADLINE]) for n, r in zip(names, found, strict=True) if r is not None}
        mean = sum(sum(score_of[n] for n in unit) / len(unit) for unit in units.values()) / len(units)
        base = mean if path == "raw" else base
        change = percent((mean - base) / base) if base and path != "raw" else "-"
        queries = sum(int(r["n_queries"]) for r in found if r is not None)
        rows.append([_model(path, epoch), score(mean), change, str(len(units)), str(queries)])
    return Table(["model", "average nDCG@10", "vs raw", "n collections", "n queries"], rows)


def validation(run: Run) -> Table:
    """Return validation loss, its shares, and nDCG@10 by epoch."""
    totals = by_epoch(run, "validation/total")
    terms = [term for term in LOSS_TERMS if len(run.readings(f"validation/{term}"))]
    weights = run.settings.get("recipe", {})
    path = evaluated_path(run)
    records = evaluation_records(run)
    names = collections(run)
    rows = []
    for epoch, total in totals.items():
        value = value_of(total)
        shares = []
        for term in terms:
            raw = value_of(by_epoch(run, f"validation/{term}").get(epoch))
            weight = float(weights.get(f"lambda_{term}", 0.0))
            shares.append("-" if raw is None or not value else f"{100 * weight * raw / value:.1f} %")
        scores = [records.get((name, path, epoch)) for name in names]
        cells = [score(None if r is None else float(r["metrics"][HEADLINE])) for r in scores]
        rows.append([str(epoch), number(value), *shares, *cells, str(int(total["n"]))])
    headers = ["epoch", "validation loss", *(f"{term} share" for term in terms)]
    counted = [f"{md(name)} nDCG@10 (n = {queries(run, name):,} queries)" for name in names]
    return Table([*headers, *counted, "n pairs"], rows)


def queries(run: Run, collection: str) -> int:
    """Return how many queries a collection was scored on."""
    return next(int(r["n_queries"]) for (name, _, _), r in evaluation_records(run).items() if name == collection)


def sample(run: Run, collection: str) -> str:
    """Return what a collection's scores rest on, as a sentence."""
    record = next(r for (name, _, _), r in evaluation_records(run).items() if name == collection)
    documents = f"{int(record['n_documents']):,} documents"
    found = [r for (name, _, _), r in evaluation_records(run).items() if name == collection]
    taken = " **Unverified**: stored vectors were used without their encoder." if _any_unverified(found) else ""
    return f"n = {queries(run, collection):,} queries over {documents}, scored by {md(record['similarity'])}.{taken}"


def _any_unverified(records: list[dict[str, Any]]) -> bool:
    return any(record.get("verified") is False for record in records)


def _scored(run: Run, collection: str) -> list[tuple[str, int]]:
    raw = [("raw", 0)] if ("raw", 0) in {(p, e) for c, p, e in evaluation_records(run) if c == collection} else []
    trained = [
        (path, epoch)
        for epoch in epochs(run, collection, "no_predictor")
        for path in ("no_predictor", "predictor")
        if (collection, path, epoch) in evaluation_records(run)
    ]
    return [*raw, *trained]


def _model(path: str, epoch: int) -> str:
    if path == "raw":
        return "raw encoder"
    return f"{'step 0' if epoch == 0 else f'epoch {epoch}'}, {PATH_LABELS[path]}"


def _metric(record: dict[str, Any], metric: str) -> float | None:
    value = record["metrics"].get(metric)
    return None if value is None else float(value)
