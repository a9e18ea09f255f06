"""What several tests share: where real data lies, and a small real-shaped run."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

# As in the command line: OpenMP reads it when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Workers of pytest-xdist share the cores, and so do the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

import pytest
from hypothesis import settings
from shared_once import once

if TYPE_CHECKING:
    from collapse_probe.demo import EmbeddedText
    from collapse_probe.journal import Run

# What is heavy is imported where it is needed: the workers of pytest-xdist wait for the process that starts them.

collect_ignore = ["typed_face.py"]
"""Files that hold no test: this one is read by a type checker, and names what optional libraries are needed for."""

# The same examples every time; `HYPOTHESIS_PROFILE=explore python -m pytest` looks for others.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_finish() -> None:
    """Leave what is imported out of garbage collections: every trainer starts one, and it takes a third of a second."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_disks() -> Iterator[None]:
    """No test ends the machine's power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def _nothing_was_compiled() -> None:
    """Where another test has compiled something, less is listened to."""
    if (dynamo := sys.modules.get("torch._dynamo.utils")) is not None:
        dynamo.counters.clear()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real collections beside the repository; the test is skipped where there is none."""
    if not (SHARED / "data").is_dir():
        pytest.skip("real data absent: no folder shared/data beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedText:
    """The bundled collection, made once: reading the packages takes ten seconds."""
    from collapse_probe.demo import build_embedded

    return build_embedded(once(tmp_path_factory, "embedded", build_embedded))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures on their axes and no line of them, which is most of the work, where a test looks at none."""

    def drawn(canvas: object, file: TextIO, **_: object) -> None:
        file.write('<svg viewBox="0 0 1 1"></svg>')

    monkeypatch.setattr("matplotlib.backends.backend_svg.FigureCanvasSVG.print_svg", drawn)


@pytest.fixture(scope="session")
def respred_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished, fully watched run of the founding recipe on made-up vectors."""
    from tests_support import toy_run

    from collapse_probe.respred import Recipe

    folder = tmp_path_factory.mktemp("runs") / "respred"
    toy_run(folder, Recipe(batch_size=32))
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run that is ablated."""
    from ablation_support import RECIPE
    from tests_support import toy_run

    from collapse_probe.journal import Run

    return Run.load(once(tmp_path_factory, "base", lambda folder: toy_run(folder, RECIPE)))


@pytest.fixture(scope="session")
def ablation(tmp_path_factory: pytest.TempPathFactory, base: Run) -> Path:
    """The folder of a finished ablation of it over two seeds."""
    from ablation_support import write_ablation

    return once(tmp_path_factory, "toy", lambda folder: write_ablation(folder, base.config))
