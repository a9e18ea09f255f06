"""What is to be run: a script, a module, or an installed command; found first, started later, as Python would."""

from __future__ import annotations

import builtins
import difflib
import importlib.util
import io
import os
import pkgutil
import re
import runpy
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, ModuleSpec, SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InputError, ProgramNotFoundError

_LAUNCHERS = ("torchrun", "accelerate", "deepspeed", "accelerate-launch")
"""Commands that start other processes and train in none of their own."""

_MAINS = ("__main__.py", "__main__.pyc")
"""What of a folder or a zip file is run."""


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        name: A plain name, for its run's folder.
        shown: What it is called in messages.
        start: Runs it in this process; what it raises is its own.
    """

    name: str
    shown: str
    start: Callable[[], None]


def find_program(what: str, arguments: Sequence[str], *, module: bool = False) -> Program:
    """Return the program that somebody names.

    Args:
        what: A script's path (or that of a folder or a zip file with a ``__main__``, or ``-`` for standard input), a
            module's full name, or an installed command.
        arguments: The program's own, as its ``sys.argv`` has them.
        module: Whether it is a module.

    Raises:
        InputError: there is none.
    """
    if module:
        _check_module(what)
        return Program(_plain(what), what, lambda: _start_module(what, arguments))
    path = Path(what)
    if what == "-" and (sys.stdin is None or sys.stdin.closed):
        raise InputError("-: standard input is closed; give a script, or pipe one in: collapse-probe run - < train.py")
    if what == "-" and not sys.stdin.isatty():
        return Program("stdin", "standard input", lambda: _start_stdin(arguments))
    if path.exists():
        return _find_script(path, what, arguments)
    if what in _LAUNCHERS:
        raise InputError(
            f"{what}: starts other processes, which are not watched from here; let it start this command: "
            f"{what} ... -m collapse_probe run train.py"
        )
    command = _command(what) if os.sep not in what and path.suffix != ".py" else None
    if command is None:
        raise InputError(f"{what}: no such script, and no installed command{_near_script(path)}")
    return Program(_plain(what), what, lambda: _start_command(what, command, arguments))


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "program"


# A script


def _find_script(path: Path, what: str, arguments: Sequence[str]) -> Program:
    if not os.access(path, os.R_OK):
        raise InputError(f"{what}: cannot be read")
    if path.suffix == ".ipynb":
        raise InputError(
            f"{what}: a notebook; make a script of it first: jupyter nbconvert --to script {what}; or watch in the "
            "notebook itself: collapse_probe.watch(model, optimizer=optimizer)"
        )
    name = _plain(path.absolute().stem)
    if path.is_dir() or (path.is_file() and zipfile.is_zipfile(path)):
        if not _has_main(path):
            raise InputError(f"{what}: has no __main__.py to run; give a script in it, or -m and a module")
        return Program(name, path.name, lambda: _start_folder(what, arguments))
    return Program(name, path.name, lambda: _start_script(what, arguments))


def _has_main(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in _MAINS)
    with zipfile.ZipFile(path) as file:
        return any(name in file.namelist() for name in _MAINS)


def _near_script(path: Path) -> str:
    try:
        there = [one.name for one in path.parent.iterdir() if one.suffix == ".py"]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.5)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def _start_script(path: str, arguments: Sequence[str]) -> None:
    full = os.path.join(os.getcwd(), path)
    with io.open_code(full) as file:
        source = file.read()
    code = pkgutil.read_code(io.BytesIO(source))  # type: ignore[attr-defined]
    loader = SourceFileLoader if code is None else SourcelessFileLoader
    main = _main(full, loader("__main__", full))
    sys.argv[:] = [path, *arguments]
    _first_in_path(os.path.dirname(os.path.realpath(full)))
    exec(code or compile(source, full, "exec", dont_inherit=True), vars(main))


def _start_stdin(arguments: Sequence[str]) -> None:
    main = _main(None, BuiltinImporter)
    sys.argv[:] = ["-", *arguments]
    _first_in_path("")
    exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True), vars(main))


def _start_folder(path: str, arguments: Sequence[str]) -> None:
    """Run the ``__main__`` of a folder or of a zip file, which is where Python looks for modules first."""
    _first_in_path(os.path.join(os.getcwd(), path).rstrip(os.sep), always=True)
    sys.argv[:] = [path, *arguments]
    _, spec, code = runpy._get_main_module_details()  # type: ignore[attr-defined]
    _run_spec(spec, code)


def _run_spec(spec: ModuleSpec, code: Any) -> None:
    main = _main(spec.origin, spec.loader)
    vars(main).update(__spec__=spec, __package__=spec.parent, __cached__=spec.cached)
    exec(code, vars(main))


def _main(file: str | None, loader: Any) -> ModuleType:
    """Put an empty ``__main__`` in the place of ours, which stays alive: its frames still run."""
    main = ModuleType("__main__")
    if "__annotations__" in vars(sys.modules.get("__main__", main)):
        main.__annotations__ = {}
    vars(main).update(__builtins__=builtins, __loader__=loader, __package__=None, __spec__=None)
    if file is not None:
        vars(main).update(__file__=file, __cached__=None)
    _kept.append(sys.modules.get("__main__"))
    sys.modules["__main__"] = main
    return main


_kept: list[Any] = []


def _first_in_path(folder: str, *, always: bool = False) -> None:
    """Put a folder where Python has the script's, in the place of this command's own."""
    if not sys.flags.safe_path:
        sys.path[:1] = [folder]
    elif always:
        sys.path.insert(0, folder)


# A module


def _check_module(name: str) -> None:
    """Refuse a module whose first part is not there; whether the rest is can only be told by importing it."""
    if not all(part.isidentifier() for part in name.split(".")):
        near = name.removesuffix(".py").replace(os.sep, ".")
        raise InputError(f"{name!r} is no module's name: give it with dots, such as {near or 'package.module'}")
    if name.endswith(".py") and Path(name).is_file():
        raise InputError(f"{name}: a script, no module's name; leave out -m")
    top = name.partition(".")[0]
    if top in sys.modules:
        return
    here = [os.getcwd(), *sys.path[1:]] if not sys.flags.safe_path else sys.path
    if importlib.machinery.PathFinder.find_spec(top, here) is None and top not in sys.builtin_module_names:
        known = [one.name for one in pkgutil.iter_modules(here)]
        raise InputError(f"no module {name!r}{_near(top, known, name)}")


def _near(part: str, known: Iterable[str], name: str) -> str:
    near = difflib.get_close_matches(part, known, n=1, cutoff=0.8)
    return f"; did you mean {name.replace(part, near[0], 1)!r}?" if near else ""


class _NotThereError(ImportError):
    pass


def _start_module(name: str, arguments: Sequence[str]) -> None:
    _first_in_path(os.getcwd())
    sys.argv[:] = ["-m", *arguments]
    try:
        # As `python -m`, `pdb -m` and `cProfile -m` find it: a package's __main__, too.
        _, spec, code = runpy._get_module_details(name, _NotThereError)  # type: ignore[attr-defined]
    except _NotThereError as error:
        raise ProgramNotFoundError(
            f"no module {name!r} that can be run: {_inside(name) or ' '.join(str(error).split())}"
        ) from None
    sys.argv[0] = spec.origin
    _run_spec(spec, code)


def _inside(name: str) -> str:
    """Return what a module could have been meant to be, among those of the last package that is there."""
    package, _, last = name.rpartition(".")
    found = sys.modules.get(package)
    names = [one.name for one in pkgutil.iter_modules(getattr(found, "__path__", []))]
    near = difflib.get_close_matches(last, names, n=1)
    return f"did you mean {package}.{near[0]}?" if near else ""


# An installed command


def _command(name: str) -> Any:
    from importlib.metadata import entry_points

    return next(iter(entry_points(group="console_scripts", name=name)), None)


def _start_command(name: str, command: Any, arguments: Sequence[str]) -> None:
    file = shutil.which(name) or name
    sys.argv[:] = [file, *arguments]
    _first_in_path(os.path.dirname(file))
    _main(file, None)
    sys.exit(command.load()())
