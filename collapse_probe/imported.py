"""Calling back when somebody imports a module. A leaf of the standard library, so every layer may import it."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class WhenImported(importlib.abc.MetaPathFinder):
    """Calls a function with each of some modules: now, where it is there, or once it is imported.

    Args:
        names: Full names of the modules.
        imported: Called with each module when its code has run.
    """

    def __init__(self, names: Iterable[str], imported: Callable[[ModuleType], None]) -> None:
        self._names = tuple(names)
        self._imported = imported
        self._looking = False

    def start(self) -> None:
        """Begin, with those that are there already."""
        sys.meta_path.insert(0, self)
        for name in self._names:
            if name in sys.modules:
                self._imported(sys.modules[name])

    def close(self) -> None:
        """Call nobody any more; may be called twice."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the module's own spec, whose loader tells when the module is there."""
        if name not in self._names or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            load = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                self._imported(module)

            loader.exec_module = exec_module
        return spec
