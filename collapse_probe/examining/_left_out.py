"""Checkpoints that cannot be examined, among others that can: named, and left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, NotFiniteError
from ._found import Found

_LONGEST = 120


@dataclass(frozen=True)
class Left:
    """A checkpoint that is left out.

    Attributes:
        found: Which one.
        error: Why.
    """

    found: Found
    error: InputError

    @property
    def said(self) -> str:
        """Which one and why, in a few words."""
        why = str(self.error).removeprefix(f"{self.found.folder}: ")
        return f"{self.found.name}: {why if len(why) <= _LONGEST else why[: _LONGEST - 3] + '...'}"

    @property
    def broken(self) -> bool:
        """Whether it is a whole model, whose vectors are not finite: a training that diverged, not a torn file."""
        return isinstance(self.error, NotFiniteError)


@contextmanager
def leaving_out(one: Found, left: list[Left], scratch: Path) -> Iterator[None]:
    """Let errors of a model name its folder; of a checkpoint among others, keep the error and go on.

    Args:
        one: The model that is looked at inside.
        left: Where what is left out is added.
        scratch: Folder of what was put beside models to make them whole, which no message names.

    Raises:
        InputError: a model that was given by itself cannot be used.
    """
    try:
        yield
    except InputError as error:
        found = _of(one, error, scratch)
    except OSError as error:
        if error.filename is None or not _inside(Path(str(error.filename)), (one.folder, scratch)):
            raise
        found = InputError(f"{one.folder}: cannot be read ({error.strerror}: {error.filename})")
    else:
        return
    if not one.among:
        raise found from None
    left.append(Left(one, found))


def check_some(left: Sequence[Left], others: int) -> None:
    """Refuse an examination in which no model is left beside the first, and none that diverged.

    Raises:
        InputError: every one was left out; why the last was.
    """
    if left and others < 1 and not any(one.broken for one in left):
        last = left[-1]
        count = f"none of {len(left)} checkpoints can be examined; " if len(left) > 1 else ""
        raise type(last.error)(f"{last.found.folder.parent}: {count}{last.said}")


def _of(one: Found, error: InputError, scratch: Path) -> InputError:
    """Return an error that begins with the folder of the model that it is of."""
    said = str(error.args[0])
    for part in {str(place) for place in scratch.iterdir()}:
        said = said.replace(part, str(one.folder))
    if str(one.folder) not in said:
        said = f"{one.folder}: {said.removeprefix(f'{one.name}: ')}"
    return type(error)(said)


def _inside(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
