"""Prints the page of forms: ``python -m collapse_probe.retrieval.forms > docs/inputs.md``."""

from __future__ import annotations

from . import FORMS
from ._form import Holds
from ._names import BODY, COUPLES, DOCUMENT, QRELS, QUERY, ROW_ID

_SECTIONS: dict[Holds, tuple[str, str, str]] = {
    "rows": (
        "How rows are laid out",
        "Rows of any meaning, in a file or a folder. Each may be packed (gzip, bzip2, xz, or zip), and texts may "
        "be UTF-8 or, with a byte-order mark, UTF-16 and UTF-32. The form is told from the content; the file's "
        "ending does not matter.",
        "form",
    ),
    "pairs": (
        "What rows mean as training pairs (`--pairs`)",
        "The first of these that fits reads them. A document that is a passage with a title is read as title, a "
        "space, and text. A query with several documents gives several pairs. `--map "
        "query=COLUMN,document=COLUMN` (and `negative=`, `score=`, `score=-` for all rows; `title+text` joins "
        "two) names columns where their names do not tell. Rows whose label is 0 are negatives; graded scores "
        "need `--min-score`. Negatives are kept and counted; no recipe uses them yet. A collection gives the "
        "relevant pairs of its train split.",
        "form",
    ),
    "collection": (
        "Collections (`--beir`, `--dev`)",
        "A folder, its zip, or a BEIR name. Parts may have any of the forms of rows. Ids are compared as text, "
        "stripped on both sides. Judged documents that the corpus lacks stay judged, as in BEIR and trec_eval. A "
        "document with its query's id is left out, as in BEIR, but only if it is not judged relevant "
        "(`--keep-identical-ids`, `--drop-identical-ids`).",
        "layout",
    ),
    "nothing": ("Recognised and not read", "Each is refused by its name, with what to do instead.", "form"),
}


def page() -> str:
    """Return the documentation of every form, in Markdown."""
    lines = ["# Inputs", "", "<!-- Written by `python -m collapse_probe.retrieval.forms`. -->", ""]
    for holds, (title, text, label) in _SECTIONS.items():
        forms = [form for form in FORMS if form.holds == holds]
        last = "what to do" if holds == "nothing" else None
        lines += [f"## {title}", "", text, "", _row([label, "what it looks like", *([last] if last else [])])]
        lines.append(_row(["---"] * (3 if last else 2)))
        lines += [_row([form.name, form.looks, *([form.instead] if last else [])]) for form in forms]
        lines.append("")
    return "\n".join([*lines, *_names(), ""])


def _names() -> list[str]:
    """Return the names that columns are known by."""
    kinds = {
        "Query": sorted(QUERY),
        "Document": sorted(DOCUMENT),
        "Query and document together": [" + ".join(couple) for couple in COUPLES],
        "Negatives": ["negative", "negatives", "neg", "hard_negative", "negative_1", "..."],
        "Which rows are positive": [
            "label",
            "score",
            "relevance",
            "similarity",
            "rating",
            "grade",
            "is_duplicate",
            "...",
        ],
        "Id of a document": ROW_ID["corpus"],
        "Id of a query": ROW_ID["queries"],
        "Text of a document": ("title", *BODY["corpus"]),
        "Text of a query": BODY["queries"],
        "Judgements: query": QRELS[0],
        "Judgements: document": QRELS[1],
        "Judgements: grade": QRELS[2],
    }
    text = (
        "Case does not matter, and neither do spaces, hyphens and dots for underscores. Where several columns fit, the "
        "file is refused and `--map` decides; `--map query=1,document=2` names columns without names by their numbers."
    )
    rows = [_row([kind, ", ".join(f"`{name}`" for name in names)]) for kind, names in kinds.items()]
    return ["## Names of columns", "", text, "", _row(["what", "names"]), _row(["---", "---"]), *rows]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(page(), end="")
