"""What other tools train on: the same idea under each tool's own names."""

from __future__ import annotations

from .._form import Form, How, Rows
from .._names import plain
from ._roles import Reading, Roles, negative_columns, read_roles, with_score


def _tool(name: str, looks: str, *, query: str, positives: str) -> Form:
    def columns(rows: Rows) -> dict[str, str]:
        return {plain(column): column for column in rows.columns}

    def read(rows: Rows, how: How) -> Reading:
        found = columns(rows)
        roles = Roles(found[query], (found[positives],), negative_columns(rows))
        return read_roles(rows, with_score(roles, rows), min_score=how.min_score)

    return Form(
        name=name,
        holds="pairs",
        looks=looks,
        recognise=lambda rows: rows.table.named and {query, positives} <= set(columns(rows)),
        read=read,
    )


FLAG_EMBEDDING = _tool(
    "FlagEmbedding's fine-tuning data",
    "`query`, `pos`, `neg`: lists of texts; scores, prompt and type are left out",
    query="query",
    positives="pos",
)
TEVATRON = _tool(
    "tevatron's training data",
    "`query`, `positive_passages`, `negative_passages`: passages of title and text",
    query="query",
    positives="positive_passages",
)
DPR = _tool(
    "DPR's training data",
    "`question`, `positive_ctxs`, `negative_ctxs`, `hard_negative_ctxs`: passages of title and text",
    query="question",
    positives="positive_ctxs",
)
