"""A folder with corpus, queries and judgements: BEIR's, the hub's, Pyserini's, TREC's and MS MARCO's."""

from __future__ import annotations

from pathlib import Path

from ....errors import InputError
from ..._collections import Collection, IdenticalIds, make_collection
from .._form import Form
from .._peek import Peek
from .judgements import find_judgements, read_judgements
from .parts import NAMES, find_part, left_out, read_texts


def parts_in(folder: Path) -> set[str]:
    """Return which of ``corpus`` and ``queries`` a folder has, by their names."""
    members = [path.name.lower() for path in folder.iterdir()] if folder.is_dir() else []
    return {
        kind
        for kind, names in NAMES.items()
        if any(member == name or member.startswith(f"{name}.") for name in names for member in members)
    }


def is_collection(folder: Path) -> bool:
    """Return whether a folder has a corpus and queries, by their names."""
    return parts_in(folder) == set(NAMES)


def read_folder(
    peek: Peek, *, split: str, name: str, identical_ids: IdenticalIds = "auto", group: str | None = None
) -> Collection:
    """Read a folder with corpus, queries and judgements.

    Raises:
        InputError: a part is missing or malformed.
    """
    parts = {}
    for kind in ("corpus", "queries"):
        files = find_part(peek.path, kind, split=split)  # type: ignore[arg-type]
        if files is None:
            there = ", ".join((peek.members or ())[:6]) or "nothing"
            raise InputError(
                f"{peek.shown}: no {kind}.jsonl in it (there is {there}); "
                "a BEIR folder has corpus.jsonl, queries.jsonl and qrels/"
            )
        parts[kind] = files
    judgements, said = find_judgements(peek.path, split)
    documents: dict[str, str] = {}
    titles: dict[str, str] = {}
    for identifier, title, text, _ in read_texts(parts["corpus"], "corpus", split=split):
        documents[identifier] = f"{title} {text}".strip()
        if title.strip():
            titles[identifier] = title.strip()
    queries = {
        identifier: text.strip() for identifier, _, text, _ in read_texts(parts["queries"], "queries", split=split)
    }
    judged, twice = read_judgements(judgements, split=split)
    return make_collection(
        name,
        split,
        documents=documents,
        titles=titles,
        queries=queries,
        judged=judged,
        source=str(judgements[0]),
        notes=[*said, *twice],
        identical_ids=identical_ids,
        form=_form(peek, parts["corpus"], judgements[0]) + _left_out(parts, split),
        group=group,
    )


def _left_out(parts: dict[str, list[Path]], split: str) -> str:
    """Return which columns of the parts are not read, in words."""
    found = {kind: left_out(files[0], kind, split=split) for kind, files in parts.items()}  # type: ignore[arg-type]
    said = [f"{', '.join(names)} of {kind}" for kind, names in found.items() if names]
    return f"; left out: {'; '.join(said)}" if said else ""


def _form(peek: Peek, files: list[Path], judgements: Path) -> str:
    corpus = files[0]
    plain = (corpus.name, judgements.parent.name) == ("corpus.jsonl", "qrels")
    if plain and judgements.parent.parent == peek.path:
        return "BEIR folder"
    where = judgements.name if judgements.parent == peek.path else f"{judgements.parent.name}/{judgements.name}"
    several = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"folder of {corpus.relative_to(peek.path)}{several}, queries and {where}"


FORM = Form(
    name="folder of corpus, queries and judgements",
    holds="collection",
    looks="BEIR's `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`; the hub's `corpus/`, `queries/`, `qrels/` of "
    "Parquet files, or judgements in `NAME-qrels/` beside it; Pyserini's and TREC's `topics`, `qrels.txt`; MS MARCO's "
    "`collection.tsv`, `queries.dev.tsv`, `qrels.dev.tsv`; ids as `_id`, `id`, `docid` ...; gzipped or not",
    recognise=lambda peek: peek.is_folder and is_collection(peek.path),
    read=read_folder,
)
