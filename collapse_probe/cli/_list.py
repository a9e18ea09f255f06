"""``collapse-probe list``."""

from __future__ import annotations

import click

_KINDS = ("recipes", "probes", "measures", "detectors", "forms")


@click.command("list", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("kind", type=click.Choice(_KINDS), required=False, metavar="[KIND]")
def command(kind: str | None) -> int:
    """List one KIND: recipes, probes, measures, detectors, or forms of inputs; everything where none is given."""
    listings = {"recipes": _recipes, "probes": _probes, "measures": _measures, "detectors": _detectors, "forms": _forms}
    for name in _KINDS if kind is None else (kind,):
        if kind is None:
            click.secho(name, bold=True)
        rows = listings[name]()
        width = max(len(row[0]) for row in rows)
        for label, text in rows:
            click.echo(f"  {label:<{width}}  {text}")
    return 0


def _recipes() -> list[tuple[str, str]]:
    from ..respred import RECIPES

    rows = []
    for name, entry in RECIPES.items():
        changes = ", ".join(f"{field}={value}" for field, value in entry.changes.items())
        origin = entry.origin if entry.origin == "beyond it" else f"founding document: {entry.origin}"
        rows.append((name, f"{entry.summary} [{origin}]"))
        if changes:
            rows.append(("", f"  respred with {changes}"))
    return rows


def _probes() -> list[tuple[str, str]]:
    from ..recording import available_probes, load_probe

    return [(name, f"{load_probe(name).summary} [{origin}]") for name, origin in available_probes().items()]


def _detectors() -> list[tuple[str, str]]:
    from ..diagnosis import AUDITS, DETECTORS

    codes = {one.code for one in DETECTORS}
    before = [(one, " before training,") for one in AUDITS if one.code not in codes]
    found = [*before, *((one, "") for one in DETECTORS)]
    return [(one.code, f"{one.kind}:{when} {one.title} [{', '.join(one.reads)}]") for one, when in found]


def _forms() -> list[tuple[str, str]]:
    from ..retrieval import FORMS

    kinds = {"rows": "rows", "pairs": "pairs", "collection": "collection", "nothing": "refused"}
    rows = [(form.name, f"{form.looks}{f': {form.instead}' if form.instead else ''}", form.holds) for form in FORMS]
    return [(name, f"[{kinds[holds]}] {text}") for name, text, holds in rows]


def _measures() -> list[tuple[str, str]]:
    from ..journal.vocabulary import FORCES, MEASURES, split_reading
    from ..recording import usual_readings

    blind = {True: " [scale-blind]", False: ""}
    usual = [
        (name, f"{about}{blind[MEASURES[split_reading(name)[1]].scale_blind]}") for name, about in usual_readings()
    ]
    return [*usual, *((name, f"{about}{blind[True]}") for name, about in FORCES.items())]
