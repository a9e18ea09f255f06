"""Which module holds the change: modules put back to step 0, in every mixture."""

from __future__ import annotations

import math

from ...diagnosis import Attribution, attribution, collections, evaluated_path, last_trained
from ...journal import Counterfactual
from .._facts import Facts, Section
from .._moments import variant
from .._text import Aside, Table, bullets, interval, md


def _applies(facts: Facts) -> bool:
    return any(one.family == "graft" for one in facts.run.of(Counterfactual))


def _write(facts: Facts) -> list[str]:
    blocks = [bullets(_sentences(facts))]
    for collection in collections(facts.run):
        for path in ("no_predictor", "predictor"):
            found = attribution(facts.run, collection, path)
            if found is not None:
                title = f"### {md(collection)}, {variant(path)}, epoch {found.epoch}"
                # The other path is not the one that is judged.
                judged = path == evaluated_path(facts.run)
                blocks += [one if judged else Aside(one) for one in (title, _table(found).markdown)]
    note = (
        "Each trained module with its weights of step 0 or of now, in every mixture, without retraining. Trained "
        "alone: all others at step 0. Put back: all others as now. Single effects and interaction add up to the "
        "whole change; so do the shares, which average over all orders."
    )
    return [*blocks, note]


def _sentences(facts: Facts) -> list[str]:
    """Return which module holds the change on the evaluated path, where it was put back to step 0."""
    lines = []
    for collection, path, epoch in last_trained(facts.run):
        found = attribution(facts.run, collection, path, epoch)
        if found is None or not found.total.resolved:
            continue
        parts = ", ".join(
            f"{md(effect.module)} {_share(found, effect.module)} ({interval(effect.share)})" for effect in found.effects
        )
        lines.append(
            f"On {md(collection)}, resetting trained modules to their initial weights, without retraining, attributes "
            f"the change of nDCG@10 since step 0, {interval(found.total)}, on the evaluated path to: **{parts}** "
            f"(n = {found.total.n:,} queries)."
        )
    return lines


def _share(found: Attribution, module: str) -> str:
    """Return a module's share of the whole change in percent."""
    fraction = found.fraction(module)
    return "-" if math.isnan(fraction) else f"{100 * fraction:.1f} %".replace("-0.0 %", "0.0 %")


def _table(found: Attribution) -> Table:
    rows = [
        [
            md(effect.module),
            interval(effect.alone),
            interval(effect.put_back),
            interval(effect.share),
            _share(found, effect.module),
            f"{found.total.n:,}",
        ]
        for effect in found.effects
    ]
    n = f"{found.total.n:,}"
    rows.append(["interaction", interval(found.interaction), "-", "-", "-", n])
    rows.append(["whole change since step 0", interval(found.total), "-", interval(found.total), "100 %", n])
    headers = ["module", "trained alone [95 %]", "put back [95 %]", "share, all orders [95 %]", "of it", "n queries"]
    return Table(headers, rows)


ATTRIBUTION = Section(title="Which module holds the change", applies=_applies, write=_write)
