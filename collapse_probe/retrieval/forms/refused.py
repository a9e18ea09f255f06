"""Forms that are recognised and not read, with what to do instead."""

from __future__ import annotations

from ._form import Form
from ._peek import Peek


def _refused(name: str, looks: str, instead: str, *starts: bytes) -> Form:
    def recognise(peek: Peek) -> bool:
        return peek.head.startswith(starts)

    return Form(name=name, holds="nothing", looks=looks, recognise=recognise, instead=instead)


def _is_tar(peek: Peek) -> bool:
    return peek.head[257:262] == b"ustar"


def _is_web_page(peek: Peek) -> bool:
    return peek.text.lstrip()[:15].lower().startswith(("<!doctype html", "<html"))


def _is_pickle(peek: Peek) -> bool:
    return len(peek.head) > 2 and peek.head[0] == 0x80 and 2 <= peek.head[1] <= 5 and peek.head[2] not in b"\0\r\n"


def _is_sets(peek: Peek) -> bool:
    return peek.text.lstrip().startswith('{"set":')


REFUSED = (
    _refused(
        "a Git LFS pointer, not the file itself",
        "`version https://git-lfs...`",
        "run: git lfs pull",
        b"version https://git-lfs",
    ),
    Form(
        name="a web page, not data",
        holds="nothing",
        looks="`<!DOCTYPE html>`, what a failed download leaves",
        recognise=_is_web_page,
        instead="download the file again, from its raw address",
    ),
    Form(
        name="a workbook (xlsx)",
        holds="nothing",
        looks="a spreadsheet",
        recognise=lambda peek: peek.is_zip and b"[Content_Types].xml" in peek.head,
        instead="save the sheet as CSV",
    ),
    Form(
        name="a tar archive",
        holds="nothing",
        looks="`.tar`, `.tar.gz`",
        recognise=_is_tar,
        instead="unpack it (tar xf FILE) and give what it held",
    ),
    Form(
        name="a pickle, which is never loaded",
        holds="nothing",
        looks="`.pkl`, `.pt`",
        recognise=_is_pickle,
        instead="save it as JSON Lines or Parquet",
    ),
    Form(
        name="JSON Lines of sets of texts that mean the same",
        holds="nothing",
        looks='`{"set": [...]}` on every line, of embedding-training-data',
        recognise=_is_sets,
        instead="which text of a set is the query is not said: write query and document",
    ),
    _refused("zstd-packed", "`.zst`", "unpack it: zstd -d FILE", b"\x28\xb5\x2f\xfd"),
    _refused("a SQLite database", "`.db`", "export a table as CSV", b"SQLite format 3"),
    _refused("a PDF", "`.pdf`", "give its texts as JSON Lines", b"%PDF"),
    _refused("a numpy array", "`.npy`", "give texts, not vectors; stored vectors are a feature store", b"\x93NUMPY"),
    _refused("a 7-Zip archive", "`.7z`", "unpack it and give what it held", b"7z\xbc\xaf\x27\x1c"),
)
"""Forms that are refused by name."""
