"""Whether an evaluator's texts are of the domain that is trained on: by the texts, else by the data set's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ._pairs_of_trainer import texts_of_data

_BEIR = {
    "arguana", "climatefever", "cqadupstack", "dbpedia", "fever", "fiqa", "fiqa2018", "hotpotqa", "msmarco", "nfcorpus",
    "nq", "quora", "quoraretrieval", "scidocs", "scifact", "touche2020", "treccovid",
}  # fmt: skip
_SPLITS = {"", "dev", "development", "eval", "evaluation", "heldout", "test", "train", "val", "valid", "validation"}
_NO_TEXTS = ("ids", "headers", "names")
_COMPARED = 2000
_SHARE = 0.1
_READ = 100_000


class Domains:
    """Tells the domain of evaluators by what a trainer trains on, and by its own evaluation data.

    Evaluation data are of the domain that is trained on unless both have a data set's name and these differ.

    Args:
        trained: The training data.
        held_out: The evaluation data.
    """

    def __init__(self, trained: Any, held_out: Any = None) -> None:
        self._names = _names(trained)
        self._known = texts_of_data(trained, most=_READ)
        self._trained = frozenset(map(hash, self._known)) if 0 < _most_rows(trained) <= _READ else None
        others = _names(held_out)
        if not self._names or not others or self._names & others:
            self._known |= texts_of_data(held_out)

    @property
    def seen(self) -> Callable[[str, str], bool] | None:
        """Tells of a document's id and text whether it is trained on; None where not all that is trained on is read."""
        trained = self._trained
        return None if not trained else lambda _, text: hash(text) in trained

    def of(self, evaluator: Any) -> Literal["in", "out"] | None:
        """Return ``in`` for texts or a name of the training data, ``out`` for BEIR and NanoBEIR, None if unknown.

        A tenth of the queries or of the documents is enough: a held-out split shares documents, never queries.
        """
        for column in columns(evaluator):
            compared = column[:: -(-len(column) // _COMPARED)]
            if sum(text in self._known for text in compared) >= _SHARE * len(compared):
                return "in"
        name = _plain(getattr(evaluator, "name", ""))
        if any(name.startswith(one) and name.removeprefix(one) in _SPLITS for one in self._names):
            return "in"
        return "out" if name.startswith("nanobeir") or name.removeprefix("nano") in _BEIR else None


def columns(evaluator: Any) -> list[Sequence[str]]:
    """Return an evaluator's lists of texts: its queries, its documents, its sentences."""
    lists = {
        name: value
        for name, value in getattr(evaluator, "__dict__", {}).items()
        if isinstance(value, Sequence) and not isinstance(value, str | bytes) and not name.endswith(_NO_TEXTS)
    }
    return [value[:] for value in lists.values() if len(value) and isinstance(value[0], str)]


def _most_rows(data: Any) -> int:
    """Return the rows of the largest of some data sets; 0 where one does not say."""
    parts = list(data.values()) if isinstance(data, Mapping) else [data]
    return 0 if not all(hasattr(part, "__len__") for part in parts) else max(map(len, parts), default=0)


def _names(data: Any) -> set[str]:
    """Return the names that data sets give themselves; none where they are made from files or lists."""
    parts = list(data.values()) if isinstance(data, Mapping) else [data]
    infos = [getattr(part, "info", None) for part in parts]
    named = [getattr(one, "dataset_name", None) for one in infos if getattr(one, "dataset_name", None)]
    return {_plain(one) for one in named}


def _plain(name: Any) -> str:
    return "".join(letter for letter in str(name or "").lower() if letter.isalnum())
