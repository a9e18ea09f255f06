"""Cells of the founding system: that the control is the run itself, and what makes a cell another one."""

from __future__ import annotations

from dataclasses import replace

from ablation_support import RECIPE, material

from collapse_probe.experiments import CONTROL, Ablation, Intervention, finished, keep, make_cells, run_cell
from collapse_probe.respred._ablation import cell_inputs, train_cell
from collapse_probe.respred._plans import plan


def test_the_control_is_the_run_itself(ablation, base):
    """Same configuration, data and seed: the same scores and losses, bit for bit."""
    control = Ablation.load(ablation).runs(CONTROL)[0]
    for name in ("loss/total", "delta_eval/mean_abs", "document/std_mean"):
        assert control.readings(name)["value"].tolist() == base.readings(name)["value"].tolist()
    assert control.evaluations()["value"].tolist() == base.evaluations()["value"].tolist()


def test_finished_cells_are_known_and_those_of_other_data_are_not(ablation, base):
    cells = make_cells([Intervention(CONTROL, {}), *plan("causes", RECIPE)], RECIPE, seeds=[0, 1])
    assert all(finished(ablation, cell, cell_inputs(base.config)) for cell in cells)
    pairs = {**base.config.session["pairs"], "fingerprint": "other"}
    changed = replace(base.config, session={**base.config.session, "pairs": pairs})
    assert not any(finished(ablation, cell, cell_inputs(changed)) for cell in cells)
    more = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[2])
    assert not finished(ablation, more[0], cell_inputs(base.config))


def test_a_cell_is_there_whole_or_not_at_all(tmp_path, base):
    (cell,) = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[0])
    files = run_cell(train_cell, cell, material(base.config))
    assert {"run.json", "journal.jsonl"} <= set(files)
    assert not any(name.startswith("checkpoints") for name in files)
    keep(tmp_path, cell, files, cell_inputs(base.config))
    keep(tmp_path, cell, files, cell_inputs(base.config))
    assert [path.name for path in (tmp_path / "cells").iterdir()] == [cell.name]
    (tmp_path / "cells" / cell.name / "cell.json").write_text("{")
    assert not finished(tmp_path, cell, cell_inputs(base.config))
