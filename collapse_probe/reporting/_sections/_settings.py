"""What the run was, how to repeat it, and which files belong to the report: folded, at the end."""

from __future__ import annotations

from typing import Any

from ...journal import End, Event, RunConfig, Start
from .._facts import Facts, Section
from .._text import code, fenced, md, number, one_line

Rows = list[tuple[str, str]]


def _write(facts: Facts) -> list[str]:
    command = one_line(facts.run.config.command, most=4000)
    rows = [*(_founding(facts) if facts.founding else _foreign(facts)), *_reproduce(facts)]
    return [
        "\n".join(["| | |", "| --- | --- |", *(f"| {label} | {value} |" for label, value in rows if value)]),
        fenced(command) if command else "",
        "`findings.json` has every finding with its evidence, at full precision.",
    ]


def _foreign(facts: Facts) -> Rows:
    """Return what is known of a run that was watched; what was not recorded has no row."""
    config, session = facts.run.config, facts.run.config.session
    trained = [one.name for one in config.modules if one.trained]
    optimizers = session.get("optimizers")
    read = any(on == "reference" for _, on, _ in facts.run.keys)
    reference = config.reference if read else None
    rows = [
        ("Date", _day(facts)),
        ("Trainer", md(session.get("trainer") or "")),
        ("Loss", ", ".join(md(one) for one in session.get("losses") or ())),
        ("Optimiser", "; ".join(_optimizer(one) for one in optimizers) if isinstance(optimizers, list) else ""),
        ("Similarity", _similarity(facts)),
        ("Trained modules", _some([md(one) for one in trained])),
        ("Scored through", _some([md(one.name) for one in facts.run.modules if one.scored])),
        ("Streams", _some([md(one.name) for one in facts.evidence.streams])),
        ("Training examples", "" if config.examples is None else f"{config.examples:,}"),
        (
            "Reference pairs",
            "" if reference is None else md(reference.source) + ("" if not reference.n else f", {reference.n:,} pairs"),
        ),
        ("Scored on", _some([md(one) for one in facts.evidence.evaluations.collections])),
        ("Steps", f"{facts.run.steps:,}"),
        ("Device, precision", ", ".join(md(one) for one in (config.device, config.precision) if one)),
        ("Seed", "" if config.seed is None else str(config.seed)),
        ("Status", md(facts.run.status)),
        *_delivered(facts),
        *(("Note", md(one.message)) for one in facts.run.of(Event) if one.name == "note" and one.message),
    ]
    return rows[:30]


def _delivered(facts: Facts) -> Rows:
    found = facts.diagnosis.delivered
    return [] if found is None else [("Delivered", md(found["said"]))]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more


def _similarity(facts: Facts) -> str:
    scored, trained = facts.run.config.similarity, facts.run.config.trained_by
    return md(scored or "") + (f"; trained by {md(trained)}" if trained and trained != scored else "")


def _optimizer(one: Any) -> str:
    if not isinstance(one, dict):
        return ""
    rates = [group.get("lr") for group in one.get("groups") or () if isinstance(group, dict)]
    known = [number(float(rate)) for rate in rates if isinstance(rate, int | float)]
    name = md(str(one.get("class", "")).rpartition(".")[2])
    return f"{name}, rate {', '.join(dict.fromkeys(known))}" if known else name


def _day(facts: Facts) -> str:
    times = [one.time for one in (*facts.run.of(Start), *facts.run.of(End)) if one.time]
    return md(times[0][:10]) if times else ""


def _founding(facts: Facts) -> Rows:
    recipe, encoder, pairs = (facts.part(key) for key in ("recipe", "encoder", "pairs"))
    config, session = facts.run.config, facts.run.config.session
    trained = ""
    if pairs:
        trained = f"{pairs['train']:,} pairs, {pairs['validation']:,} held out, from {code(pairs['source'])}"
    scored = [
        f"{md(one.name)} {md(one.split)} ({_count(one.n_queries)} queries, {_count(one.n_documents)} documents)"
        for one in config.collections
    ]
    notes = [f"{md(one.name)}: {md(note)}" for one in config.collections for note in one.notes]
    name = md(recipe["name"]) if recipe.get("name") else "not recorded"
    seed = "" if config.seed is None else f", seed {config.seed}"
    kind = "Encoder, top layers trained" if recipe.get("unfreeze_layers") else "Encoder, frozen"
    size = f", D = {encoder['dimension']}" if encoder.get("dimension") else ""
    return [
        ("Date", _day(facts)),
        ("Recipe", f"{name}{seed}"),
        (kind, f"{md(encoder['name'])}{size}{_encoder_settings(encoder)}" if encoder.get("name") else ""),
        ("Trained on", trained or "nothing"),
        *_read_as(pairs),
        ("Scored on", "; ".join(scored) or "nothing"),
        *_chosen_by(config),
        ("Modules", _modules(facts)),
        ("Device, precision", ", ".join(md(one) for one in (config.device, config.precision) if one)),
        ("Watched", ", ".join(md(name) for name in session.get("watch") or ()) or "nothing"),
        ("Status", facts.run.status),
        *_delivered(facts),
        ("Embedded defaults", ", ".join(md(part) for part in session.get("embedded") or ())),
        *(("Note", note) for note in [*notes, *_shared(config)]),
    ]


def _encoder_settings(encoder: dict[str, Any]) -> str:
    """Return the settings of an encoder that are not the usual ones."""
    parts = [f"{task} prompt {code(text)}" for task, text in (encoder.get("prompts") or {}).items() if text]
    if encoder.get("routed"):
        parts.append("queries and documents by separate routes")
    if encoder.get("truncate_dim"):
        parts.append(f"cut to {encoder['truncate_dim']} dimensions")
    if encoder.get("saved_dtype", encoder.get("dtype")) != encoder.get("dtype"):
        parts.append(f"weights of {md(encoder['saved_dtype'])} used in {md(encoder['dtype'])}")
    if encoder.get("verified") is False:
        parts.append("**unverified**: not on the machine, stored vectors taken at their word")
    return "".join(f"; {part}" for part in parts)


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _shared(config: RunConfig) -> list[str]:
    """Return how many of the pairs' documents are in each corpus."""
    lines = []
    for collection in config.collections:
        found = collection.trained_documents
        if found:
            there = f"{found['equal'] + found['near']:,} of the {found['distinct']:,} documents of the pairs"
            near = f" ({found['near']:,} nearly)" if found["near"] else ""
            lines.append(f"{md(collection.name)}: {there} are in its corpus{near}")
    return lines


def _read_as(pairs: dict[str, Any]) -> Rows:
    rows = [("Read as", md(pairs["form"]))] if pairs.get("form") else []
    rows += [("Note", f"pairs: {md(note)}") for note in pairs.get("notes") or ()]
    if pairs.get("negatives"):
        rows.append(("Note", f"pairs: {int(pairs['negatives']):,} negatives, which no recipe uses"))
    return rows


def _chosen_by(config: RunConfig) -> Rows:
    split = config.development
    if split is None:
        return []
    return [("Checkpoints chosen on", f"{md(split.name)} {md(split.split)} ({_count(split.n_queries)} queries)")]


def _modules(facts: Facts) -> str:
    """Return what stands on the encoder: trained or not, and whether the evaluated score goes through it."""
    parts = []
    for module in facts.run.modules:
        trained = "trained" if module.trained else "frozen"
        where = {True: ", on the evaluated path", False: ", not on the evaluated path", None: ""}[module.scored]
        parts.append(f"{md(module.name)} ({trained}{where})")
    return "; ".join(parts)


def _reproduce(facts: Facts) -> Rows:
    config = facts.run.config
    git = facts.part("git")
    weights, pairs = facts.part("encoder").get("weights_sha256"), facts.part("pairs").get("fingerprint")
    rows = [("Encoder weights", code(str(weights))) if weights else ("", "")]
    rows.append(("Pairs", code(str(pairs))) if pairs else ("", ""))
    rows += [(md(one.name), code(one.fingerprint)) for one in config.collections if one.fingerprint]
    if config.threads:
        rows.append(("CPU threads", str(config.threads)))
    rows.append(("Versions", ", ".join(f"{md(k)} {md(v)}" for k, v in config.versions.items())))
    if git:
        rows.append(("Commit", code(git["commit"]) + (" with changes" if git["dirty"] else "")))
    changed = {k: v for k, v in facts.recipe.items() if k != "name"}
    rows.append(("Recipe fields", ", ".join(f"{md(k)} {_field(v)}" for k, v in changed.items())))
    return rows


def _field(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return number(float(value)) if isinstance(value, int | float) else md(value)


SETTINGS = Section(title="Settings and reproduction", applies=lambda facts: True, write=_write, folded=True)
