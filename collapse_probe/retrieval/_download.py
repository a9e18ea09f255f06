"""BEIR collections by name: downloaded with beir, checked against the published MD5, kept."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from ..errors import InputError
from ._collections import Collection, IdenticalIds
from .forms import read_collections

BEIR_URL = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/{name}.zip"

BEIR_MD5 = {
    "arguana": "8ad3e3c2a5867cdced806d6503f29b99",
    "climate-fever": "8b66f0a9126c521bae2bde127b4dc99d",
    "dbpedia-entity": "c2a39eb420a3164af735795df012ac2c",
    "fever": "5a818580227bfb4b35bb6fa46d9b6c03",
    "fiqa": "17918ed23cd04fb15047f73e6c3bd9d9",
    "hotpotqa": "f412724f78b0d91183a0e86805e16114",
    "msmarco": "444067daf65d982533ea17ebd59501e4",
    "nfcorpus": "a89dba18a62ef92f7d323ec890a0d38d",
    "nq": "d4d3d2e48787a744b6f6e691ff534307",
    "quora": "18fb154900ba42a600f84b839c173167",
    "scidocs": "38121350fc3a4d2f48850f6aff52e4a9",
    "scifact": "5f7d1de60b170fc8027bb7898e2efca1",
    "trec-covid": "ce62140cb23feb9becf6270d0d1fe6d1",
    "webis-touche2020": "46f650ba5a527fc69e0a6521c5a23563",
}
"""Published MD5 of the archives, from the table in BEIR's README."""


def open_collections(
    name_or_path: str, *, split: str = "test", cache: Path, identical_ids: IdenticalIds = "auto"
) -> list[Collection]:
    """Open a collection by its path, or one of BEIR by its name from the cache or the network.

    Args:
        name_or_path: What is there goes before a name.
        split: Split of the judgements.
        cache: Folder of the downloaded collections.
        identical_ids: As in :func:`make_collection`.

    Returns:
        The collection; several where a folder holds several.

    Raises:
        InputError: neither a path nor a name, no network, or an archive with another MD5.
    """
    if not name_or_path.strip():
        raise InputError(f"{name_or_path!r}: a collection's path or BEIR name is needed")
    path = Path(name_or_path)
    if not path.exists():
        if name_or_path not in BEIR_MD5:
            near = difflib.get_close_matches(path.name, [*BEIR_MD5, *_beside(path)], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{name_or_path}: no such folder or file, and no BEIR name ({', '.join(BEIR_MD5)}){hint}")
        path = cache / name_or_path
        if not path.is_dir():
            _fetch(name_or_path, path)
    return read_collections(path, split=split, identical_ids=identical_ids)


def _beside(path: Path) -> list[str]:
    return [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []


def _fetch(name: str, folder: Path) -> None:
    """Download, check and unpack beside the final place, then rename: a half one is never seen."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as temporary:
        archive = Path(temporary) / f"{name}.zip"
        url = BEIR_URL.format(name=name)
        _download(url, archive)
        found = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
        if found != BEIR_MD5[name]:
            raise InputError(f"{url}: MD5 {found}, where BEIR publishes {BEIR_MD5[name]}; nothing was kept, try again")
        unpacked = Path(temporary) / "unpacked"
        _unpack(archive, unpacked)
        top = unpacked / name if (unpacked / name).is_dir() else unpacked
        try:
            os.replace(top, folder)
        except OSError:
            # Another process may have been faster; a collection that is there was checked like this one.
            if not folder.is_dir():
                shutil.move(top, folder)


def _download(url: str, archive: Path) -> None:
    from beir.util import download_url

    try:
        download_url(url, str(archive))
    except (OSError, ValueError) as error:
        reason = type(error).__name__
        raise InputError(f"{url}: could not be downloaded ({reason}); fetch it by hand and give its folder") from None


def _unpack(archive: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.namelist():
                if not (target / member).resolve().is_relative_to(target.resolve()):
                    raise InputError(f"{archive.name}: member {member!r} would leave the folder; not unpacked")
            file.extractall(target)
    except zipfile.BadZipFile:
        raise InputError(f"{archive.name}: not a zip archive; try again") from None
