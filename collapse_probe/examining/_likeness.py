"""How alike the weights of two models are: whether one can have begun as the other."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

_LARGEST = 1 << 25
"""Values of one matrix, at most: larger ones are left out (own choice)."""

_ENOUGH = 1 << 27
"""Values that are read in all, at most (own choice): under a second."""


def likeness(first: Path, other: Path) -> float | None:
    """Return the cosine of the matrices that two models have by the same names and shapes; None without any.

    Args:
        first: Folder of a model.
        other: Folder of another.

    Returns:
        In [-1, 1]: 1 for the same weights, about 0 where both were drawn at random; None where there is nothing to
        compare, or values are not finite.
    """
    from safetensors import SafetensorError

    try:
        with ExitStack() as stack:
            before, after = (_matrices(folder, stack) for folder in (first, other))
            return _cosine(before, after)
    except (OSError, SafetensorError):
        return None


def _cosine(before: dict[str, Any], after: dict[str, Any]) -> float | None:
    product = old = new = read = 0.0
    for mine, theirs in _both(before, after):
        size = before[mine].get_slice(mine).get_shape()
        values = size[0] * size[1]
        if size != after[theirs].get_slice(theirs).get_shape() or values > _LARGEST or read + values > _ENOUGH:
            continue
        read += values
        a, b = (one[name].get_tensor(name).float().flatten() for one, name in ((before, mine), (after, theirs)))
        product, old, new = product + float(a @ b), old + float(a @ a), new + float(b @ b)
    found = product / (old * new) ** 0.5 if old > 0 and new > 0 else float("nan")
    return found if found == found and abs(found) != float("inf") else None


def _both(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names of the same matrix: a head puts the name of its encoder before them."""
    bare = {name.partition(".")[2]: name for name in after}
    found = []
    for name in sorted(before):
        inside = name.partition(".")[2]
        other = name if name in after else inside if inside in after else bare.get(name)
        found += [(name, other)] if other is not None else []
    return found


def _matrices(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Return the open file of every matrix of floats of a model, by its name."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        file = stack.enter_context(safe_open(path, framework="pt"))
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            if len(part.get_shape()) == 2 and part.get_dtype() in ("F64", "F32", "F16", "BF16"):
                found[name] = file
    return found
