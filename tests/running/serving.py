"""Programs by ``collapse-probe run``, one after the other, forked from a process that has imported what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from running.running_support import QUIET

SERVER = """
import gc, json, os, sys
from collapse_probe.cli import main
if sys.argv[1] == "trains":
    import torch._dynamo, collapse_probe.watching, collapse_probe.diagnosis  # a first step imports it
gc.collect()
gc.freeze()  # else a child copies what it looks through at its end
while request := os.read(3, 65536):
    folder, arguments = json.loads(request)
    child = os.fork()
    if child:
        os.write(4, json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
        continue
    os.chdir(folder)
    for number, name in enumerate(("in", "out", "err")):
        os.dup2(os.open("../" + name, os.O_RDWR), number)
    for number in (3, 4):
        os.close(number)
    sys.argv = ["collapse-probe", "run", *arguments]
    break
else:
    sys.exit()
main()
"""
"""Runs programs one after the other, each in a process that has imported us already."""

Server = Callable[..., tuple[int, str, str]]


@contextmanager
def serving(kind: str) -> Iterator[Server]:
    """Yield a function that runs a program by us in a folder, and returns its exit code, output and errors.

    What it says lies in files beside the folder.

    Args:
        kind: ``trains`` for programs that train; ``plain`` for others.
    """
    (asked, ask), (hear, answer) = os.pipe(), os.pipe()
    # The program's places in a process are 3 and 4, whatever they are here.
    there = f"import os; os.dup2({asked}, 103); os.dup2({answer}, 104); os.dup2(103, 3); os.dup2(104, 4)\n"
    command = [sys.executable, "-c", f"{there}os.closerange(5, 256)\n{SERVER}", kind]
    with subprocess.Popen(command, env=QUIET, pass_fds=(asked, answer), stdin=subprocess.DEVNULL):
        os.close(asked)
        os.close(answer)

        def run(folder: Path, arguments: tuple[str, ...], given: str = "") -> tuple[int, str, str]:
            said = {name: folder.parent / name for name in ("in", "out", "err")}
            for name, path in said.items():
                path.write_text(given if name == "in" else "")
            os.write(ask, json.dumps([str(folder), arguments]).encode())
            code = int(json.loads(os.read(hear, 100)))
            return code, said["out"].read_text(), said["err"].read_text()

        try:
            yield run
        finally:
            os.close(ask)  # at which it ends
            os.close(hear)
