"""Which versions of what matters a run was made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata


def versions_of(packages: Iterable[str], *, missing: str | None = None) -> dict[str, str]:
    """Return Python's version, and those of distributions by name.

    Args:
        packages: Their names.
        missing: What stands for one that is not installed; None leaves it out.

    >>> sorted(versions_of(["numpy", "no-such-thing"])), versions_of(["no-such-thing"], missing="-")["no-such-thing"]
    (['numpy', 'python'], '-')
    """
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            if missing is not None:
                found[package] = missing
    return found
