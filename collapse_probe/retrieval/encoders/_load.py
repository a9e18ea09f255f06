"""Loading an encoder by its library, with this package's module classes where a model names them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sentence_transformers import SentenceTransformer

from ._files import read_json

_OURS = "collapse_probe.respred.modules"


def load_model(folder: Path, *, device: str) -> SentenceTransformer:
    """Return the model in a folder, loaded without trusting any code in it.

    From sentence-transformers 6 on, a class that is not the library's own is imported only where the folder's code is
    trusted too. A model that `collapse-probe train` saved names classes of this package alone: these are handed over.
    """
    ours = _our_classes(folder)
    with_classes = getattr(SentenceTransformer, "_load_with_module_classes", None)
    if ours and with_classes is not None:
        return with_classes(str(folder), ours, device=device, local_files_only=True)
    return SentenceTransformer(str(folder), device=device, local_files_only=True)


def _our_classes(folder: Path) -> dict[str, type]:
    """Return the classes of this package that a model's files name, by that name."""
    if not (folder / "modules.json").is_file():
        return {}
    named = [str(entry["type"]) for entry in read_json(folder / "modules.json")]
    for path in folder.glob("*/router_config.json"):
        named += read_json(path).get("types", {}).values()
    ours = sorted({name for name in named if name.rpartition(".")[0] == _OURS})
    # Imported here: what a model names lies in a layer below this one, and most models name none of it.
    return {name: getattr(import_module(_OURS), name.rpartition(".")[2]) for name in ours}
