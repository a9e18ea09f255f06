"""Options that several commands share, and the flags that are made from a recipe's fields."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..respred import Recipe, get_recipe, recipe_choices, recipe_fields
from ..respred.session import Audience, Quiet, Request, default_cache, is_main_process

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_ASKED = tuple(one.name for one in fields(Request))


class PathOf(click.ParamType):
    """A path that is not empty, with ``~`` for the user's home; a folder where something is going to be written.

    Args:
        folder: Whether it has to be a folder, or to become one.
        written: Whether something new is going to be made in it, however often it was written before.
    """

    name = "path"

    def __init__(self, *, folder: bool = False, written: bool = False) -> None:
        self._folder = folder or written
        self._written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, before anything is done with it."""
        text = str(value)
        if not text.strip():
            self.fail("an empty path; a path is needed", param, ctx)
        try:
            path = Path(text).expanduser()
            nearest = next((place for place in (path, *path.parents) if place.exists()), Path())
        except (OSError, RuntimeError, ValueError) as error:
            self.fail(
                f"{text[:80]!r} is no path that can be used ({getattr(error, 'strerror', None) or error})", param, ctx
            )
        if self._folder and not nearest.is_dir():
            self.fail(f"{nearest} is a file, where a folder is needed", param, ctx)
        if self._folder and (self._written or nearest != path) and not _can_be_written(nearest):
            what = "cannot be written" if nearest == path else f"cannot be made, since {nearest} cannot be written"
            self.fail(f"{path} {what}", param, ctx)
        return path


def _can_be_written(folder: Path) -> bool:
    """Try it: what the permissions say is not all that can stand in the way."""
    try:
        os.rmdir(tempfile.mkdtemp(dir=folder, prefix=".collapse-probe-"))
    except OSError:
        return False
    return True


def once(ctx: click.Context, param: click.Parameter, value: tuple[Any, ...]) -> Any:
    """Return the value of an option that can be given once, where a second one would replace the first in silence."""
    if len(value) > 1:
        raise click.BadParameter("is given twice; give it once", ctx=ctx, param=param)
    return value[0] if value else None


def recipe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one flag for every field of a recipe, spelt with hyphens or as the founding document does."""
    for name, kind, text in reversed(recipe_fields()):
        function = _recipe_option(name, kind, text)(function)
    return function


def recipe_from(name: str, values: dict[str, Any]) -> Recipe:
    """Return a recipe with the flags that were given in place of its own values.

    Raises:
        InputError: unknown recipe, or a value out of its range.
    """
    base = get_recipe(name)
    given = {key: value for key, value in values.items() if value is not None}
    return Recipe(**{**base.as_dict(), **given})


reports_option = click.option(
    "--reports",
    type=PathOf(written=True),
    default=Path("reports"),
    show_default=True,
    metavar="DIR",
    help="Folder of the reports.",
)


def pair_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name the recipe, the pairs and the encoder."""
    return _decorated(
        function,
        click.option(
            "--recipe",
            "recipe_name",
            default="respred",
            show_default=True,
            metavar="NAME",
            help="What to train: `collapse-probe list recipes` shows them all.",
        ),
        click.option(
            "--pairs",
            type=PathOf(),
            multiple=True,
            callback=once,
            metavar="FILE|DIR",
            help="Training pairs: JSON Lines, a JSON array, CSV, TSV, Parquet, a saved data set, packed or not; or a "
            "collection, whose train split is used.",
        ),
        click.option(
            "--map",
            "columns",
            multiple=True,
            metavar="ROLE=COLUMN,...",
            help="Columns of --pairs where their names do not tell: query=question,document=title+text, and negative "
            "and score where there are any (score=- takes all rows); columns without names are 1, 2 ...",
        ),
        click.option(
            "--min-score",
            type=float,
            metavar="X",
            help="Rows of --pairs with at least this score are positive; needed where scores are graded.",
        ),
        click.option(
            "--validation-pairs",
            type=PathOf(),
            multiple=True,
            callback=once,
            metavar="FILE",
            help="Held-out pairs; without it a share of --pairs is held out.",
        ),
        click.option(
            "--validation-share",
            type=click.FloatRange(0.0, 0.5, min_open=True),
            default=0.025,
            show_default=True,
            help="Share of --pairs held out for the validation loss, at most 1,000 pairs.",
        ),
        click.option("--encoder", metavar="NAME|DIR", help="Frozen encoder: a sentence-transformers model."),
        click.option("--query-prompt", metavar="TEXT", help="What stands before every query.  [default: the model's]"),
        click.option(
            "--document-prompt", metavar="TEXT", help="What stands before every document.  [default: the model's]"
        ),
    )


def encoding_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that encodes."""
    return _decorated(
        function,
        click.option(
            "--features",
            multiple=True,
            type=PathOf(),
            metavar="DIR",
            help="Read-only feature store made elsewhere with the same encoder. May be repeated.",
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where to train and score; auto takes a GPU where there is one.",
        ),
        click.option(
            "--cache",
            type=PathOf(folder=True),
            default=default_cache,
            metavar="DIR",
            help="Folder of encoded texts and downloads.  [default: ~/.cache/collapse-probe]",
        ),
    )


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that encodes and scores."""
    return _decorated(
        encoding_options(function),
        click.option(
            "--beir",
            multiple=True,
            metavar="PATH|NAME",
            help="Collection to score: a folder or zip in BEIR's layout or another, or a BEIR name to download. "
            "May be repeated.",
        ),
        click.option(
            "--keep-identical-ids/--drop-identical-ids",
            "keep_identical_ids",
            default=None,
            help="Whether a document with its query's own id can be retrieved.  [default: where it is relevant]",
        ),
        click.option("--split", default="test", show_default=True, help="Split of the judgements to score."),
        reports_option,
    )


def _decorated(function: Callable[..., Any], *decorators: Decorator) -> Callable[..., Any]:
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def plain_name(name: str) -> str:
    """Return a name that a folder can have.

    Raises:
        InputError: it has a slash in it, or is none.
    """
    if not name or name in (".", "..") or any(c in name for c in "/\\\0\n"):
        raise InputError(f"--name {json.dumps(name)}: a plain folder name without slashes is needed")
    return name


def audience(run: Path | None = None) -> Audience:
    """Return who is told: the terminal of the process that writes the run, whose folder it may show."""
    from ._display import Terminal

    return Terminal(run) if is_main_process() else Quiet()


def request_from(options: Mapping[str, Any]) -> Request:
    """Return what was asked for by flags; a flag that the command has not keeps its default."""
    named = {"collections": "beir"}
    given = {one: options[named.get(one, one)] for one in _ASKED if named.get(one, one) in options}
    return Request(**given)


def _recipe_option(name: str, kind: Any, text: str) -> Decorator:
    flag = "--" + name.replace("_", "-")
    spellings = [flag] if flag == f"--{name}" else [flag, f"--{name}"]
    text = f"{text[0].upper()}{text[1:]}."
    if kind is bool:
        negative = "--no-" + name.replace("_", "-")
        return click.option(f"{flag}/{negative}", name, default=None, help=text)
    choices = recipe_choices().get(name)
    option_type = click.Choice(choices) if choices else kind
    return click.option(*spellings, name, type=option_type, default=None, help=text)
