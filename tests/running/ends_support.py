"""Programs that are run by Python and by us: sources by what they do. None needs more than the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field

GUARD = "if __name__ == '__main__':\n    "


@dataclass(frozen=True)
class Case:
    """A program.

    Attributes:
        source: Its text; None where it is none of a script of its own.
        arguments: What stands behind ``python``.
        files: Others beside it, by path; one called ``.pyz`` becomes a zip file with that ``__main__.py``.
        given: What it reads.
        links: Names that point elsewhere.
        silent: Whether it leaves us no moment in which anything could be said.
    """

    source: str | bytes | None = None
    arguments: tuple[str, ...] = ("script.py",)
    files: dict[str, str | bytes] = field(default_factory=dict)
    given: str = ""
    links: dict[str, str] = field(default_factory=dict)
    silent: bool = False


def _kill(number: str) -> str:
    return f"import os, signal\nprint('a', flush=True); os.kill(os.getpid(), signal.{number}); print('b')"


ENDS: dict[str, Case] = {
    name: Case(source)
    for name, source in {
        "nothing": "print('fine')",
        "an empty file": "",
        "exit 3": "import sys; print('a'); sys.exit(3)",
        "exit with nothing": "exit()",
        "exit with a text": "raise SystemExit('no more')",
        "exit with True and 300": "import sys; sys.exit(True if len(sys.argv) > 1 else 300)",
        "an error": "def f():\n    raise ValueError\ntry:\n    f()\nexcept ValueError as e:\n    raise KeyError from e",
        "an error in an error": "def f():\n    try: 1/0\n    except Exception: {}['a']\nf()",
        "a group of errors with a note": "e = ExceptionGroup('g', [ValueError(1)]); e.add_note('note'); raise e",
        "an error of generated code": "exec(compile('1/0', '<made>', 'exec'))",
        "an error of a script that it runs": "import runpy; open('a.py', 'w').write('1/0'); runpy.run_path('a.py')",
        "an error that is no exception": "class Mine(BaseException): pass\nraise Mine('x')",
        "a syntax error": "print('a'\n",
        "an indentation that fits nothing": "if 1:\n    a = 1\n  b = 2",
        "no Python": "this is a text, and no program\n",
        "a name that is not there": "import nowhere_at_all",
        "a relative import": "from .beside import x",
        "interrupted": "raise KeyboardInterrupt",
        "interrupted by the signal": "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT); time.sleep(9)",
        "interrupted twice": "import atexit, os, signal, time\n"
        "atexit.register(print, 'at exit')\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "finally:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(9)",
        "an interrupt that is caught": "import os, signal, sys, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\nexcept KeyboardInterrupt: sys.exit(130)",
        "terminated": _kill("SIGTERM"),
        "its own hook": "import sys; sys.excepthook = lambda kind, value, trace: print(value, trace.tb_lineno); 1/0",
        "its own hook goes on to the one before": "import sys\nbefore = sys.excepthook\n"
        "print(before is sys.__excepthook__)\nsys.excepthook = lambda *a: (print('mine'), before(*a))\n1/0",
        "its own hook fails": "import sys\ndef hook(kind, value, trace): {}['a']\nsys.excepthook = hook\n1/0",
        "its own hook exits": "import sys\nsys.excepthook = lambda *a: sys.exit(6)\n1/0",
        "its own handler": "import os, signal, sys; signal.signal(signal.SIGTERM, lambda n, f: sys.exit(7)); "
        "os.kill(os.getpid(), signal.SIGTERM); signal.pause()",
        "its own handler of Ctrl-C": "import os, signal; signal.signal(signal.SIGINT, lambda n, f: print('h'))\n"
        "os.kill(os.getpid(), signal.SIGINT); print('goes on')",
        "a handler that goes on to the one before": "import os, signal\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "print(before, signal.signal(signal.SIGTERM, lambda *found: callable(before) and before(*found)))\n"
        "os.kill(os.getpid(), signal.SIGTERM); print('goes on')",
        "its own handler is taken off": "import os, signal\n"
        "signal.signal(signal.SIGTERM, signal.signal(signal.SIGTERM, signal.SIG_IGN)); print('a', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM); print('b')",
        "a handler of asyncio": "import asyncio, os, signal\nasync def f():\n"
        "    loop, came = asyncio.get_running_loop(), asyncio.Event(); loop.add_signal_handler(15, came.set)\n"
        "    os.kill(os.getpid(), 15); await came.wait(); print('came', loop.remove_signal_handler(15))\n"
        "asyncio.run(f()); print(signal.getsignal(15))",
        "what is done at exit": "import atexit, sys\natexit.register(print, 1); atexit.register(print, 2)\n"
        "atexit.register(lambda: print(repr(sys.last_value)))\n1/0",
        "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0.01); 1/0\n"
        "print(asyncio.run(asyncio.sleep(0.01, 3)), flush=True); asyncio.run(f())",
        "asyncio is interrupted": "import asyncio, os, signal\nasync def f():\n"
        "    os.kill(os.getpid(), signal.SIGINT); await asyncio.sleep(9)\nasyncio.run(f())",
        "an error in a thread": "import threading\ndef f(): 1/0\nt = threading.Thread(target=f); t.start(); t.join()",
        "a thread that goes on": "import threading, time\n"
        "threading.Timer(0.1, print, ['goes on']).start(); print('end'); 1/0",
        "standard output is closed": "import sys; print('a'); sys.stdout.close()",
        "standard output is closed below": "import os; print('a'); os.close(1)",
        "standard output is nothing": "import sys; sys.stdout = None; print('a')",
        "another standard error": "import io, sys; sys.stderr = io.StringIO(); 1/0",
        "its folder is deleted": "import os; os.mkdir('d'); os.chdir('d'); os.rmdir('../d'); print(1)\n1/0",
        "it goes elsewhere": "import os; os.chdir('/'); print(os.getcwd())\n1/0",
        "a child": "import os, sys\nchild = os.fork()\nif not child: sys.exit(3)\nprint(os.waitpid(child, 0)[1])",
        "a child that raises": "import os\nchild = os.fork()\nif not child: 1/0\nprint(os.waitpid(child, 0)[1])",
        "a child that goes on": "import os\nchild = os.fork()\n"
        "if child: os.waitpid(child, 0)\nprint(bool(child), flush=True)",
        "pool of processes": "import multiprocessing as m\ndef f(x): return x + 1\n"
        + GUARD
        + "for kind in ('fork', 'spawn'):\n        with m.get_context(kind).Pool(1) as p: print(p.map(f, [1, 2]))",
        "processes that raise": "import multiprocessing as m\ndef f(): 1/0\n"
        + GUARD
        + "for kind in ('fork', 'forkserver'):\n"
        "        p = m.get_context(kind).Process(target=f, name='P'); p.start(); p.join(); print(p.exitcode)",
        "what is pickled of it": "import dataclasses, pickle\n@dataclasses.dataclass\nclass A:\n    x: int = 1\n"
        "def f(): pass\nprint(pickle.loads(pickle.dumps(A(3))), pickle.loads(pickle.dumps(f)) is f, A.__module__)",
        "a source that is asked for": "import inspect\ndef f(): return 1\nprint(inspect.getsource(f), __annotations__)",
        "builtins": "x: int = 1\nprint(__builtins__, sorted(globals()), type(__loader__), __import__('__main__').x)",
        "warnings": "import warnings; warnings.warn('old', DeprecationWarning); assert (1, 'a')",
        "arguments that are wrong": "import argparse; argparse.ArgumentParser().parse_args(['--no'])",
        "a recursion": "import sys\nsys.tracebacklimit = 2\ndef f(): f()\nf()",
    }.items()
}
ENDS |= {
    name: Case(source, silent=True)
    for name, source in {
        "killed": _kill("SIGKILL"),
        "hung up": _kill("SIGHUP"),
        "at once": "import os; print('a', flush=True); os._exit(5)",
        "aborted": "import os; os.abort()",
        "becomes another": "import os, sys; sys.stdout.flush(); os.execv(sys.executable, ['python', '-c', 'print(2)'])",
        "becomes itself": "import os, sys\nprint(sys.argv, flush=True)\n"
        "if len(sys.argv) < 2: os.execv(sys.executable, [sys.executable, __file__, 'again'])",
        "standard error is closed": "import sys; print('a'); sys.stderr.close()",
        "standard error is closed below": "import os; print('a'); os.close(2); 1/0",
    }.items()
}
SHOWS = "import sys, os\nprint(__name__, __file__, sys.argv, sys.path[0], __package__, sys.stdin.read())\n"
ENDS |= {
    "standard input": Case(SHOWS + "print(input('p'))", given="typed\n"),
    "a program from standard input": Case(None, ("-", "a"), given="import sys\nprint(sys.argv, sys.path[0])\n1/0"),
    "a program from a device": Case(None, ("/dev/stdin",), given="print(1)"),
    "a name with spaces": Case(None, ("my script.py", "a b", "--x=y", "-m", "--run"), {"my script.py": SHOWS + "1/0"}),
    "another suffix": Case(None, ("./tool", "--help"), {"tool": SHOWS + "def f(): 1/0\nf()"}),
    "a folder below": Case(None, ("a/../a/s.py",), {"a/s.py": SHOWS + "import beside", "a/beside.py": "1/0"}),
    "a link": Case(
        None, ("s.py",), {"a/t.py": SHOWS + "import beside", "a/beside.py": "1/0"}, links={"s.py": "a/t.py"}
    ),
    "neighbours that are called as ours are": Case(
        "import errors, utils, numpy\nprint(errors.A, utils.A, numpy.A)",
        files=dict.fromkeys(("errors.py", "utils.py", "numpy.py", "click.py"), "A = 1"),
    ),
    "a folder with a main": Case(None, ("f", "a"), {"f/__main__.py": SHOWS + "import beside", "f/beside.py": "1/0"}),
    "an archive": Case(None, ("a.pyz", "a"), {"a.pyz": SHOWS + "1/0"}),
    "an encoding": Case(b"# coding: latin-1\nprint(ascii('\xe4'))"),
    "a mark in front": Case(b"\xef\xbb\xbfprint(1)\r\nprint(2)\r\n"),
    "a module": Case(
        None, ("-m", "p.s", "a", "-m"), {"p/__init__.py": "print('init')", "p/s.py": SHOWS + "from . import s"}
    ),
    "a module raises": Case(None, ("-m", "p.s"), {"p/__init__.py": "", "p/s.py": "def f(): 1/0\nf()"}),
    "a module's package raises": Case(None, ("-m", "p.s"), {"p/__init__.py": "1/0", "p/s.py": ""}),
    "a module's package lacks something": Case(
        None, ("-m", "p.s"), {"p/__init__.py": "import nowhere_a", "p/s.py": ""}
    ),
    "a module is no Python": Case(None, ("-m", "mod"), {"mod.py": "print('a'"}),
    "a module is interrupted": Case(None, ("-m", "mod"), {"mod.py": "raise KeyboardInterrupt"}),
    "a package with a main": Case(None, ("-m", "p"), {"p/__init__.py": "", "p/__main__.py": SHOWS + "sys.exit(4)"}),
    "a package without a file": Case(None, ("-m", "p.s"), {"p/s.py": "print(__spec__.name, __package__)"}),
    "a module of Python's": Case(None, ("-m", "json.tool"), given="[1]"),
}

TRAINS = """
import os, signal, sys, threading, torch
torch.manual_seed(0)
def train(steps, at=None, do=None):
    model = torch.nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        if step == at:
            do()
        x = torch.randn(8, 6)
        scores = model(x) @ model(x + 0.1).T
        torch.nn.functional.cross_entropy(scores, torch.arange(8)).backward()
        optimizer.step()
        optimizer.zero_grad()
    print(model.weight.sum().item(), flush=True)
def fail():
    raise RuntimeError("no more")
def kill(number):
    return lambda: os.kill(os.getpid(), number)
"""
"""What the trainings begin with."""

DONE = {"script": ("completed", 4)}
TRAININGS: dict[str, tuple[str, int, str, dict[str, tuple[str, int]]]] = {
    "raises in the first step": ("train(4, 0, fail)", 1, "", {}),
    "raises in the middle": ("train(4, 2, fail)", 1, "", {"script": ("failed", 2)}),
    "raises in the end, with a hook": (
        "sys.excepthook = lambda *a: print(a[1])\ntrain(4); fail()",
        1,
        "4 no more",
        {"script": ("failed", 4)},
    ),
    "ends at once": ("train(4); os._exit(3)", 3, "4", {"script": ("unfinished", 4)}),
    "is interrupted": ("train(4, 2, kill(signal.SIGINT))", -2, "", {"script": ("interrupted", 2)}),
    "trains two models one after the other": (
        "train(4); torch.manual_seed(0); train(3)",
        0,
        "4 3",
        DONE | {"script-2": ("completed", 3)},
    ),
    "trains in a thread that goes on": (
        "threading.Timer(0.1, train, [4]).start(); print('end', flush=True)",
        0,
        "end 4",
        DONE,
    ),
    "trains in a child": (
        "child = os.fork()\nif not child: train(3); sys.exit(4)\nprint(os.waitpid(child, 0)[1] // 256 + 100)",
        0,
        "3 104",
        {},
    ),
    "closes standard error in a folder that it deleted": (
        "import torch._dynamo; os.mkdir('d'); os.chdir('d'); os.rmdir('../d'); train(4); os.close(2)",
        0,
        "4",
        DONE,
    ),
    "has a file where its runs would be": ("open('runs', 'w').close(); train(4)", 0, "4", {}),
}
"""What they do then; their exit code, what they print (a number below 100: the weights after so many steps), and what
is heard of it: the status of each run and its steps."""
