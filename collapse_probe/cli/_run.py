"""``collapse-probe run``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import InputError, setting, spelt
from ._flags import as_flag

EPILOG = """\b
Examples:
  collapse-probe run train.py --epochs 1
  collapse-probe run --run runs/mine --query encoder.pooler --document encoder.pooler train.py --lr 1e-4
  collapse-probe run -m package.train --config mine.yaml
  collapse-probe run an-installed-command --its-own arguments
  torchrun --nproc-per-node 2 -m collapse_probe run train.py

Options of collapse-probe stand before the script; all that follows it is the script's. Lines of ours go to standard
error. The exit code is the script's own; `collapse-probe diagnose RUN` exits 1 where the run is unhealthy.
"""

_REFERENCE = re.compile(r"reference=heldout\.jsonl")
_SIDES = re.compile(r"Give(\s+)query=(\s+)and(\s+)document=,")


class Leading(click.Command):
    """A command whose own options end at the program's name: what follows is the program's, also after ``-m``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put an end of our options after the module's name."""
        flags = {name: one for one in self.params for name in (*one.opts, *one.secondary_opts)}
        at = 0
        while at < len(args) and args[at].startswith("-") and args[at] != "--":
            name, equals, _ = args[at].partition("=")
            option = flags.get(name)
            if name == "-m" and at + 1 < len(args):
                args = [*args[: at + 2], "--", *args[at + 2 :]]
                break
            at += 1 if equals or option is None or getattr(option, "is_flag", False) else 2
        return super().parse_args(ctx, args)


@click.command(
    "run",
    cls=Leading,
    epilog=EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "ignore_unknown_options": False,
        "allow_interspersed_args": False,
    },
)
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="The run's.  [default: runs/SCRIPT]"
)
@click.option("--query", metavar="PATH", help="Module whose output are the queries' embeddings, such as model.pooler.")
@click.option("--document", metavar="PATH", help="Module whose output are the documents'; may be the same.")
@click.option("--reference", metavar="FILE", help="Held-out pairs to read, for a model that encodes text.")
@click.option("--similarity", type=click.Choice(["cosine", "dot", "euclidean"]), help="How the model scores.")
@click.option("--examples", type=click.IntRange(min=1), metavar="N", help="How many distinct training examples.")
@click.option("--every", type=click.IntRange(min=1), metavar="N", help="Steps between two readings.  [default: 10]")
@click.option("--reference-every", type=click.IntRange(min=1), metavar="N", help="The same for the reference pairs.")
@click.option("--probe", "probes", multiple=True, metavar="NAME", help="Further readings; may be given several times.")
@click.option(
    "--on-collapse",
    type=click.Choice(["ignore", "warn", "stop"]),
    help="While it trains: say a finding in one line; stop asks a trainer to stop, too.  [default: ignore]",
)
@click.option("--texts/--no-texts", default=None, help="Whether texts of your data may be written.  [default: texts]")
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does; its arguments follow.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT|COMMAND [ARGS]...")
def command(
    folder: Path | None, module: str | None, program: tuple[str, ...], probes: tuple[str, ...], **options: Any
) -> Callable[[], None]:
    """Run a training script, unchanged, and watch what it trains."""
    from ..running import Asked, Said, find_program, run_program
    from ._given import look_at
    from ._output import columns

    if module is None and not program:
        raise InputError("nothing to run: give a script, such as collapse-probe run train.py, or -m MODULE")
    if folder is not None and not folder.name.strip(". "):
        raise InputError(f"{setting('run', folder)}: names no folder; give one, such as runs/mine")
    if folder is not None and folder.is_file():
        raise InputError(f"{setting('run', folder)}: is a file, where a folder is needed; choose another name")
    what, *arguments = program if module is None else (module, *program)
    found = find_program(what, arguments, module=module is not None)
    given = {name: one for name, one in options.items() if one is not None} | (
        {"probes": list(probes)} if probes else {}
    )
    # Of several processes the first one reads them, and refuses for all.
    given = look_at(given, ask=not _is_another())
    asked = Asked(run=folder, options=given, width=columns(), typed=_before(what, arguments, module=module is not None))
    said = Said(quiet=_is_another, spell=_spell)
    return lambda: run_program(found, asked, said)


def _before(what: str, arguments: list[str], *, module: bool) -> list[str]:
    """Return what of the command line stands before the program; nothing where it is no command line of ours."""
    typed, own = sys.argv[1:], [*(["-m"] if module else []), what, *arguments]
    before = len(typed) - len(own)
    return typed[:before] if before > 0 and typed[0] == "run" and typed[before:] == own else []


def _is_another() -> bool:
    """Return whether this process is another than the first of its training; imports no torch before the program."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() != 0
    return os.environ.get("RANK", "0") != "0"


def _spell(text: str) -> str:
    """Return a message with settings as flags."""
    flags = rf"Say\1{as_flag('query', None)}\2and\3{as_flag('document', None)},"
    text = _REFERENCE.sub(as_flag("reference", "heldout.jsonl"), text)
    return spelt(_SIDES.sub(flags, text), as_flag)
