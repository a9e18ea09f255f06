"""Watching a trainer of sentence-transformers: streams and terms from its losses, scores from its evaluators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..journal import ReferenceInfo
from ..recording import Call, Place, Tap, call, item
from ._attach import Attachments
from ._domains import Domains
from ._evaluators import EvaluatorListener, RetrievalListener, all_of, is_retrieval, leaves, texts, untouched
from ._means import mean_over, sequence_mean
from ._options import Facts, Options
from ._pairs_of_trainer import LABELS, EvaluatorPairs, pairs_of_data, pairs_of_evaluators
from ._reranking import RerankingListener, is_reranking
from ._scoring import compares_by, own_similarity
from ._seam import Seam, dimensions_of, has_seam, loss_modules, roles_of, width_of
from ._text_pairs import TextPairs
from ._trainer import TrainerWatch
from ._triplets import TripletListener, is_triplets
from .transformers import TransformersSource, batch_size, plain_metrics, rows

_FEATURES = ("input_ids", "sentence_embedding", "pixel_values", "input_features", "input_values", "pixel_values_videos")
_LATE = "MultiVectorEncoder"
_OTHERS = {"CrossEncoder", "SparseEncoder", _LATE}
_BASELINE_SHARE = 0.02
_SEQUENCE = "sequential_score"

TO_DO = "give reference=[(query, document), ...], or an evaluator that searches"
"""What gives a trainer's run pairs to be judged by."""

TO_DO_BESIDE = "give an evaluator that scores queries, and it is judged by that"
"""The same where there are no embeddings."""


class SentenceTransformersSource(TransformersSource):
    """A sentence-transformers trainer.

    Args:
        trainer: The trainer.
        options: What the user said.
    """

    def __init__(self, trainer: Any, options: Options) -> None:
        super().__init__(trainer)
        self._options = options
        self._evaluator: Any = None
        self._domains: dict[int, Any] = {}
        self._heard: list[EvaluatorListener] = []
        self._reference: TextPairs | None = None
        self._batch: tuple[Sequence[str], Sequence[str | None]] = ((), ())

    @property
    def embeds(self) -> bool:
        """Whether the model makes an embedding of a text."""
        return not self._kinds & _OTHERS

    @property
    def _kinds(self) -> set[str]:
        kinds = (*type(self.trainer).__mro__, *type(self.model).__mro__)
        return {kind.__name__.removesuffix("Trainer") for kind in kinds}

    @property
    def losses(self) -> list[nn.Module]:
        """The losses: one, or one for each data set."""
        loss = getattr(self.trainer, "loss", None) or self._options.loss
        found = list(loss.values()) if isinstance(loss, Mapping) else [loss]
        return [one for one in found if isinstance(one, nn.Module)]

    @property
    def seam(self) -> bool:
        """Whether embeddings are heard at a loss's own method."""
        return self.finds and any(has_seam(one, self.model) for one in self.losses)  # type: ignore[arg-type]

    @property
    def finds(self) -> bool:
        """Whether query and document are to be found: the user named neither, and there may be some."""
        return self.embeds and not self._named

    @property
    def _named(self) -> bool:
        return self._options.query is not None or self._options.document is not None

    @property
    def _dimensions(self) -> list[int]:
        model = self.model
        if not self.embeds or model is None:
            return []
        whole = width_of(model)
        found = set().union(*(dimensions_of(one, model) for one in self.losses))
        return sorted((one for one in found if whole is None or one < whole), reverse=True)

    def facts(self, options: Options) -> Facts:
        """Say what the trainer knows of its run."""
        trainer, arguments = self.trainer, self.trainer.args
        data = getattr(trainer, "train_dataset", None)
        kind = type(trainer).__name__
        watched = "terms, and each text's mean token," if _LATE in self._kinds else "terms alone"
        notes: dict[str, str] = {}
        if not self.embeds:
            notes["no embeddings"] = (
                f"a {kind} trains no model of embeddings: its loss {watched} are watched; {TO_DO_BESIDE}"
            )
        pairs, about = self._find_reference(options) if self.embeds else (False, None)
        if isinstance(about, str):
            notes["reference pairs"], about = about, None
        accelerator = getattr(trainer, "accelerator", None)
        return Facts(
            similarity=own_similarity(self.model, options.similarity),
            trained_by=next((found for one in self.losses if (found := compares_by(one))), None),
            examples=rows(data),
            batch=batch_size(arguments),
            reference=pairs,
            about=about,
            searching=False,
            seed=getattr(arguments, "seed", None),
            precision=getattr(accelerator, "mixed_precision", None) or "",
            session={
                "trainer": kind,
                "losses": [type(one).__name__ for one in self.losses],
                "prompts": getattr(arguments, "prompts", None) if options.texts else None,
            },
            notes=notes,
            dimensions=self._dimensions,
        )

    def attach(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach events, evaluations and exceptions."""
        super().attach(watch, attachments)
        self._listen_to_evaluator(watch, attachments)

    def listen(self, watch: TrainerWatch, attachments: Attachments) -> None:
        """Attach what hears embeddings, terms, data sets and the norm before clipping."""
        self._listen_to_clipping(watch, attachments)
        self._listen_to_evaluator(watch, attachments)
        for one in self._heard:
            if isinstance(self._reference, EvaluatorPairs) and self._reference.evaluator is one.evaluator:
                one.pairs = self._reference
        model = self.model
        assert model is not None
        watch.trains_beside(self.losses)
        for loss in dict.fromkeys(self.losses):
            Seam(watch, loss, model, attachments, columns=lambda: self._batch, streams=self.seam)
        if (self.finds and not self.seam) or (_LATE in self._kinds and not self._named):
            self._listen_to_model(watch, model)

        def batch(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not watch.paused:
                self._hear_batch(watch, args[1] if len(args) > 1 else kwargs["inputs"])

        if hasattr(self.trainer, "compute_loss"):
            attachments.wrap(self.trainer, "compute_loss", probe="data sets", before=batch)

    def baseline(self, watch: TrainerWatch) -> None:
        """Evaluate before the first step, where that is asked for or cheap."""
        trainer, wanted = self.trainer, self._options.baseline
        evaluator = self._evaluator
        if evaluator is None or wanted is False or getattr(trainer.args, "eval_on_start", False):
            return
        if watch.evaluated_before:
            return
        read = sum(texts(one) for one in leaves(evaluator))
        if wanted is None and not 0 < read <= _BASELINE_SHARE * (rows(trainer.train_dataset) or 0):
            return
        watch.recorder.event("note", f"the evaluator was run before step 1, on {read} texts", subject="baseline")
        watch.pause(True)
        try:
            with untouched([evaluator, *leaves(evaluator)], self.model):
                metrics = evaluator(self.model)
        finally:
            watch.pause(False)
        if isinstance(metrics, Mapping):
            self.evaluated(watch, metrics)

    def evaluated(self, watch: TrainerWatch, metrics: Mapping[str, Any]) -> None:
        """Hear the metrics of an evaluation, but for those that were heard with their rankings."""
        found = plain_metrics(metrics)
        named = sorted(all_of(self._evaluator), key=lambda one: -len(_name(one)))
        for one in named:
            name = _name(one)
            mine = {key: value for key, value in found.items() if name and key.startswith(f"{name}_")}
            found = {key: value for key, value in found.items() if key not in mine}
            if any(one is other.evaluator for other in self._heard):
                if not name:
                    found = {key: value for key, value in found.items() if not _is_score(key, is_triplets(one))}
            elif mine and len(all_of(one)) != 2:  # the mean of one data set is that data set's score
                short = {key.removeprefix(f"{name}_"): value for key, value in mine.items()}
                short, about = mean_over(one, self._heard, short)
                watch.ranked_evaluation(name, short, None, self._domains.get(id(one)), None, about)
        if len(named) > 1 and found.get(_SEQUENCE) in {v for k, v in plain_metrics(metrics).items() if k != _SEQUENCE}:
            # A sequence's own score that is one of its parts' says nothing more.
            del found[_SEQUENCE]
        elif _SEQUENCE in found and (mean := sequence_mean(self._evaluator, self._heard, found[_SEQUENCE])):
            del found[_SEQUENCE]
            domain = self._domains.get(id(self._evaluator))
            watch.ranked_evaluation("mean of the sequence", mean[0], None, domain, None, mean[1])
        if found:
            watch.evaluation("evaluation", found)

    def _find_reference(self, options: Options) -> tuple[Any, ReferenceInfo | str | None]:
        if options.reference is not None:
            return None, None
        model, trainer = self.model, self.trainer
        kinds = any(hasattr(one, "num_labels") for loss in self.losses for one in loss_modules(loss, model))  # type: ignore[arg-type]
        held_out, trained = (getattr(trainer, f"{name}_dataset", None) for name in ("eval", "train"))
        found: Any = pairs_of_data(model, held_out, source="evaluation pairs", seen=False, kinds=kinds)
        if isinstance(found, str):
            found = pairs_of_evaluators(
                model, [o.evaluator for o in self._heard if hasattr(o.evaluator, "embed_inputs")]
            )
        if found is None:
            found = pairs_of_data(model, trained, source="training pairs", seen=True, kinds=kinds)
        if isinstance(found, str):
            return False, f"no reference pairs in the training data: {found}; {TO_DO}"
        self._reference = found[0]
        return found

    def _listen_to_evaluator(self, watch: TrainerWatch, attachments: Attachments) -> None:
        evaluator = getattr(self.trainer, "evaluator", None) or self._options.evaluator
        if evaluator is None or self._evaluator is not None:
            return
        self._evaluator = evaluator
        trained, held_out = (getattr(self.trainer, f"{name}_dataset", None) for name in ("train", "eval"))
        domains = Domains(trained, held_out)
        self._domains = {id(one): domains.of(one) for one in all_of(evaluator)}
        for one in leaves(evaluator):
            kinds = ((is_retrieval, RetrievalListener), (is_triplets, TripletListener))
            kind = next((kind for fits, kind in (*kinds, (is_reranking, RerankingListener)) if fits(one)), None)
            if kind is None or any(one is other.evaluator for other in self._heard):
                continue
            name = _name(one) or "evaluator"
            known = sum(other.collection.split("#")[0] == name for other in self._heard)
            self._heard.append(
                kind(
                    watch,
                    one,
                    collection=name if not known else f"{name}#{known + 1}",
                    domain=self._domains[id(one)],
                    seen=domains.seen,
                    attachments=attachments,
                )
            )

    def _hear_batch(self, watch: TrainerWatch, inputs: Mapping[str, Any]) -> None:
        names = [c.removesuffix(f"_{end}") for c in inputs for end in _FEATURES if c.endswith(f"_{end}")]
        names = list(dict.fromkeys(names))
        tasks = [inputs.get(f"{name}_task") for name in names]
        self._batch = names, [task if isinstance(task, str) else None for task in tasks]
        dataset = inputs.get("dataset_name")
        data = getattr(self.trainer, "train_dataset", None)
        if dataset is None and isinstance(data, Mapping) and len(data) > 1:
            dataset = ", ".join(names)
        watch.recorder.dataset(dataset)

    def _listen_to_model(self, watch: TrainerWatch, model: nn.Module) -> None:
        """Hear the model's calls, in the order of a batch's columns: the losses have no method to listen at."""
        columns = 2
        data = getattr(self.trainer, "train_dataset", None)
        first = next(iter(data.values()), None) if isinstance(data, Mapping) else data
        named = [name for name in getattr(first, "column_names", None) or () if name not in LABELS]
        columns = len(named) or columns
        loss = self.losses[0] if self.losses else model
        streams = list(dict.fromkeys(roles_of(loss, columns)))
        places = []
        whole = width_of(model) if self._dimensions else None
        take = _vectors if whole is None else partial(_of_width, whole)
        for index, (stream, role) in enumerate(streams):
            taken = call(index, take, further=index == len(streams) - 1) if len(streams) > 1 else take
            places.append(Place(Tap(stream=stream, at=model, take=taken, role=role), "", module=model))
            watch.recorder.declare(stream, role=role, where=f"call {index + 1} of the model", rule="model output")
        watch.calls.listen(places)


def _vectors(found: Call) -> Tensor | None:
    """Take the vectors of texts, or those of tokens from a model of late interaction, which makes no others."""
    whole = item("sentence_embedding")(found)
    return item("token_embeddings")(found) if whole is None else whole


def _of_width(width: int, found: Call) -> Tensor | None:
    """Take the vectors of texts where they are whole: a loss may be given fewer columns afterwards."""
    vectors = _vectors(found)
    return vectors if vectors is not None and vectors.shape[-1] == width else None


def _name(evaluator: Any) -> str:
    return str(getattr(evaluator, "name", "") or "")


def _is_score(metric: str, triplets: bool) -> bool:
    """Return whether a metric without an evaluator's name is one that its rankings, or its triplets, give.

    >>> _is_score("cosine_map@100", False), _is_score("map", False), _is_score("mapped_share", False)
    (True, True, False)
    """
    return metric.endswith("_accuracy") if triplets else "@" in metric or "map" in metric.split("_")
