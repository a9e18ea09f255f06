"""``ablate``: somebody's own training function again, with its configuration changed, over seeds."""

from __future__ import annotations

import inspect
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ..diagnosis import MECHANISMS
from ..errors import InputError, unknown_name
from ..journal import CONFIG, is_plain_name
from ._cells import ERROR, Cell, Files, check_folder, finished, keep, make_cells, run_cell, write_record
from ._engines import run_in_processes, run_in_ray
from ._interventions import CONTROL, Intervention
from ._results import Ablation
from ._verdicts import write_verdicts

Engine = Literal["serial", "processes", "ray"]
ENGINES = ("serial", "processes", "ray")

_log = logging.getLogger("collapse_probe")

_RATES = ("lr", "learning_rate")
_PLAIN = (str, int, float, bool, type(None), os.PathLike)


@dataclass(frozen=True)
class Theirs:
    """What every cell calls.

    Attributes:
        train: The user's function.
        seeded: Whether it takes ``seed``.
    """

    train: Callable[..., Any]
    seeded: bool


def ablate(
    train: Callable[..., Any],
    base: Mapping[str, Any],
    *,
    vary: Mapping[str, Any],
    seeds: int | Sequence[int] = 5,
    folder: str | os.PathLike[str] | None = None,
    engine: Engine = "serial",
    workers: int | None = None,
) -> Ablation:
    """Train a function of yours again with one field changed at a time, over seeds, and say what each change does.

    ``train(configuration, watch_folder)`` trains with ``collapse_probe.watch(..., run=watch_folder)`` inside. The seed
    is ``configuration["seed"]``, and the argument ``seed`` of a function that takes one: seed your weights and batches
    with it. ``base`` as it is, the control, is always among the cells. A finished cell is not trained again: the same
    call goes on after an interruption, and with more seeds or fields trains what is new. A cell that raises is named in
    ``failures`` with its error, the others go on, and the next call tries it again. A cell is known by its
    configuration, its seed and the text of ``train``; what ``train`` calls is not looked at.

    Runs are compared by the scores of every query that was handed to the watch, and by the reciprocal ranks of the
    reference pairs, paired by seed and by query. What that decides about a cause is written beside the control's cells,
    so that :func:`collapse_probe.diagnose` of one of them says ``confirmed``, ``contributes``, ``refuted`` or
    ``unresolved``; ``diagnose(run, ablation=...)`` says the same of a run of yours with the same configuration.

    Args:
        train: Your function. For other engines than ``serial`` one that can be imported: of a script, below
            ``if __name__ == "__main__":`` in which ``ablate`` is called.
        base: The configuration of the control: numbers, words, lists, and mappings of them.
        vary: Field to the values that it takes, one cell each; ``"loss.temperature"`` is the field ``temperature`` of
            ``base["loss"]``. A learning rate that is lowered, a temperature, a weight decay of 0 and a precision of
            fp32 are known to test a cause; for others name it: ``{"loss.kind": {"no_repulsion": ["softmax"]}}``.
        seeds: How many, from ``base["seed"]`` on, else from 0; or the seeds themselves. Nothing is confirmed below 5.
        folder: Where the cells are kept; None for ``ablations/NAME`` with the function's name.
        engine: ``serial`` trains here one after the other, ``processes`` in a pool of this machine, ``ray`` on Ray.
        workers: Processes; None for one a core.

    Returns:
        The ablation: ``print`` it, read ``effects`` or ``to_dict()``; ``collapse_probe.write_report`` reports it.

    Raises:
        InputError: a field that ``base`` has not, a value that it has already, a function that another process could
            not import, a folder of something else.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", str(engine), ENGINES)
    if workers is not None and engine == "serial":
        raise InputError('workers needs engine="processes" or engine="ray": serial trains one cell after the other')
    theirs = _checked(train, engine)
    _check_plain(base, "base")
    seeds_, base_ = _seeds(seeds, base), {key: value for key, value in base.items() if key != "seed"}
    interventions = [Intervention(CONTROL, {}), *_interventions(vary, base_)]
    name = getattr(train, "__name__", type(train).__name__)
    place = Path("ablations") / (name if is_plain_name(name) else "training") if folder is None else Path(folder)
    check_folder(place, f"the training function {name}", elsewhere="give another folder")
    inputs = {"train": _source(train)}
    cells = make_cells(interventions, base_, seeds=seeds_)
    place.mkdir(parents=True, exist_ok=True)
    write_record(
        place,
        name=place.name,
        run=f"the training function {name}",
        plan="",
        interventions=interventions,
        seeds=seeds_,
        cells=[cell.name for cell in cells],
    )
    missing = [cell for cell in cells if not finished(place, cell, inputs)]
    for cell, files in _results(theirs, missing, engine, workers):
        keep(place, cell, files, inputs)
        if ERROR in files:
            error = json.loads(files[ERROR])["error"]
            _log.warning("ablate: %s, seed %d: %s", cell.intervention.name, cell.seed, error)
    found = Ablation.load(place)
    write_verdicts(found, *found.completed(CONTROL).values())
    return found


def train_theirs(cell: Cell, theirs: Theirs, folder: Path) -> None:
    """Train one cell into a run folder; what the function raises is written there instead."""
    inner = folder / cell.name
    inner.mkdir()
    configuration = {**deepcopy(cell.configuration), "seed": cell.seed}
    try:
        theirs.train(configuration, inner, **({"seed": cell.seed} if theirs.seeded else {}))
        error = ""
    except Exception as raised:
        line = " ".join(str(raised).split())
        error = f"{type(raised).__name__}: {line}" if line else type(raised).__name__
    # A watch never writes into a folder that holds something: then its own is beside it.
    runs = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    if not runs and not error:
        error = "no run was watched: train with collapse_probe.watch(..., run=watch_folder)"
    for path in [] if not runs else list(runs[0].iterdir()):
        os.replace(path, folder / path.name)
    for left in [path for path in folder.iterdir() if path.is_dir() and path.name.startswith(cell.name)]:
        shutil.rmtree(left)
    if error:
        (folder / ERROR).write_text(json.dumps({"error": error}), encoding="utf-8")


def _results(
    theirs: Theirs, cells: Sequence[Cell], engine: Engine, workers: int | None
) -> Iterator[tuple[Cell, Files]]:
    if not cells:
        return iter(())
    if engine == "serial":
        return ((cell, run_cell(train_theirs, cell, theirs)) for cell in cells)
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(workers, len(cells))
    if engine == "processes":
        return run_in_processes(train_theirs, cells, theirs, workers=workers)
    return run_in_ray(train_theirs, cells, theirs, workers=workers, address=None)


def _checked(train: Callable[..., Any], engine: Engine) -> Theirs:
    if not callable(train):
        raise InputError(f"train is a {type(train).__name__}: a function train(configuration, watch_folder) is needed")
    name = getattr(train, "__name__", type(train).__name__)
    seeded = False
    try:
        parameters = inspect.signature(train).parameters
        seeded = "seed" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        inspect.signature(train).bind({}, Path(), **({"seed": 0} if seeded else {}))
    except TypeError:
        raise InputError(f"{name} cannot be called as {name}(configuration, watch_folder): take these two") from None
    except ValueError:
        pass  # some callables have no signature
    if engine != "serial" and not _importable(train):
        raise InputError(
            f'engine="{engine}": {name} cannot be imported by another process: '
            'define it with def at the top of a file, or give engine="serial"'
        )
    return Theirs(train, seeded)


def _importable(train: Callable[..., Any]) -> bool:
    module, name = getattr(train, "__module__", None), getattr(train, "__qualname__", "<locals>")
    if module is None or "<" in name:
        return False
    if module == "__main__":
        return Path(str(getattr(sys.modules["__main__"], "__file__", ""))).is_file()
    try:
        return getattr(import_module(module), name, None) is train
    except ImportError:
        return False


def _source(train: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(train)
    except (OSError, TypeError):
        return getattr(train, "__qualname__", type(train).__name__)


def _seeds(seeds: int | Sequence[int], base: Mapping[str, Any]) -> list[int]:
    first = base.get("seed", 0)
    if isinstance(seeds, bool) or (isinstance(seeds, int) and seeds < 1):
        raise InputError(f"seeds={seeds!r}: a number of at least 1, or a list of seeds, is needed")
    if isinstance(seeds, int):
        if isinstance(first, bool) or not isinstance(first, int):
            raise InputError(f"base['seed'] is {first!r}: a whole number is needed")
        return [first + offset for offset in range(seeds)]
    found = list(dict.fromkeys(seeds)) if isinstance(seeds, Sequence) and not isinstance(seeds, str) else []
    if not found or any(isinstance(one, bool) or not isinstance(one, int) for one in found):
        raise InputError(f"seeds={seeds!r}: a number of at least 1, or a list of seeds, is needed")
    return found


def _check_plain(value: Any, at: str) -> None:
    """Raise where a configuration holds what no file could, so that a finished cell could not be told again."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InputError(f"{at} has the key {key!r}: words are needed")
            _check_plain(inner, f"{at}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_plain(inner, f"{at}[{index}]")
    elif at == "base" or not isinstance(value, _PLAIN):
        kinds = "a mapping" if at == "base" else "numbers, words, lists, and mappings of them"
        raise InputError(f"{at} is a {type(value).__name__}: {kinds} is needed; build other things in train")


def _interventions(vary: Mapping[str, Any], base: Mapping[str, Any]) -> list[Intervention]:
    if not isinstance(vary, Mapping) or not vary:
        raise InputError('nothing to change: give vary={"FIELD": [VALUE, ...]}')
    known = {name for name, _ in _fields(base)}
    found: list[Intervention] = []
    for field, given in vary.items():
        if field == "seed":
            raise InputError('vary has "seed": the seeds are given as seeds=')
        if field not in known:
            raise unknown_name("field of base", str(field), known, most=12)
        for cause, values in given.items() if isinstance(given, Mapping) else [("", given)]:
            _check_cause(field, cause)
            if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
                raise InputError(f"vary[{field!r}] is {values!r}: a list of values is needed")
            found += [_intervention(field, value, cause, base) for value in values]
    return found


def _intervention(field: str, value: Any, cause: str, base: Mapping[str, Any]) -> Intervention:
    _check_plain(value, f"vary[{field!r}]")
    before = dict(_fields(base))[field]
    one = Intervention(f"{field}={value}", {field: value}, **_tested(field, before, value, cause))
    if before == value:
        raise InputError(f"{one.name}: base has this value already, and the control is always run")
    return one


def _check_cause(field: str, cause: str) -> None:
    known = [one.cause for one in MECHANISMS]
    if cause and cause not in known:
        raise unknown_name(f"cause in vary[{field!r}]", cause, known)


def _fields(base: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field by its keys with dots between them, whole mappings too."""
    for key, value in base.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{key}.")


def _tested(field: str, before: Any, after: Any, cause: str) -> dict[str, Any]:
    """Return the mechanism that a change decides: the one that was named, else by the field's usual name."""
    name = field.rpartition(".")[2]
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (before, after))
    lowered = numbers and after < before
    usual = ""
    if name in _RATES or name.endswith("_lr"):
        usual = "steps_too_large" if lowered else "steps_too_small"
    elif name == "temperature":
        usual = "temperature_or_margin"
    elif name == "weight_decay" and after == 0:
        usual = "penalty_too_strong"
    elif name in ("precision", "dtype") and str(after) in ("fp32", "float32"):
        usual = "half_precision"
    tests = cause or usual
    title = next((one.title for one in MECHANISMS if one.cause == tests), "")
    return {"claim": title, "tests": tests, "trains_less": tests == "steps_too_large"}
