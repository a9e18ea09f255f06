"""What ``run`` is given beside the program: read once in a process of its own, so that the program starts with neither
numpy nor torch, and with nothing that turns out to be missing when the first step is done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, naming_extras, setting, spelt
from ._flags import as_flag

_SAID = "collapse-probe-refuses:"


def look_at(options: Mapping[str, Any], *, ask: bool = True) -> dict[str, Any]:
    """Return options with the paths in them made absolute, since a program may go to another folder.

    Args:
        options: What was given.
        ask: Whether to look what is there: takes a second where ``reference`` or ``probes`` are among them.

    Raises:
        InputError: one is not there, is empty, or cannot be used.
    """
    found = dict(options)
    reference, probes = options.get("reference"), options.get("probes", [])
    if reference is not None and not reference.strip():
        raise InputError(f"{setting('reference')}: an empty path; give a file of pairs, or leave it out")
    if any(not one.strip() for one in probes):
        raise InputError(f"{setting('probe')}: an empty name; `collapse-probe list probes` shows what there is")
    if reference is None and not probes:
        return found
    if ask and (refused := _asked([reference, probes])):
        raise InputError(refused)
    if reference is not None:
        found["reference"] = str(Path(reference).absolute())
    if probes:
        found["probes"] = [_own(one) for one in probes]
    return found


def _own(probe: str) -> str:
    """Return the path of a probe's declaration, where the project has one; else its name."""
    path = Path(probe) if probe.endswith(".toml") else Path("probes", f"{probe}.toml")
    return str(path.absolute()) if path.is_file() else probe


def _asked(given: Sequence[Any]) -> str:
    """Return why another process refuses what is given; nothing where it does not, or cannot be asked."""
    # The package lies where it was imported from, behind everything else: its neighbours stand in for nothing.
    here = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.append({here!r}); from {__name__} import answer; answer()"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, json.dumps(given)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError:
        return ""
    return next((line[len(_SAID) :] for line in done.stdout.splitlines() if line.startswith(_SAID)), "")


def answer() -> None:
    """Print why what is given on the command line is refused; nothing where it is not."""
    reference, probes = json.loads(sys.argv[1])
    for name, value, read in (("reference", reference, _read_pairs), ("probe", probes, _read_probes)):
        try:
            with naming_extras():
                read(value)
        except InputError as error:
            print(f"{_SAID}{spelt(setting(name), as_flag)}: {error.told(as_flag)}")
            return


def _read_pairs(reference: str | None) -> None:
    if reference is not None:
        from ..retrieval import read_pairs

        read_pairs(Path(reference))


def _read_probes(probes: list[str]) -> None:
    from ..recording import load_probes

    found = load_probes(probes)
    if any(one.detectors for one in found):
        from ..diagnosis import check_declared

        check_declared({one.name: one.as_dict() for one in found})
