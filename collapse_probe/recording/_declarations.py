"""Probe declarations: TOML files that say what to tap, how often, what to read and what to expect."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ..errors import InputError, unknown_name
from ._names import HISTOGRAM_NAMES, is_histogram, is_reading, usual_readings
from ._schedule import Schedule

ALWAYS_WATCHED = ("loss",)
"""Probes that every training run has: without the loss terms there is nothing to analyse."""

RESIDUAL_SET = ("residual", "founding_monitor", "embedding", "pairs", "coverage")
"""The readings that the founding failure analysis reports or lacked."""

_KEYS = {"summary", "taps", "schedule", "readings", "histograms", "expected", "detectors"}
_EXPECTED_KEYS = {
    "reading",
    "min",
    "max",
    "critical_below",
    "critical_above",
    "relative_to",
    "source",
    "why",
    "remedy",
    "code",
}
_BOUNDS = ("min", "max", "critical_below", "critical_above")


@dataclass(frozen=True)
class Probe:
    """One declaration.

    Attributes:
        name: The file's name without ``.toml``.
        summary: One sentence on what the probe is for.
        schedule: When its per-step readings are due.
        readings: Name of every reading to what it is.
        histograms: Name of every histogram to what it is.
        expected: The expected ranges with their sources, as declared.
        source: Where the declaration was found.
        detectors: Detector's code to cuts in place of its own, or to ``ignore`` with a reason.
    """

    name: str
    summary: str
    schedule: Schedule
    readings: Mapping[str, str]
    histograms: Mapping[str, str]
    expected: tuple[Mapping[str, Any], ...]
    source: str
    detectors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the declaration as JSON-serialisable values, for ``run.json``."""
        return {
            "summary": self.summary,
            "schedule": {"every": self.schedule.interval, "powers_of": self.schedule.base},
            "readings": dict(self.readings),
            "histograms": dict(self.histograms),
            "expected": [dict(entry) for entry in self.expected],
            "detectors": {code: dict(entry) for code, entry in self.detectors.items()},
        }


def available_probes(folder: Path = Path("probes")) -> dict[str, str]:
    """Return the name of every probe that can be watched and where it comes from.

    Args:
        folder: The project's own declarations, which go before the shipped ones.
    """
    names = {entry.name[:-5]: "shipped" for entry in _shipped().iterdir() if entry.name.endswith(".toml")}
    own = {path.stem: str(path) for path in sorted(folder.glob("*.toml"))} if folder.is_dir() else {}
    return dict(sorted((names | own).items()))


def load_probe(name: str, folder: Path = Path("probes")) -> Probe:
    """Read one declaration, the project's own before the shipped one.

    Raises:
        InputError: no such probe, not TOML, or a key, reading or bound that cannot be used.
    """
    own = folder / f"{name}.toml"
    if own.is_file():
        return parse_probe(name, _read(own), source=str(own))
    known = available_probes(folder)
    if name not in known:
        raise unknown_name("probe", name, [*known, "all"])
    shipped = _shipped() / f"{name}.toml"
    return parse_probe(name, shipped.read_text(encoding="utf-8"), source=f"probes/{name}.toml (shipped)")


def _shipped() -> Traversable:
    """Return the folder of the shipped declarations: of the package, or of a checkout that is imported by its path."""
    try:
        return resources.files("collapse_probe.shipped_probes")
    except ModuleNotFoundError:
        return resources.files("collapse_probe").joinpath("..", "probes")


def load_watched(names: Sequence[str], *, watch_delta: bool, folder: Path = Path("probes")) -> list[Probe]:
    """Return the probes of a training of the founding system, each once, the loss always.

    Args:
        names: As for :func:`load_probes`.
        watch_delta: Add the residual set.
        folder: The project's own declarations.
    """
    return load_probes([*ALWAYS_WATCHED, *(RESIDUAL_SET if watch_delta else ()), *names], folder)


def load_probes(given: Any, folder: Path = Path("probes")) -> list[Probe]:
    """Return the probes that somebody names, each once.

    Args:
        given: A name, the path of a TOML file, a probe, or a list of these; ``all`` stands for every name that there
            is. None: none.
        folder: The project's own declarations, which go before the shipped ones.

    Raises:
        InputError: as :func:`load_probe`, or two different probes of one name.
    """
    several = [] if given is None else list(given) if isinstance(given, list | tuple | set) else [given]
    found: dict[str, Probe] = {}
    for one in several:
        for probe in _probes(one, folder):
            if found.setdefault(probe.name, probe).source != probe.source:
                raise InputError(f"two probes are called {probe.name!r}: {found[probe.name].source}, {probe.source}")
    return list(found.values())


def _probes(given: Any, folder: Path) -> list[Probe]:
    if isinstance(given, Probe):
        return [given]
    if not isinstance(given, str | Path):
        raise InputError(f"probes: a {type(given).__name__} is none: give names of probes, or paths of TOML files")
    if given == "all":
        return [load_probe(name, folder) for name in available_probes(folder)]
    path = Path(given)
    if isinstance(given, Path) or path.suffix == ".toml":
        return [parse_probe(path.stem, _read(path), source=str(path))]
    return [load_probe(given, folder)]


def parse_probe(name: str, text: str, *, source: str) -> Probe:
    """Read a declaration from its text.

    Args:
        name: The probe's name.
        text: TOML.
        source: What error messages begin with.

    Raises:
        InputError: as :func:`load_probe`.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: not TOML: {error}") from None
    _check_keys(content, _KEYS, where=source)
    readings = _texts(content, "readings", is_reading, where=source)
    histograms = _texts(content, "histograms", is_histogram, where=source)
    expected = content.get("expected", [])
    if not isinstance(expected, list):
        raise InputError(f"{source}: [expected] is a single table: write [[expected]]")
    for entry in expected:
        _check_expected(entry, where=source)
    return Probe(
        name=name,
        summary=str(content.get("summary", "")),
        schedule=_schedule(content.get("schedule", {}), where=source),
        readings=readings,
        histograms=histograms,
        expected=tuple(expected),
        source=source,
        detectors=_detectors(content.get("detectors", {}), where=source),
    )


def _detectors(table: Any, *, where: str) -> dict[str, dict[str, Any]]:
    """Return ``[detectors.CODE]`` tables; which codes there are is known to diagnosis alone."""
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise InputError(
            f"{where}: detectors is no table of tables: write [detectors.CP411] and under it critical = -0.3"
        )
    for code, entry in table.items():
        for key, value in entry.items():
            if not (isinstance(value, str) and value if key == "ignore" else _is_number(value)):
                needed = "a reason in words" if key == "ignore" else "a number"
                raise InputError(f"{where}: [detectors.{code}]: {key} is {value!r}, {needed} is needed")
    return {code: dict(entry) for code, entry in table.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _check_keys(content: Mapping[str, Any], known: set[str], *, where: str) -> None:
    for key in content:
        if key not in known:
            raise InputError(f"{where}: {unknown_name('key', key, known)}")


def _unknown(kind: str, name: str) -> InputError:
    known = HISTOGRAM_NAMES if kind == "histogram" else [reading for reading, _ in usual_readings()]
    return unknown_name(kind, name, known)


def _texts(content: Mapping[str, Any], key: str, is_known: Callable[[str], bool], *, where: str) -> dict[str, str]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise InputError(f'{where}: {key} is no table: write [{key}] and under it "TAP/MEASURE" = "what it is"')
    for name in table:
        if not is_known(name):
            raise InputError(f"{where}: {_unknown(key[:-1], name)}")
    return {name: str(text) for name, text in table.items()}


def _check_expected(entry: Any, *, where: str) -> None:
    if not isinstance(entry, dict) or "reading" not in entry:
        raise InputError(f'{where}: an [[expected]] entry names no reading: write reading = "TAP/MEASURE"')
    _check_keys(entry, _EXPECTED_KEYS, where=where)
    for key in ("reading", "relative_to"):
        if key in entry and not (isinstance(entry[key], str) and is_reading(entry[key])):
            raise InputError(f"{where}: {_unknown('reading', str(entry[key]))}")
    bounds = [key for key in _BOUNDS if key in entry]
    if not bounds:
        raise InputError(f"{where}: {entry['reading']} has no bound: give one of {', '.join(_BOUNDS)}")
    for key in bounds:
        if not _is_number(entry[key]):
            raise InputError(f"{where}: {entry['reading']}: {key} is {entry[key]!r}, a number is needed")
    if not entry.get("source"):
        raise InputError(f"{where}: {entry['reading']}: an expected range needs its source")


def _schedule(table: Mapping[str, Any], *, where: str) -> Schedule:
    _check_keys(table, {"every", "powers_of"}, where=f"{where}: [schedule]")
    try:
        return Schedule(interval=table.get("every"), base=table.get("powers_of"))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: [schedule]: {error}") from None
