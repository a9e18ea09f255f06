"""The report of an ablation."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from ablation_support import RECIPE, over

from collapse_probe.experiments import CONTROL, Ablation, Verdict, effects
from collapse_probe.reporting import write_ablation_report
from collapse_probe.reporting._ablation_figures import forest, forest_height
from collapse_probe.reporting._ablation_report import _causes_table
from collapse_probe.reporting._style import saved
from collapse_probe.respred._plans import plan


def test_the_report_has_its_tables_and_figures(ablation, tmp_path):
    report, lines = write_ablation_report(Ablation.load(ablation), tmp_path / "report")
    text = report.read_text()
    assert "### Which module holds the change" in text
    assert "The control did not fall by more than noise: there is nothing to explain." in text
    for name in ("forest.svg", "learning_curves.svg"):
        assert f"(figures/{name})" in text
        assert (report.parent / "figures" / name).stat().st_size > 5_000
    assert (report.parent / "cells.parquet").is_file()
    csv, parquet = (pd.read_csv(report.parent / "cells.csv"), pd.read_parquet(report.parent / "cells.parquet"))
    assert len(csv) == len(parquet) == len(Ablation.load(ablation).table)
    content = json.loads((report.parent / "effects.json").read_text())
    assert {entry["intervention"] for entry in content} == {"control", *(one.name for one in plan("causes", RECIPE))}
    assert any("projection frozen" in line for line in lines)
    assert not any("**" in line for line in lines)


@pytest.mark.parametrize("rows", [1, 5, 12])
@pytest.mark.parametrize("name", ["tanh=off", "alpha=0.1, lambda_residual=0.01, tanh=off, residual_reduction=mean"])
def test_nothing_of_the_forest_plot_is_cut_off(ablation, tmp_path, rows, name):
    one = next(e for e in effects(Ablation.load(ablation), "toy") if e.against_control is not None)
    found = [replace(one, intervention=name)] * rows
    with saved(tmp_path / "forest.svg", height=forest_height(found)) as axes:
        forest(axes[0], found, fall=0.1, title="toy", metric="nDCG@10")
        figure = axes[0].figure
        figure.canvas.draw()
        parts = [axes[0].title, axes[0].xaxis.label, *axes[0].get_yticklabels(), *figure.legends, axes[0].get_legend()]
        boxes = [part.get_window_extent() for part in parts if part is not None]
        assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)
        assert all(box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)


@pytest.mark.usefixtures("unrendered")
def test_an_unfinished_ablation_can_be_read(ablation, tmp_path):
    shutil.copytree(ablation, tmp_path / "part")
    for path in (tmp_path / "part" / "cells").iterdir():
        if not path.name.startswith("projection-frozen"):
            shutil.rmtree(path)
    part = Ablation.load(tmp_path / "part")
    assert part.interventions == ["projection frozen"]
    (effect,) = effects(part, "toy")
    assert effect.against_control is None and effect.verdict is None
    report, lines = write_ablation_report(part, tmp_path / "report")
    assert "no control run finished" in lines[0]
    assert report.is_file()


@pytest.mark.usefixtures("unrendered")
def test_an_ablation_of_many_interventions_fits(ablation, tmp_path, monkeypatch):
    """Bug: nineteen interventions on three collections made 35 kB, with every number of the tables in sentences too."""
    loaded = Ablation.load(ablation)
    few = len(effects(loaded, "toy"))
    monkeypatch.setattr(Ablation, "effects", {"toy": effects(loaded, "toy") * 12})
    report, lines = write_ablation_report(loaded, tmp_path / "report")
    text, page = report.read_text(), report.with_name("index.html").read_text()
    assert len(text.encode()) <= 30_000
    assert len(lines) <= 10 and sum(line.count("projection frozen [") for line in lines) <= 12
    assert sum(line.count("projection frozen ") for line in lines) == 12, "each is in the line of its verdict"
    (rest,) = set(re.findall(r"^([\d,]+) more rows, before the last, are in `index.html`\.$", text, re.MULTILINE))
    assert 0 < int(rest) <= 12 * few and page.count("<tr>") > text.count("\n| ") + 50


def test_causes_are_judged_where_the_control_fell(ablation):
    loaded = Ablation.load(ablation)
    for seeds, word in ((3, "supported; to confirm it, run 5 seeds"), (5, "confirmed")):
        found = [
            replace(effect, since_start=over(seeds, -0.1))
            if effect.intervention == CONTROL
            else replace(effect, verdict=Verdict.RESTORES, against_control=over(seeds, 0.1))
            for effect in effects(loaded, "toy")
        ]
        text = _causes_table(loaded, found).markdown
        assert text.count(f"**{word}**") == 8, "but for what restores by construction, and what trains less"
        (frozen,) = [line for line in text.splitlines() if "| projection frozen |" in line]
        assert "no cause: it freezes what is trained and scored" in frozen and word not in frozen
        assert f"**{word}; it also trains less**" in text
