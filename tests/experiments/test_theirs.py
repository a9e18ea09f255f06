"""`ablate` of somebody's own training function: cells, seeds, what raises, what is decided, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from training_support import BASE, CALLS, made_up

import collapse_probe
from collapse_probe.errors import InputError
from collapse_probe.experiments import CONTROL, Ablation


def ablated(folder: Path, **changes) -> Ablation:
    vary = {"loss.kind": {"no_repulsion": ["softmax"]}, "lr": [1.0, 1e-4]}
    return collapse_probe.ablate(made_up, BASE, **{"vary": vary, "seeds": 2, "folder": folder, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ablations") / "mine"
    CALLS.clear()
    ablated(place)
    return place


@pytest.mark.usefixtures("unrendered")
def test_every_cell_is_trained_with_its_seed_and_one_that_raises_is_named(folder):
    assert len(CALLS) == 8 and {seed for _, seed in CALLS} == {3, 4}
    found = Ablation.load(folder)
    assert found.interventions == [CONTROL, "loss.kind=softmax", "lr=0.0001"]
    assert [(one.intervention, one.seed) for one in found.failures] == [("lr=1.0", 3), ("lr=1.0", 4)]
    assert {one.error for one in found.failures} == {"FloatingPointError: the loss is not a number"}
    assert "failed: lr=1.0, seed 3: FloatingPointError" in str(found)
    report = collapse_probe.write_report(found, folder.parent / "report").read_text()
    assert "**lr=1.0: failed.** No run of it finished: FloatingPointError" in report
    assert "6 of 8 completed" in report and "nDCG" not in report


def test_what_is_finished_is_not_trained_again(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("journal.jsonl")}
    CALLS.clear()
    ablated(folder)
    assert [kind for kind, _ in CALLS] == ["squared", "squared"], "only the cells that raised"
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("journal.jsonl")}
    assert {path.parent.name[:3] for path in before if before[path] != after[path]} == {"lr="}


def test_reference_pairs_are_compared_where_nothing_else_was_scored(folder):
    found = Ablation.load(folder)
    verdicts = {"loss.kind=softmax": "restores", "lr=0.0001": "restores in part"}
    assert found.verdicts == {"reference pairs": verdicts}
    effects = {one["intervention"]: one for one in json.loads(json.dumps(found.to_dict(), allow_nan=False))["effects"]}
    softmax = effects["loss.kind=softmax"]
    assert softmax["metric"] == "mrr" and softmax["against_control"]["n_seeds"] == 2
    assert softmax["against_control"]["mean"] == pytest.approx(0.33, abs=0.03)


def test_the_control_is_diagnosed_by_what_was_decided(folder):
    """Two seeds support and never confirm; a run of one's own takes the ablation's verdicts when it is given."""
    (control, _) = Ablation.load(folder).completed(CONTROL).values()
    first = collapse_probe.diagnose(control).causes[0]
    assert (first.cause, first.verdict, first.decided.intervention) == (
        "no_repulsion",
        "supported",
        "loss.kind=softmax",
    )
    assert first.remedies[0].change == {"loss.kind": "softmax"} and first.remedies[0].gain > 0.3
    mine = folder.parent / "mine-own"
    if not mine.exists():
        made_up({**BASE, "seed": 9}, mine, seed=9)
    assert collapse_probe.diagnose(mine).causes[0].verdict == "suspected"
    assert collapse_probe.diagnose(mine, ablation=folder).causes[0].verdict == "supported"
    with pytest.raises(InputError, match=r"no verdicts\.json in it; give the folder of a finished ablation"):
        collapse_probe.diagnose(mine, ablation=mine)


def test_processes_give_what_one_after_the_other_gives(folder, tmp_path):
    other = ablated(tmp_path / "mine", seeds=[3], vary={"loss.kind": ["softmax"]}, engine="processes", workers=1)
    mine, theirs = (one.ends("loss.kind=softmax", "reference pairs")[3] for one in (Ablation.load(folder), other))
    assert mine == theirs


def test_a_watched_loop_that_wrote_into_its_folder_first(tmp_path):
    """A watch takes another folder then; that run is the cell all the same. Without a watch the cell is named."""

    def train(configuration, watch_folder):
        (watch_folder / "notes.txt").write_text("mine")
        torch.manual_seed(configuration["seed"])
        if configuration["watched"] is False:
            return
        head = nn.Linear(8, 8)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
        x = torch.randn(64, 8)
        with collapse_probe.watch(head, optimizer=optimizer, run=watch_folder, reference=lambda: (head(x), x)) as w:
            for _ in range(3):
                loss = (head(x) - x).square().mean()
                w.terms(total=loss)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

    found = collapse_probe.ablate(
        train, {"watched": True}, vary={"watched": [False]}, seeds=1, folder=tmp_path / "loop"
    )
    assert found.completed(CONTROL)[0].steps == 3 and found.collections == ["reference pairs"]
    assert [one.error for one in found.failures] == [
        "no run was watched: train with collapse_probe.watch(..., run=watch_folder)"
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"vary": {"loss.temprature": [1]}},
            "unknown field of base 'loss.temprature': did you mean 'loss.temperature'?",
        ),
        ({"vary": {"loss.temperature": [1.0, 0.05]}}, "loss.temperature=0.05: base has this value already"),
        ({"vary": {"lr": 0.1}}, "vary['lr'] is 0.1: a list of values is needed"),
        ({"vary": {"lr": {"no_repulsoin": [1]}}}, "did you mean 'no_repulsion'?"),
        ({"vary": {}}, "nothing to change"),
        ({"vary": {"seed": [1]}}, "the seeds are given as seeds="),
        ({"seeds": 0}, "seeds=0: a number of at least 1, or a list of seeds, is needed"),
        ({"engine": "process"}, "did you mean 'processes'?"),
        ({"workers": 2}, 'workers needs engine="processes"'),
    ],
)
def test_what_cannot_be_ablated_is_one_line_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(InputError) as error:
        ablated(tmp_path / "none", **changes)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("engine", ["processes", "ray"])
@pytest.mark.parametrize("train", [lambda configuration, folder: None, partial(made_up, seed=1)])
def test_another_process_needs_a_function_that_it_can_import(tmp_path, engine, train):
    with pytest.raises(InputError, match="cannot be imported by another process: define it with def"):
        collapse_probe.ablate(train, BASE, vary={"lr": [1.0]}, engine=engine, folder=tmp_path / "none")


def test_a_function_of_other_arguments_and_a_configuration_of_objects_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be called as <lambda>\(configuration, watch_folder\)"):
        collapse_probe.ablate(lambda configuration: None, BASE, vary={"lr": [1.0]}, folder=tmp_path / "none")
    with pytest.raises(InputError, match=r"base\['model'\] is a object"):
        collapse_probe.ablate(made_up, {**BASE, "model": object()}, vary={"lr": [1.0]}, folder=tmp_path / "none")


def test_the_folder_of_another_ablation_is_left_alone(folder):
    def other(configuration, watch_folder):
        raise AssertionError

    with pytest.raises(InputError, match="is the ablation of the training function made_up, not of the training"):
        collapse_probe.ablate(other, BASE, vary={"lr": [1.0]}, folder=folder)
