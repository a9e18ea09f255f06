"""Whether a model needs code of its own: none that comes with a model is ever run."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..retrieval import read_json

_OWN = ("sentence_transformers.", "collapse_probe.")
_MAPPED = ("AutoConfig", "AutoModel", "AutoTokenizer")
"""What an encoder is loaded by; a model's other classes are for other uses of it."""


def check_code(folder: Path) -> tuple[str, ...]:
    """Refuse a model that needs code of its own, and return what is to be said of code that is not run.

    Classes that a library has by the same name are taken from there. What they do may differ, so that is said.

    Raises:
        InputError: it names classes that no library has.
    """
    said: list[str] = []
    found = read_json(folder / "modules.json", missing=[])
    modules = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    for place in (folder, *_module_folders(folder, modules)):
        config = settings_in(place / "config.json")
        said += _mapped(place, config, "config.json", by_type=True)
        said += _mapped(place, settings_in(place / "tokenizer_config.json"), "tokenizer_config.json", by_type=False)
        activation = config.get("activation_function")
        if isinstance(activation, str) and "." in activation and not activation.startswith("torch."):
            raise _needed(folder, activation, f"{place.relative_to(folder) / 'config.json'}: activation_function")
        types = settings_in(place / "router_config.json").get("types")
        for kind in types.values() if isinstance(types, dict) else ():
            if not str(kind).startswith(_OWN):
                raise _needed(folder, kind, f"{place.relative_to(folder) / 'router_config.json'}")
    for kind in (str(one.get("type", "")) for one in modules):
        if kind and not kind.startswith(_OWN):
            raise _needed(folder, kind, "modules.json")
    return tuple(dict.fromkeys(said))


def _mapped(place: Path, config: dict[str, Any], file: str, *, by_type: bool) -> list[str]:
    """Return what is said of the classes in ``auto_map`` that a library has; of a model, it has to know its type.

    Raises:
        InputError: it has not.
    """
    mapped = config.get("auto_map")
    if not isinstance(mapped, dict):
        return []
    # It takes two seconds to import, and what names no such classes needs none of it.
    library: Any = import_module("transformers")
    known = not by_type or config.get("model_type") in library.CONFIG_MAPPING
    said = []
    for name in (one for one in _MAPPED if mapped.get(one)):
        given = mapped[name]
        of_it = [str(one) for one in (given if isinstance(given, list | tuple) else [given]) if one]
        classes = [one.rpartition(".")[2] for one in of_it]
        if not known or not any(hasattr(library, one) for one in classes):
            kind = f"{config['model_type']}, " if config.get("model_type") else ""
            raise _needed(place, f"{kind}{of_it[0]}", f"{file}: auto_map")
        said.append(f"its own code ({of_it[0]}) is not run: the library's {classes[0]} is used, which may differ")
    return said


def _needed(folder: Path, what: object, where: str) -> InputError:
    return InputError(
        f"{folder}: needs code of its own ({what}, {where}), and code that comes with a model is never run here; "
        "give a model of its library's own classes"
    )


def _module_folders(folder: Path, modules: Sequence[dict[str, Any]]) -> list[Path]:
    """Return the folders of modules, and those in them, as a router has.

    Raises:
        InputError: one is outside of the model's.
    """
    paths = [str(one.get("path") or "") for one in modules]
    for path in paths:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError(f"{folder}: modules.json names {path}, which is not in it; download or save it again")
    found = [folder / path for path in paths if path not in ("", ".")]
    return [place for one in found for place in (one, *sorted(one.glob("*/"))) if place.is_dir()]


def settings_in(path: Path) -> dict[str, Any]:
    """Return the settings in a JSON file; none where there is no file.

    Raises:
        InputError: it holds something else.
    """
    found = read_json(path, missing={})
    if not isinstance(found, dict):
        raise InputError(f"{path}: a {type(found).__name__}, where an object with settings is needed")
    return found
