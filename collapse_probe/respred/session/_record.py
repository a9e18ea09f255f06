"""What ``run.json`` holds of a run of the founding system: its configuration, and what going on with it needs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ...errors import InputError
from ...journal import CollectionInfo, ReferenceInfo, Run, RunConfig, versions_of
from ...retrieval import Collection, Overlap
from ..recipes import Recipe, Similarity, head_modules, head_streams
from ._request import Request

if TYPE_CHECKING:
    from ...recording import Probe
    from ..training import TrainingData
    from ._inputs import Inputs
    from ._prepare import Preparation

_PACKAGES = ("collapse-probe", "torch", "sentence-transformers", "transformers", "numpy", "pytrec-eval-terrier")


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """``RunConfig.session`` of a run, typed: what going on, evaluating and ablating need.

    Attributes:
        recipe: What was trained.
        options: What the user asked for, as :meth:`Request.to_json` wrote it.
        encoder: The encoder's identity.
        raw_similarity: What the raw encoder is scored by.
        pairs: What the pairs were; None where nothing was trained.
        preflight: What preflight said.
        embedded: Which inputs were the bundled ones.
        watch: Names of the watched probes.
        git: Commit of the folder that the command ran in.
    """

    recipe: Recipe
    options: Mapping[str, Any]
    encoder: Mapping[str, Any]
    raw_similarity: Similarity
    pairs: Mapping[str, Any] | None = None
    preflight: Sequence[Mapping[str, Any]] = ()
    embedded: Sequence[str] = ()
    watch: Sequence[str] = ()
    git: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the record of a run.

        Raises:
            InputError: ``run.json`` has none, or not one that this version can read.
        """
        where, content = run.folder / "run.json", run.config.session
        recipe, options = content.get("recipe"), content.get("options")
        if not isinstance(recipe, dict) or not isinstance(options, dict):
            raise InputError(
                f"{where}: no recipe and options in it, since another program trained the run: train it and score it "
                "there, by w.evaluation(NAME, METRICS, per_query=...) of its watch or by its trainer's evaluator"
            )
        try:
            read = Recipe.from_dict(recipe)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        rest = {name: content[name] for name in ("pairs", "git") if content.get(name)}
        return cls(
            recipe=read,
            options=options,
            encoder=content.get("encoder") or {},
            # Version 0.1 scored the raw encoder by the recipe's similarity.
            raw_similarity=content.get("raw_similarity", read.similarity),
            **{name: content.get(name) or () for name in ("preflight", "embedded", "watch")},
            **rest,
        )

    def request(self, *, cache: Path) -> Request:
        """Return what the user asked for."""
        # Version 0.1 encoded without a prompt, whatever the model has.
        without = {} if "prompts" in self.encoder else {"query_prompt": "", "document_prompt": ""}
        return Request.from_json({**self.options, **without}, cache=cache)

    def to_json(self) -> dict[str, Any]:
        """Return ``RunConfig.session``."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        lists = {name: list(plain[name]) for name in ("preflight", "embedded", "watch")}
        return {**plain, "recipe": self.recipe.as_dict(), **lists}


def run_config(prepared: Preparation, *, name: str, probes: Sequence[Probe], command: str) -> RunConfig:
    """Return the configuration of a run that is about to begin."""
    import torch

    inputs, request = prepared.inputs, prepared.request
    found = prepared.shared or [None] * len(inputs.collections)
    session = SessionRecord(
        recipe=prepared.recipe,
        options=request.to_json(),
        encoder=inputs.encoder.identity.as_dict(),
        raw_similarity=prepared.raw_similarity,
        pairs=_pairs(inputs, prepared.data),
        preflight=[finding.as_dict() for finding in prepared.preflight],
        embedded=inputs.embedded,
        watch=[probe.name for probe in probes],
        git=_git_state(),
    )
    return RunConfig(
        name=name,
        **recipe_config(prepared.recipe),
        seed=request.seed,
        device=prepared.device,
        precision=request.precision,
        threads=torch.get_num_threads(),
        collections=tuple(_collection(one, overlap) for one, overlap in zip(inputs.collections, found, strict=True)),
        development=None if inputs.development is None else _collection(inputs.development, None),
        examples=None if prepared.data is None else len(prepared.data.query),
        probes={probe.name: probe.as_dict() for probe in probes},
        versions=versions_of(_PACKAGES, missing="not installed"),
        command=command,
        session=session.to_json(),
    )


def recipe_config(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of a run's configuration that follow from its recipe alone."""
    return {
        "similarity": recipe.similarity,
        "trained_by": recipe.similarity,
        "judged": recipe.scoring_path,
        "trains": recipe.trains,
        "streams": head_streams(recipe),
        "modules": head_modules(recipe),
        "reference": ReferenceInfo(source="training pairs", seen=True) if recipe.trains else None,
    }


def _collection(collection: Collection, overlap: Overlap | None) -> CollectionInfo:
    trained = None if overlap is None else {"distinct": overlap.trained, "equal": overlap.equal, "near": overlap.near}
    return replace(
        collection.info,
        domain=None if overlap is None else overlap.domain,
        seen_queries=[] if overlap is None else list(overlap.queries),
        trained_documents=trained,
    )


def _pairs(inputs: Inputs, data: TrainingData | None) -> dict[str, Any] | None:
    if inputs.pairs is None or data is None:
        return None
    described = {
        "source": inputs.pairs.source,
        "fingerprint": inputs.pairs.fingerprint,
        "form": inputs.pairs.form,
        "notes": list(inputs.pairs.notes),
        "negatives": inputs.pairs.n_negatives,
        "vectors": data.digest,
        "train": len(data.query),
        "validation": len(data.validation_query),
    }
    if inputs.validation is not None:
        described["validation_source"] = inputs.validation.source
        described["validation_fingerprint"] = inputs.validation.fingerprint
    return described


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the folder that the command runs in, and whether it has changes; None outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=5)
    return result.stdout.strip()
