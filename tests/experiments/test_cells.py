"""Any function from a configuration to a run folder is an experiment, whatever a configuration is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from collapse_probe.errors import InputError
from collapse_probe.experiments import (
    CONTROL,
    Cell,
    Intervention,
    check_folder,
    combined,
    distinct,
    finished,
    keep,
    make_cells,
    run_cell,
    write_record,
)


@dataclass(frozen=True)
class Settings:
    """A configuration that is no recipe."""

    rate: float = 0.1
    layers: int = 2


def write(cell: Cell, material: str, folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "weights").write_text("heavy")
    (folder / "made").write_text(f"{material} {cell.configuration} {cell.seed}")


@pytest.mark.parametrize("configuration", [Settings(), {"rate": 0.1, "layers": 2}], ids=["dataclass", "mapping"])
def test_a_configuration_is_a_dataclass_or_a_mapping(configuration, tmp_path):
    found = [Intervention(CONTROL, {}), Intervention("slow", {"rate": 0.01})]
    cells = make_cells(found, configuration, seeds=[3, 4])
    assert [(cell.intervention.name, cell.seed) for cell in cells] == [(one.name, s) for s in (3, 4) for one in found]
    assert len({cell.name for cell in cells}) == 4
    files = run_cell(write, cells[1], "data")
    assert files == {"made": f"data {cells[1].configuration} 3".encode()}
    keep(tmp_path, cells[1], files, {"data": 1})
    assert [finished(tmp_path, cell, {"data": 1}) for cell in cells] == [False, True, False, False]
    assert not finished(tmp_path, cells[1], {"data": 2})


def test_the_same_configuration_in_a_dataclass_or_a_mapping_is_one_cell():
    first, second = (Cell(Intervention(CONTROL, {}), one, 0) for one in (Settings(), {"rate": 0.1, "layers": 2}))
    assert (first.name, first.fingerprint({})) == (second.name, second.fingerprint({}))


def test_axes_are_varied_one_at_a_time_or_all_together():
    axes = [[("rate=1", {"rate": 1}), ("rate=2", {"rate": 2})], [("layers=3", {"layers": 3})]]
    assert [one.name for one in combined(axes, grid=False)] == ["rate=1", "rate=2", "layers=3"]
    assert [one.changes for one in combined(axes, grid=True)] == [{"rate": 1, "layers": 3}, {"rate": 2, "layers": 3}]
    with pytest.raises(InputError, match="rate is varied twice"):
        list(combined([axes[0], axes[0]], grid=True))


def test_one_mapping_is_trained_once():
    found = [Intervention(CONTROL, {}), Intervention("a", {"rate": 1.0}), Intervention("b", {"rate": 1}, "a claim")]
    assert [(one.name, one.claim) for one in distinct(found, {"rate": 0.1})] == [(CONTROL, ""), ("a = b", "a claim")]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    check_folder(tmp_path / "new", "base noon")
    check_folder(tmp_path, "base noon")
    write_record(tmp_path, name="x", run="base noon", plan="", interventions=[], seeds=[], cells=[])
    check_folder(tmp_path, "base noon")
    with pytest.raises(InputError, match=r"is the ablation of base noon, not of other noon; give another name or out"):
        check_folder(tmp_path, "other noon")
    (tmp_path / "ablation.json").write_text('{"schema": 7}')
    with pytest.raises(InputError, match="schema is not 1; upgrade"):
        check_folder(tmp_path, "base noon")
    (tmp_path / "ablation.json").write_text("[]")
    with pytest.raises(InputError, match="holds something that is no ablation; give another name or out"):
        check_folder(tmp_path, "base noon")
