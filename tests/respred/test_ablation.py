"""Ablations: which cells there are, that they are run once, anywhere, and kept whole."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests_support import toy_data, toy_evaluation, toy_run

from collapse_probe.diagnosis import CONTROL, Ablation, Verdict, effects, module_shares
from collapse_probe.errors import InputError
from collapse_probe.journal import Run, RunConfig
from collapse_probe.reporting import write_ablation_report
from collapse_probe.reporting._ablation_figures import forest, forest_height
from collapse_probe.reporting._style import saved
from collapse_probe.respred import Recipe, get_recipe
from collapse_probe.respred._ablation import Material, finished, keep, make_cells, run_cell, write_record
from collapse_probe.respred._engines import run_in_processes, run_in_ray
from collapse_probe.respred._plans import Intervention, distinct, plan, vary
from collapse_probe.statistics import SeededDifference, seeded_difference

RECIPE = Recipe(batch_size=32, epochs=2, learning_rate=1e-2)


def material(config: RunConfig, threads: int = 1) -> Material:
    data = toy_data()
    texts = ["x"] * len(data.query)
    out = ["y"] * len(data.validation_query)
    return Material(
        config=config,
        pairs=(data.query, data.document, texts, texts),
        validation=(data.validation_query, data.validation_document, out, out),
        share=0.1,
        evaluations=[toy_evaluation()],
        device="cpu",
        threads=threads,
        encoder=(None, Path(".")),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "base"
    toy_run(folder, RECIPE)
    return Run.load(folder)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory, base) -> Path:
    """A finished ablation over two seeds, run in a pool of processes."""
    folder = tmp_path_factory.mktemp("ablations") / "toy"
    folder.mkdir()
    interventions = [Intervention(CONTROL, {}), *plan("causes", RECIPE)]
    cells = make_cells(interventions, RECIPE, seeds=[0, 1])
    write_record(
        folder,
        name="toy",
        run="base",
        plan="causes",
        interventions=interventions,
        seeds=[0, 1],
        cells=[c.name for c in cells],
    )
    before = torch.get_num_threads()
    for cell, files in run_in_processes(cells, material(base.config), workers=2):
        keep(folder, cell, files, base.config)
    assert torch.get_num_threads() == before, "threads of this process are left alone"
    return folder


def test_the_causes_plan_has_what_separates_the_causes():
    names = [one.name for one in plan("causes", get_recipe("respred"))]
    assert names == ["penalty off", "penalty detached", "projection frozen", "scale anchored", "predictor off"]


def test_the_founding_plan_has_every_option():
    names = [one.name for one in plan("founding", get_recipe("respred"))]
    assert names[:3] == ["option_a", "option_b", "option_b_adaptive"]
    assert {"option_c1", "option_c2", "option_c3", "option_d", "option_e", "alpha_02", "alpha_03"} <= set(names)


def test_a_plan_leaves_out_what_changes_nothing():
    recipe = get_recipe("option_e")
    assert [one.name for one in plan("causes", recipe)] == ["scale anchored"]
    assert "option_e" not in [one.name for one in plan("founding", recipe)]
    # Without a predictor, what options A to C and other alphas change plays no role: each would be the control again.
    assert [one.name for one in plan("founding", recipe)] == ["option_d"]


def test_patience_is_a_change_where_training_is_stopped_by_it():
    stopping = replace(RECIPE, early_stop="ndcg@10")
    assert [one.changes for one in vary(["patience=3"], stopping, grid=False)] == [{"patience": 3}]


def test_one_configuration_is_one_intervention():
    recipe = get_recipe("respred")
    found = [
        Intervention(CONTROL, {}),
        *plan("founding", recipe),
        *plan("causes", recipe),
        *vary(["lambda_residual=0", "lambda_residual=0.0", "alpha=0.2"], recipe, grid=False),
    ]
    kept = distinct(found, recipe)
    names = [one.name for one in kept]
    assert names[0] == CONTROL
    assert "option_c3 = penalty off = lambda_residual=0 = lambda_residual=0.0" in names
    assert "alpha_02 = alpha=0.2" in names
    assert len({one.apply(recipe) for one in kept}) == len(kept) == len(found) - 4
    merged = next(one for one in kept if "penalty off" in one.name)
    assert merged.tests == "the residual penalty causes the fall" and merged.changes == {"lambda_residual": 0.0}


def test_fields_vary_one_at_a_time_or_as_a_grid():
    given = ["lambda_residual=0,1e-4", "tanh=off"]
    assert [one.name for one in vary(given, RECIPE, grid=False)] == [
        "lambda_residual=0",
        "lambda_residual=1e-4",
        "tanh=off",
    ]
    assert [one.changes for one in vary(given, RECIPE, grid=True)] == [
        {"lambda_residual": 0.0, "tanh": False},
        {"lambda_residual": 1e-4, "tanh": False},
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tanh", "write FIELD=VALUE,VALUE"),
        ("tanh=", "write FIELD=VALUE,VALUE"),
        ("tnh=off", "unknown recipe field 'tnh': did you mean 'tanh'?"),
        ("tanh=on", "the run has this value already"),
        ("alpha=x", "alpha=x: a number is needed"),
        ("batch_size=1", "batch_size is 1"),
        ("temperature=0.1", "temperature plays no role in this run: it needs lambda_contrastive above 0"),
        ("encoder_learning_rate=1e-3", "encoder_learning_rate plays no role in this run: it needs unfreeze_layers"),
    ],
)
def test_a_bad_specification_says_what_is_needed(given, message):
    with pytest.raises(InputError) as error:
        vary([given], RECIPE, grid=False)
    assert message in str(error.value)


def test_a_field_is_varied_once_in_a_grid():
    for given in (["alpha=0.1,0.2", "alpha=0.3"], ["projection=frozen", "freeze_projection=on"]):
        with pytest.raises(InputError, match=r"grid: (alpha|freeze_projection) is varied twice"):
            vary([*given, "lambda_residual=0"], RECIPE, grid=True)


def test_an_unknown_plan_is_named():
    with pytest.raises(InputError, match="unknown plan 'cause': did you mean 'causes'"):
        plan("cause", RECIPE)


def test_the_control_is_the_run_itself(ablation, base):
    """Same configuration, data and seed: the same scores and losses, bit for bit."""
    control = Ablation.load(ablation).runs(CONTROL)[0]
    for name in ("loss/total", "delta_eval/mean_abs", "document/std_mean"):
        assert control.readings(name)["value"].tolist() == base.readings(name)["value"].tolist()
    assert control.evaluations()["value"].tolist() == base.evaluations()["value"].tolist()


def test_freezing_the_projection_keeps_the_score_while_delta_shrinks(ablation):
    found = {effect.intervention: effect for effect in effects(Ablation.load(ablation), "toy")}
    frozen = found["projection frozen"]
    assert (frozen.since_start.mean, frozen.since_start.low, frozen.since_start.high) == (0, 0, 0)
    assert frozen.delta_kept < 0.5
    assert found[CONTROL].against_control is None
    assert found["predictor off"].ratios["correction"] is None
    scale = found["penalty off"].ratios["scale"]
    assert scale.low < scale.value < scale.high


def test_the_shares_of_the_modules_add_up(ablation):
    shares = module_shares(Ablation.load(ablation), "toy")
    assert [one.module for one in shares] == ["predictor", "projection", "interaction"]
    assert shares[1].fraction == pytest.approx(1.0)
    assert shares[0].fraction == 0.0
    with_predictor = module_shares(Ablation.load(ablation), "toy", "predictor")
    control = next(e for e in effects(Ablation.load(ablation), "toy") if e.intervention == CONTROL)
    assert sum(one.fraction for one in with_predictor[:2]) == pytest.approx(1.0)
    assert shares[1].share.mean == pytest.approx(control.since_start.mean)


def test_the_table_is_tidy(ablation):
    table = Ablation.load(ablation).table
    assert not table.duplicated(["intervention", "seed", "collection", "path", "epoch", "measure"]).any()
    assert set(table["intervention"]) == {entry["name"] for entry in Ablation.load(ablation).config["interventions"]}
    assert set(table["seed"]) == {0, 1}
    assert {"ndcg@10", "correction", "scale", "rank"} <= set(table["measure"])
    assert table["value"].notna().all()


def test_finished_cells_are_known_and_those_of_other_data_are_not(ablation, base):
    cells = make_cells([Intervention(CONTROL, {}), *plan("causes", RECIPE)], RECIPE, seeds=[0, 1])
    assert all(finished(ablation, cell, base.config) for cell in cells)
    pairs = {**base.config.session["pairs"], "fingerprint": "other"}
    changed = replace(base.config, session={**base.config.session, "pairs": pairs})
    assert not any(finished(ablation, cell, changed) for cell in cells)
    more = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[2])
    assert not finished(ablation, more[0], base.config)


def test_a_cell_is_there_whole_or_not_at_all(tmp_path, base):
    (cell,) = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[0])
    files = run_cell(cell, material(base.config))
    assert {"run.json", "journal.jsonl"} <= set(files)
    assert not any(name.startswith("checkpoints") for name in files)
    keep(tmp_path, cell, files, base.config)
    keep(tmp_path, cell, files, base.config)
    assert [path.name for path in (tmp_path / "cells").iterdir()] == [cell.name]
    (tmp_path / "cells" / cell.name / "cell.json").write_text("{")
    assert not finished(tmp_path, cell, base.config)


def test_the_report_has_its_tables_and_figures(ablation, tmp_path):
    report, lines = write_ablation_report(Ablation.load(ablation), tmp_path / "report")
    text = report.read_text()
    assert "### Which module holds the change" in text
    assert "The control did not fall by more than noise: there is nothing to explain." in text
    for name in ("forest.png", "learning_curves.png"):
        assert f"(figures/{name})" in text
        assert (report.parent / "figures" / name).stat().st_size > 5_000
    assert (report.parent / "cells.parquet").is_file()
    import pandas as pd

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
    with saved(tmp_path / "forest.png", height=forest_height(found)) as axes:
        forest(axes[0], found, fall=0.1, title="toy")
        figure = axes[0].figure
        figure.canvas.draw()
        parts = [axes[0].title, axes[0].xaxis.label, *axes[0].get_yticklabels(), *figure.legends, axes[0].get_legend()]
        boxes = [part.get_window_extent() for part in parts if part is not None]
        assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)
        assert all(box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_an_unfinished_ablation_can_be_read(ablation, tmp_path):
    import shutil

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


def test_what_is_no_ablation_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no ablation\.json"):
        Ablation.load(tmp_path)
    (tmp_path / "ablation.json").write_text('{"schema": 7}')
    with pytest.raises(InputError, match="schema is not 1; upgrade"):
        Ablation.load(tmp_path)


def test_ray_gives_what_processes_give(base, ablation):
    pytest.importorskip("ray")
    cells = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[1])
    ((cell, files),) = run_in_ray(cells, material(base.config), workers=1, address=None)
    lines = [json.loads(line) for line in files["journal.jsonl"].decode().splitlines()]
    mine = [line["value"] for line in lines if line["kind"] == "reading" and line["name"] == "loss/total"]
    other = Ablation.load(ablation).runs(CONTROL)[1].readings("loss/total")["value"].tolist()
    assert mine == other and cell == cells[0]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "ray_address=127.0.0.1:1: nothing answers"),
        ("nowhere", "ray_address=nowhere: host:port, ray://host:port or auto is needed"),
    ],
)
def test_an_unreachable_ray_is_one_line(base, address, message):
    pytest.importorskip("ray")
    with pytest.raises(InputError) as error:
        run_in_ray([], material(base.config), workers=1, address=address)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_workers_are_started_with_threads_that_wait(base, monkeypatch):
    for own, left in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if own is not None:
            monkeypatch.setenv("OMP_WAIT_POLICY", own)
        list(run_in_processes([], material(base.config), workers=1))
        assert os.environ["OMP_WAIT_POLICY"] == left


@pytest.mark.parametrize(
    ("low", "mean", "high", "fall", "expected"),
    [
        (0.05, 0.10, 0.15, 0.10, Verdict.RESTORES),
        (0.01, 0.03, 0.05, 0.10, Verdict.IN_PART),
        (-0.005, 0.0, 0.005, 0.10, Verdict.NO_EFFECT),
        (-0.02, 0.02, 0.06, 0.10, Verdict.UNRESOLVED),
        (-0.15, -0.1, -0.05, 0.10, Verdict.WORSE),
        (0.01, 0.03, 0.05, None, Verdict.BETTER),
        (-0.004, 0.0, 0.004, None, Verdict.NO_EFFECT),
    ],
)
def test_verdicts(low, mean, high, fall, expected):
    from collapse_probe.diagnosis import verdict

    def difference(low: float, mean: float, high: float) -> SeededDifference:
        return replace(over(3, mean), mean=mean, low=low, high=high)

    control = None if fall is None else difference(-fall - 0.03, -fall, -fall + 0.03)
    assert verdict(difference(low, mean, high), control) is expected


def test_a_worker_that_dies_is_one_line(base):
    """A worker killed in its first cell: no hang, no traceback, and what to do."""
    import multiprocessing
    import threading
    import time

    def kill() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for process in multiprocessing.active_children():
                process.kill()
                return
            time.sleep(0.05)

    threading.Thread(target=kill, daemon=True).start()
    cells = make_cells([Intervention(CONTROL, {})], RECIPE, seeds=[0, 1])
    with pytest.raises(InputError, match="a worker process died; the cells that were done are kept"):
        list(run_in_processes(cells, material(base.config), workers=1))


def over(seeds: int, mean: float) -> SeededDifference:
    """Return a resolved difference over some seeds."""
    return seeded_difference(mean + np.random.default_rng(0).normal(0, 0.01, size=(seeds, 40)))


def test_causes_are_judged_where_the_control_fell(ablation):
    from dataclasses import replace

    from collapse_probe.reporting._ablation_report import _causes_table

    loaded = Ablation.load(ablation)
    for seeds, word in ((3, "supported; to confirm it, run 5 seeds"), (5, "confirmed")):
        found = [
            replace(effect, since_start=over(seeds, -0.1))
            if effect.intervention == CONTROL
            else replace(effect, verdict=Verdict.RESTORES, against_control=over(seeds, 0.1))
            for effect in effects(loaded, "toy")
        ]
        text = _causes_table(loaded, found).markdown
        assert text.count(f"**{word}**") == 5 and "training the projection causes it" in text


def test_a_verdict_needs_its_adjusted_p():
    from dataclasses import replace

    from collapse_probe.diagnosis._effects import Effect, _judged

    gain = over(3, 0.1)
    effect = Effect("x", "toy", 0.5, gain, gain, 0.2, 1.0, Verdict.RESTORES, float("nan"), {})
    assert _judged(effect, 0.2).verdict is Verdict.UNRESOLVED
    assert _judged(effect, 0.01).verdict is Verdict.RESTORES
    assert _judged(replace(effect, verdict=Verdict.NO_EFFECT), 0.9).verdict is Verdict.NO_EFFECT


def test_one_query_resolves_nothing():
    from collapse_probe.diagnosis import verdict

    assert verdict(seeded_difference(np.array([[-0.3]])), None) is Verdict.UNRESOLVED


def test_runs_are_paired_by_the_ids_of_their_queries(ablation, tmp_path):
    """Bug: the per-query scores of two runs were subtracted by their places in the files."""
    import shutil

    expected = effects(Ablation.load(ablation), "toy")
    shutil.copytree(ablation, tmp_path / "turned")
    for number, file in enumerate(sorted((tmp_path / "turned").rglob("*.json"))):
        content = json.loads(file.read_text())
        if "query_ids" in content and number % 2:
            file.write_text(json.dumps({name: values[::-1] for name, values in content.items()}))
    turned = Ablation.load(tmp_path / "turned")
    for one, other in zip(effects(turned, "toy"), expected, strict=True):
        assert one.since_start == other.since_start and one.against_control == other.against_control
    assert module_shares(turned, "toy") == module_shares(Ablation.load(ablation), "toy")


def test_a_seed_whose_scores_cannot_be_read_is_left_out(ablation, tmp_path):
    import shutil

    shutil.copytree(ablation, tmp_path / "torn")
    for cell in (tmp_path / "torn" / "cells").glob("control-*-seed-0"):
        for file in cell.rglob("*.json"):
            if "query_ids" in file.read_text():
                file.unlink()
    before, after = (effects(Ablation.load(folder), "toy") for folder in (ablation, tmp_path / "torn"))
    assert after[0].since_start.n_seeds == before[0].since_start.n_seeds - 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("select=last", "it changes no training, only which checkpoint is kept"),
        ("patience=3", "it changes no training, only which checkpoint is kept"),
    ],
)
def test_what_cannot_change_a_cell_is_refused(given, message):
    with pytest.raises(InputError) as error:
        vary([given], RECIPE, grid=False)
    assert message in str(error.value)


def test_a_grid_leaves_out_the_control():
    names = [one.name for one in vary(["alpha=0.1,0.3", "lambda_residual=0.01,0"], RECIPE, grid=True)]
    assert names == ["alpha=0.1, lambda_residual=0", "alpha=0.3, lambda_residual=0.01", "alpha=0.3, lambda_residual=0"]


def test_plans_apply_to_runs_that_are_scored_with_the_predictor():
    recipe = get_recipe("contrastive")
    assert "option_e" not in [one.name for one in plan("founding", recipe)]
    with_path = Recipe(scoring_path="predictor")
    option_e = next(one for one in plan("founding", with_path) if one.name == "option_e")
    assert option_e.apply(with_path).scoring_path == "no_predictor"
