"""Columns with the names that people use for a query, its document and negatives."""

from __future__ import annotations

from ....errors import InputError, setting
from .._form import Form, How, Rows
from .._names import COUPLES, DOCUMENT, QUERY, is_index, plain
from ._roles import Reading, Roles, negative_columns, read_roles, with_score


def find_roles(rows: Rows) -> Roles:
    """Return which columns are the query, the document and negatives, by their names.

    Raises:
        InputError: no such names, or more than one that fits.
    """
    names: dict[str, list[str]] = {}
    for column in rows.columns:
        names.setdefault(plain(column), []).append(column)
    query, document = _couple(rows, names)
    negatives = negative_columns(rows)
    return with_score(Roles(query, (document,), negatives), rows)


def _couple(rows: Rows, names: dict[str, list[str]]) -> tuple[str, str]:
    couples = [couple for couple in COUPLES if all(len(names.get(name, ())) == 1 for name in couple)]
    if len(couples) == 1:
        return names[couples[0][0]][0], names[couples[0][1]][0]
    found = [[c for name in known if name in names for c in names[name]] for known in (sorted(QUERY), sorted(DOCUMENT))]
    if not couples and all(len(part) == 1 for part in found):
        return found[0][0], found[1][0]
    fits = [
        f"{' or '.join(map(repr, part)) or 'no column'} as {role}"
        for part, role in zip(found, ("query", "document"), strict=True)
    ]
    needed = "'query' and 'document' (or 'anchor', 'positive') are needed"
    texts = [c for c in rows.columns if not is_index(c)]
    # Two texts and no more can be meant; of several, which is not for us to say.
    two = texts if len(texts) == 2 else []
    guess = f"query={(found[0] or two or ['COLUMN'])[0]},document={(found[1] or two[1:] or ['COLUMN'])[0]}"
    raise InputError(f"{rows.found}: {', '.join(fits)}; {needed}: give {setting('columns', guess)}")


def _read(rows: Rows, how: How) -> Reading:
    return read_roles(rows, find_roles(rows), min_score=how.min_score)


FORM = Form(
    name="named columns",
    holds="pairs",
    looks="`query`, `anchor` or `question` with `document`, `positive`, `answer`, `passage`, `text` ...; "
    "`sentence1`, `sentence2`; `negative`, `negative_1` ...; `label`, `score` (0 is a negative)",
    recognise=lambda rows: rows.table.named,
    read=_read,
)
