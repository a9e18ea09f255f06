"""`benchmarks/scripts/run.py`: what it holds to be right of a verdict."""

import importlib.util
from pathlib import Path

import pytest

from collapse_probe.diagnosis.causes import MECHANISMS

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "scripts" / "run.py"


@pytest.fixture(scope="module")
def scripts():
    spec = importlib.util.spec_from_file_location("scripts_run", RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_program_is_judged_by_causes_that_exist(scripts):
    planted = {name for name in scripts.PROGRAMS if name.startswith("p")}
    assert planted == set(scripts.EXPECTED)
    assert {cause for causes in scripts.EXPECTED.values() for cause in causes} <= {one.cause for one in MECHANISMS}


@pytest.mark.parametrize(
    ("name", "status", "causes", "is_right"),
    [
        ("h02_st_mnrl", "healthy", [], "right"),
        ("h02_st_mnrl", "not measured", [], "half"),
        ("h02_st_mnrl", "warning", [], "wrong"),
        ("p06_st_mnrl_shuffled", "critical", ["wrong_pairs"], "right"),
        ("p06_st_mnrl_shuffled", "critical", ["not_trained", "wrong_pairs"], "half"),
        ("p06_st_mnrl_shuffled", "critical", ["not_trained"], "wrong"),
        ("p06_st_mnrl_shuffled", "healthy", [], "wrong"),
        ("p2_09_simcse_eval_mode", "warning", ["not_trained"], "wrong"),
    ],
)
def test_right(scripts, name, status, causes, is_right):
    assert scripts.right(name, {"status": status, "causes": [{"cause": one} for one in causes]}) == is_right
