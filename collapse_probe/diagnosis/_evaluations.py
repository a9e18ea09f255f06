"""A run's evaluations by collection, variant and step, with their per-query scores: none disappears."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..journal import Evaluation, JournalError, LiveRun
from ..journal.vocabulary import split_dimension
from ..statistics import DRAWS, max_t_p, paired_difference, seeded_difference
from ._contract import Interval

REFERENCE = "reference pairs"
"""Name of the reference pairs among the collections."""

Pair = tuple[Evaluation, Evaluation]
"""Two evaluations that are compared: before and after, or without and with."""

DRAWS_A_TEST = 2_000
"""Sign flips for each test that p is multiplied by: a p of .001 can be reached by half."""

_MOST_DRAWS = 100_000
_FAMILIES = (
    {"ndcg"},
    {"mrr", "reciprocal"},
    {"map"},
    {"recall"},
    {"accuracy", "acc", "hit", "hits", "hitrate", "success", "precision"},
)
"""Words in the names of retrieval metrics, all of them better the higher; the preferred first."""

_LOWER_IS_BETTER = {"loss", "error", "err", "perplexity", "ppl", "distance", "mse", "mae", "rmse", "miss", "misses"}


class Scored(NamedTuple):
    """One variant of the model on one collection, by the label that findings have."""

    label: str
    collection: str
    variant: str


class Evaluations:
    """What was scored, the latest of each collection, variant and step.

    Args:
        run: The run.
        role: ``test``, or ``development`` for what checkpoints are chosen by.

    Attributes:
        faults: Per-query files that were asked for and cannot be read, each with a line.
    """

    def __init__(self, run: LiveRun, *, role: str = "test") -> None:
        self._run = run
        self._files: dict[str, Mapping[str, list[float]] | None] = {}
        self._metrics: dict[tuple[str, str], str | None] = {}
        self.faults: dict[str, str] = {}
        records = [
            one for one in run.of(Evaluation) if one.role == role or (role == "test" and one.role == "reference")
        ]
        dimensions = run.config.dimensions
        records = [one for one in records if split_dimension(one.collection)[1] not in dimensions]
        splits: dict[str, set[str]] = {}
        for one in records:
            splits.setdefault(one.collection, set()).add(one.split)
        self.records: dict[tuple[str, str, int], Evaluation] = {}
        for one in records:
            several = len(splits[one.collection]) > 1
            label = f"{one.collection} ({one.split})" if several else one.collection
            self.records[(label, one.variant, one.step)] = one

    @cached_property
    def collections(self) -> list[str]:
        """Labels of the scored collections: the name, with the split where there are several."""
        return list(dict.fromkeys(label for label, _, _ in self.records))

    def judged(self, collection: str) -> str:
        """Return the first variant that verdicts on a collection are about."""
        return self.variants(collection)[0]

    def variants(self, collection: str) -> list[str]:
        """Return the variants that verdicts on a collection are about: the declared one alone, if it was scored.

        Where it was not, all of them count but the raw encoder, the most often scored first.
        """
        counts = Counter(kind for label, kind, _ in self.records if label == collection and kind != "raw")
        declared = self._run.config.judged
        return [declared] if declared in counts or not counts else [kind for kind, _ in counts.most_common()]

    @cached_property
    def subjects(self) -> list[Scored]:
        """Every collection and variant that is judged; all but a collection's first variant are named by it as well."""
        return [
            Scored(f"{name} ({variant})" if at else name, name, variant)
            for name in self.collections
            for at, variant in enumerate(self.variants(name))
        ]

    def of(self, collection: str, variant: str) -> list[Evaluation]:
        """Return one variant's evaluations on a collection, by step."""
        found = [
            (step, one) for (label, kind, step), one in self.records.items() if (label, kind) == (collection, variant)
        ]
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]

    def raw(self, collection: str) -> Evaluation | None:
        """Return the raw encoder's evaluation, the latest; None where there is none.

        None as well where its reference pairs are others than the model's, as their number says: pairs that were made
        of the first batches, beside a user's own for the raw encoder.
        """
        found = self.of(collection, "raw")
        if not found or collection != REFERENCE:
            return found[-1] if found else None
        later = [one for (label, kind, _), one in self.records.items() if label == collection and kind != "raw"]
        numbers = {one.n_queries for one in later}
        same = not numbers or found[-1].n_queries in (None, *numbers) or None in numbers
        return found[-1] if same else None

    def metric(self, collection: str, variant: str | None = None) -> str | None:
        """Return the metric that verdicts on a collection are about; None where it has none of retrieval.

        One that the variant, the first judged one if None, and the raw encoder have throughout, before one that they
        have at times; then one that has scores by query, so that its change has an interval; then by
        :func:`preference`.
        """
        scored = (collection, variant or self.judged(collection))
        if scored not in self._metrics:
            records = [one for kind in (scored[1], "raw") for one in self.of(collection, kind)]
            held = Counter(name for one in records for name in one.metrics if preference(name) is not None)
            by_query = Counter(name for one in records for name in held.keys() & self._content(one).keys())
            self._metrics[scored] = min(
                held,
                key=lambda name: (held[name] < len(records), -min(by_query[name], 2), preference(name)),
                default=None,
            )
        return self._metrics[scored]

    def unknown(self, collection: str) -> list[str]:
        """Return the metrics of a collection that are not known to be of retrieval and better the higher."""
        records = [one for (label, _, _), one in self.records.items() if label == collection]
        return list(dict.fromkeys(name for one in records for name in one.metrics if preference(name) is None))

    def _content(self, one: Evaluation) -> Mapping[str, list[float]]:
        """Return an evaluation's scores by query; empty where none can be read, which is noted."""
        if one.per_query is None:
            return {}
        if one.per_query not in self._files:
            self._files[one.per_query] = self._read(one.per_query)
        return self._files[one.per_query] or {}

    def values(self, one: Evaluation, metric: str) -> dict[str, float] | None:
        """Return the score of every query; None where its file cannot be read, which is noted."""
        content = self._content(one)
        if metric not in content:
            return None
        try:
            found = {str(q): float(v) for q, v in zip(content["query_ids"], content[metric], strict=True)}
        except (TypeError, ValueError):
            found = {"": math.nan}
        if not all(map(math.isfinite, found.values())):
            # Of a model that diverged no score is a number, nor is their mean: the run says so itself.
            if math.isfinite(one.metrics.get(metric, 0.0)):
                self.faults.setdefault(str(one.per_query), f"{one.per_query}: holds a score that is no number")
            return None
        return found

    def readable(self, scored: Sequence[Evaluation], metric: str) -> list[Evaluation]:
        """Return a variant's evaluations without those between others whose file cannot be read, which is noted.

        The first and the last one stay: what is compared with them cannot be said without them.
        """
        kept = []
        for at, one in enumerate(scored):
            self.values(one, metric)
            if at in (0, len(scored) - 1) or one.per_query not in self.faults:
                kept.append(one)
        return kept

    def is_between(self, file: str) -> bool:
        """Return whether a per-query file is of evaluations between others alone, so that it costs no verdict."""
        found = [(key, one) for key, one in self.records.items() if one.per_query == file]
        ends = [(scored[0], scored[-1]) for (name, variant, _), _ in found if (scored := self.of(name, variant))]
        return bool(found) and not any(
            variant == "raw" or one in both for ((_, variant, _), one), both in zip(found, ends, strict=True)
        )

    def change(self, before: Evaluation, after: Evaluation, metric: str) -> tuple[float, Interval] | None:
        """Return the mean change over the queries that both have; None where one of them cannot be read.

        Of a mean over collections, each of which has queries of its own, it is the mean of theirs.
        """
        if after.mean_of:
            return self._mean_change(before, after, metric)
        first, second = self.values(before, metric), self.values(after, metric)
        if first is None or second is None:
            return None
        shared = [query for query in first if query in second]
        pairs = np.array([(first[query], second[query]) for query in shared]).reshape(-1, 2)
        if not len(pairs):
            return None
        return difference(pairs[:, 0], pairs[:, 1])

    def _mean_change(self, before: Evaluation, after: Evaluation, metric: str) -> tuple[float, Interval] | None:
        """Return a mean's change over its collections, None where the scores of one of them cannot be read."""
        if before.mean_of != after.mean_of or not after.mean_of:
            return None
        parts = []
        for name in after.mean_of:
            pair = [self.records.get((name, one.variant, one.step)) for one in (before, after)]
            found = None if None in pair else self._differences(pair, metric)  # type: ignore[arg-type]
            if not found:
                return None
            parts.append(np.array([list(found.values())]))
        found = seeded_difference(*parts)
        return found.mean, Interval(low=found.low, high=found.high, p=found.p_value, n=found.n_queries)

    def pairs(self, collection: str, first: str, second: str) -> list[Pair]:
        """Return the evaluations of two variants at the steps after 0 that both were scored at, by step."""
        both = [{one.step: one for one in self.of(collection, variant)} for variant in (first, second)]
        return [(both[0][step], both[1][step]) for step in sorted(both[0].keys() & both[1].keys() - {0})]

    def p_together(self, pairs: Sequence[Pair], metric: str, *, tests: int = 1) -> list[float]:
        """Return the p of several changes that were looked at, by sign flips of whole queries.

        Changes of the queries that the last one has are judged together, by max-T over them; one of other queries has
        its own p times the number of changes. What has no scores by query cannot be tested, and does not count.

        Args:
            pairs: Evaluations of one collection; the last one is the one in question.
            metric: Of which metric.
            tests: Families like this one: p is going to be multiplied by as many, so it has to be smaller.

        Returns:
            A p for each pair; NaN where its scores are missing or there are fewer than two queries.
        """
        found = [self._differences(pair, metric) for pair in pairs]
        asked = found[-1].keys() if found and found[-1] else {}
        together = [at for at, one in enumerate(found) if one and one.keys() == asked]
        apart = [at for at, one in enumerate(found) if one and one.keys() != asked]
        families = tests * (1 + len(apart))
        draws = min(_MOST_DRAWS, max(DRAWS, DRAWS_A_TEST * families))
        p_values = [math.nan] * len(pairs)
        if len(asked) > 1:
            columns = np.array([[found[at][query] for query in asked] for at in together]).T
            for at, p in zip(together, max_t_p(columns, draws=draws), strict=True):
                p_values[at] = min(1.0, p * (1 + len(apart)))
        for at in apart:
            if len(found[at]) > 1:
                own = max_t_p(np.array(list(found[at].values()))[:, None], draws=draws)[0]
                p_values[at] = min(1.0, own * (len(together) + len(apart)))
        for at, (before, after) in enumerate(pairs):
            if after.mean_of and (mean := self.change(before, after, metric)) is not None:
                p_values[at] = min(1.0, mean[1].p * len(pairs))
        return p_values

    def _differences(self, pair: Pair, metric: str) -> dict[str, float]:
        """Return every shared query's change; empty where the scores of one of the two cannot be read."""
        before, after = (self.values(one, metric) for one in pair)
        if before is None or after is None:
            return {}
        return {query: after[query] - value for query, value in before.items() if query in after}

    def _read(self, file: str) -> Mapping[str, list[float]] | None:
        try:
            return self._run.per_query(file)
        except JournalError as error:
            self.faults.setdefault(file, str(error))
            return None


def preference(metric: str) -> tuple[int, bool, int, str] | None:
    """Return a metric's place among those of retrieval, the smallest first; None for any other, or better the lower.

    nDCG at 10, nDCG, reciprocal rank, average precision, recall, then accuracy, hits and precision; the cut-off nearest
    to 10 first.

    >>> sorted(["hits@1", "mrr@10", "ndcg@5", "cosine_recall@10"], key=preference)
    ['ndcg@5', 'mrr@10', 'cosine_recall@10', 'hits@1']
    >>> preference("loss"), preference("quality")
    (None, None)
    """
    words = set(re.findall("[a-z]+", metric.lower()))
    family = next((at for at, names in enumerate(_FAMILIES) if words & names), None)
    if family is None or words & _LOWER_IS_BETTER:
        return None
    numbers = re.findall("[0-9]+", metric)
    return family, metric != "ndcg@10", abs(int(numbers[-1][:9]) - 10) if numbers else 0, metric


def difference(before: np.ndarray, after: np.ndarray) -> tuple[float, Interval]:
    """Return the mean of after - before with its interval and the p of sign flips."""
    found = paired_difference(before, after)
    p = math.nan if found.n < 2 else found.randomisation_p
    return found.mean, Interval(low=found.low, high=found.high, p=p, n=found.n)
