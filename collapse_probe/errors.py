"""The exception that the command line turns into a one-line message and exit code 2.

A leaf of the standard library alone, so every layer may import it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_MARK = "\x1e"
_CODES = re.compile(r"\x1b\[[0-9;]*m")
"""Colours of a terminal."""

_SETTING = re.compile(f"{_MARK}([a-z_]+)(?:=([^{_MARK}]*))?{_MARK}")

Spell = Callable[[str, str | None], str]


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what arrived, what is needed, what to write.

    The message is a single line. Where a file is at fault it begins with the file's name, and its line
    where there is one: ``pairs.jsonl:17: ...``. What to give is named by :func:`setting`, so that the command line
    shows flags and everybody else keyword arguments.
    """

    def __str__(self) -> str:
        return spelt(super().__str__(), lambda name, value: name if value is None else f"{name}={value}")

    def told(self, spell: Spell) -> str:
        """Return the message with each setting spelt by a function of its name and value."""
        return spelt(super().__str__(), spell)


class ProgramNotFoundError(InputError):
    """A program that was to be run turned out not to be there, when what it is part of was imported."""


class NotFiniteError(InputError):
    """A model gives vectors with values that are not finite: its training diverged, or its files are damaged."""


def in_one_line(error: BaseException, *, messages: bool = True, longest: int = 300) -> str:
    """Return an error's type and message in one line, or its type alone: what somebody's code says may be any text.

    Args:
        error: What was raised.
        messages: Whether its message may be shown.
        longest: Characters of the message, at most.

    >>> in_one_line(ValueError("no such\\n  text")), in_one_line(ValueError("no such text"), messages=False)
    ('ValueError: no such text', 'ValueError (its message is left out: texts=False)')
    """
    kind, said = type(error).__name__, " ".join(_CODES.sub("", str(error)).split())[:longest]
    if not messages:
        return f"{kind} (its message is left out: texts=False)"
    return f"{kind}: {said}" if said else kind


def setting(name: str, value: object = None) -> str:
    """Return a setting to be named in an error's message, spelt when the message is shown.

    Args:
        name: Its keyword.
        value: What to give; None names the setting alone.

    >>> str(InputError(f"graded scores: give {setting('min_score', 0.5)}, or leave out {setting('split')}"))
    'graded scores: give min_score=0.5, or leave out split'
    """
    given = "" if value is None else "=" + " ".join(str(value).split(chr(10)))
    return f"{_MARK}{name}{given}{_MARK}"


def spelt(text: str, spell: Spell) -> str:
    """Return a text with each setting spelt by a function of its name and value; the value None names it alone."""
    return _SETTING.sub(lambda found: spell(found[1], found[2]), text)


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, most: int | None = None, listed: str = ""
) -> InputError:
    """Return the error for a name that is not among the known ones, with the nearest known one.

    Args:
        kind: What the name should be, such as ``"recipe"``.
        name: What arrived.
        known: The names that exist.
        most: How many of them are listed, the shortest first; all if None.
        listed: Command that lists them; the error names it, and the three nearest, in their place.

    >>> str(unknown_name("recipe", "resprd", ["baseline", "respred"]))
    "unknown recipe 'resprd': did you mean 'respred'? Known: baseline, respred"
    """
    names = sorted(known)
    if listed:
        some = " or ".join(repr(one) for one in difflib.get_close_matches(name, names))
        return InputError(f"unknown {kind} {name!r}: {f'did you mean {some}? ' if some else ''}`{listed}` lists them")
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    if most is not None and len(names) > most:
        shown = sorted(sorted(names, key=lambda one: (one.count("."), len(one)))[:most])
        return InputError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(shown)} and {len(names) - most} more")
    return InputError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}")


_EXTRAS = {
    "train": "accelerate beir datasets huggingface_hub pyarrow pytrec_eval requests safetensors sentence_transformers "
    "tokenizers transformers",
    "report": "matplotlib",
    "embedded": "networkx sklearn",
    "lightning": "lightning pytorch_lightning",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "alembic mlflow sqlalchemy",
    "trackio": "trackio",
}
"""What is installed only when it is asked for: extra to the packages that are imported."""


@contextmanager
def naming_extras() -> Iterator[None]:
    """Turn the absence of a package that an extra brings into one line that says which.

    >>> with naming_extras():
    ...     raise ModuleNotFoundError(name="matplotlib.axes")
    Traceback (most recent call last):
    ...
    collapse_probe.errors.InputError: matplotlib is not installed: pip install "collapse-probe[report]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = next((extra for extra, packages in _EXTRAS.items() if package in packages.split()), None)
        if extra is None:
            raise
        raise InputError(f'{package} is not installed: pip install "collapse-probe[{extra}]"') from None


def find_lazily(package: str, module: str, name: str) -> Any:
    """Return a name of a module that is imported now, for a package's ``__getattr__``.

    Raises:
        InputError: what it needs is not installed; the message says which extra brings it.
    """
    with naming_extras():
        return getattr(import_module(f"{package}.{module}"), name)
