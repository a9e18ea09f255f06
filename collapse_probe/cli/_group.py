"""The ``collapse-probe`` command, whose subcommands are imported only when they are used."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import click

from .. import __version__
from ..errors import InputError, ProgramNotFoundError, naming_extras, unknown_name
from ._environment import OUR_POLICY
from ._flags import as_flag
from ._output import lasting_output

COMMANDS = {
    "train": ("_train", "Train a recipe, watch it, score every epoch, and write the failure analysis."),
    "run": ("_run", "Run a training script, unchanged, and watch what it trains."),
    "preflight": ("_preflight", "Judge a recipe on its data before any training step."),
    "ablate": ("_ablate", "Run a run again with fields changed, and say what each change does."),
    "examine": ("_examine", "Judge finished models against what they began as; no journal is needed."),
    "evaluate": ("_evaluate", "Score a run's raw encoder, step 0 and every epoch on more collections."),
    "compare": ("_compare", "Print the performance table of several runs, with intervals."),
    "diagnose": ("_diagnose", "Say whether a run is healthy, what happened, and since when."),
    "follow": ("_follow", "Show how a run goes on while another process writes it."),
    "explain": ("_explain", "Say what a detector reads, how it judges, and what to do."),
    "report": ("_report", "Write the failure analysis of a run again, from its journal."),
    "export": ("_export", "Write a run into TensorBoard, W&B, MLflow, Trackio, CSV or Parquet."),
    "card": ("_card", "Print a section about a run for a model card."),
    "list": ("_list", "List recipes, probes, measures, detectors, or forms of inputs."),
}
"""Every command: the module that holds it, and its line of help."""

EXAMPLES = """\b
Examples:
  collapse-probe train --watch-delta
  collapse-probe train --watch-delta --pairs pairs.jsonl --beir path/to/scifact --beir nfcorpus
  collapse-probe run train.py --epochs 1
  collapse-probe preflight --recipe respred --pairs pairs.jsonl
  collapse-probe ablate runs/respred --plan causes --seeds 3
  collapse-probe compare runs/baseline runs/respred
  collapse-probe evaluate runs/respred --beir path/to/nfcorpus
  collapse-probe examine all-MiniLM-L6-v2 my-finetuned --beir scifact --pairs dev.jsonl
  collapse-probe diagnose runs/respred
  collapse-probe follow runs/respred
  collapse-probe explain CP411
  collapse-probe report runs/respred
  collapse-probe export runs/respred --to tensorboard
  collapse-probe card runs/respred
  collapse-probe list recipes

Exit codes: 0 fine, 1 unhealthy run, 2 wrong use, 70 a fault of collapse-probe, 74 the system (disk, permission,
memory) after the work began, 130 interrupted, 143 terminated. COLLAPSE_PROBE_TRACEBACK=1 shows where 70 and 74 arose.
"""

FIRST = """collapse-probe finds out that, when and why an embedding model collapses while it trains.

Run your training script as it is, and see what happened in it:
  collapse-probe run train.py

Or watch it with one line in the script, and ask afterwards:
  with collapse_probe.watch(model, optimizer=optimizer, run="runs/mine") as w:
  collapse-probe diagnose runs/mine

Look at a run that another process writes:
  collapse-probe follow runs/mine

See it find a collapse, without data of yours (two minutes, the second time seconds):
  collapse-probe train --watch-delta

Prove the cause, by training again with one thing changed:
  collapse-probe ablate runs/respred --plan causes --seeds 5

All commands: collapse-probe --help"""
"""What a newcomer sees, who types the command alone."""

TRACEBACK = "COLLAPSE_PROBE_TRACEBACK"
"""Set to ``1``, what ends a command with 70 or 74 is shown with its traceback."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return the command."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f".{COMMANDS[cmd_name][0]}", __package__).command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is asked for.

        Raises:
            InputError: there is none of that name.
        """
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            raise unknown_name("command", name, COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog=EXAMPLES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="collapse-probe")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Find out that, when and why an embedding model collapses while it trains."""
    if ctx.invoked_subcommand is None:
        click.echo(FIRST)


def main() -> None:
    """Run the command line: one-line errors, and the exit codes that the help names."""
    with lasting_output() as lost, _terminated_as_interrupted() as signals:
        code = _exit_code()
    if callable(code):
        _run(code)
        return
    if lost:
        code = _broken(lost[0])
    if code != 130:
        sys.exit(code)
    with lasting_output():
        click.echo(f"collapse-probe: {'terminated' if signals else 'interrupted'}", err=True)
    sys.exit(143 if signals else 130)


@contextmanager
def _terminated_as_interrupted() -> Iterator[list[int]]:
    """Treat SIGTERM, which schedulers and containers send, as Ctrl-C; yields the signals that came."""
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        # Python lets no other thread handle signals.
        yield came
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(program: Callable[[], None]) -> None:
    """Run somebody's program with its own output, signals and exit code, outside of all that is ours."""
    if OUR_POLICY:
        os.environ.pop("OMP_WAIT_POLICY", None)
    try:
        program()
    except ProgramNotFoundError as error:
        click.echo(f"collapse-probe: {error.told(as_flag)}", err=True)
        sys.exit(2)


def _exit_code() -> int | Callable[[], None]:
    try:
        with naming_extras():
            result = group(standalone_mode=False)
    except InputError as error:
        click.echo(f"collapse-probe: {error.told(as_flag)}", err=True)
        return 2
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"collapse-probe: {_one_line(error)}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as error:
        return _broken(error)
    return result if isinstance(result, int) or callable(result) else 0


def _broken(error: Exception) -> int:
    """Say in one line what ended a command that was used rightly: the system, or a fault of ours."""
    shown = os.environ.get(TRACEBACK) == "1"
    system = isinstance(error, OSError | MemoryError) or type(error).__name__ == "OutOfMemoryError"
    said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    if not system:
        where = "above" if shown else f"shown by {TRACEBACK}=1"
        said = f"a fault of collapse-probe ({said}); please report it with its traceback, {where}"
    with lasting_output():
        if shown:
            traceback.print_exception(error)
        click.echo(f"collapse-probe: {said}", err=True)
    return 74 if system else 70


def _one_line(error: click.ClickException) -> str:
    """Return a click error in one line, with where to read on."""
    text = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{text}; see {context.command_path} --help" if context is not None else text
