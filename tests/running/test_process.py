"""A program that is run has the world that it has without us; what cannot be run is refused in a line."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import pytest
from running.running_support import PROBE, both, ran

from collapse_probe.errors import InputError
from collapse_probe.running import find_program

WORLD = """
import atexit, multiprocessing, os, pickle, sys, threading
class Mine: pass
def work(n): return n + 1
if __name__ == "__main__":
    atexit.register(lambda: print("at exit", Mine.__module__))
    print(sys.argv, __file__, __name__, __package__, __spec__, sys.path[0], os.getcwd(), sys.stdin.read())
    print(sorted(name for name in os.environ if name.startswith("OMP")))
    print([name for name in ("torch", "numpy", "rich") if name in sys.modules])
    print(type(pickle.loads(pickle.dumps(Mine()))).__name__, sys.modules["__main__"].Mine is Mine)
    for kind in ("spawn", "fork"):
        with multiprocessing.get_context(kind).Pool(1) as pool:
            print(pool.map(work, [1, 2]))
    child = os.fork()
    if not child:
        sys.exit(0)
    print(os.waitpid(child, 0)[1])
    threading.Timer(0.2, print, ["a thread that goes on"]).start()
"""


def test_it_has_the_world_that_it_has_without_us(tmp_path):
    (tmp_path / "click.py").write_text("1/0  # is imported by nobody")
    plain, watched = both(tmp_path, WORLD, "--query", "x", "--", "-m", input="typed")
    assert watched.stdout == plain.stdout and "typed" in plain.stdout and "at exit" in plain.stdout
    assert watched.returncode == 0 and watched.stderr.count("\n") == 1, watched.stderr


def test_a_module_is_run_as_python_runs_it(tmp_path):
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py"):
        (package / name).write_text("")
    (package / "other.py").write_text("VALUE = 4")
    lines = [
        "import sys",
        "from ..other import VALUE",
        "print(VALUE, sys.argv, __spec__.name, __package__, sys.path[0])",
    ]
    (package / "inner" / "__main__.py").write_text("\n".join([*lines, "sys.exit(9)"]))
    plain = ran([sys.executable, "-m", "package.inner", "--help", "-m"], tmp_path)
    watched = ran([*PROBE, "-m", "package.inner", "--help", "-m"], tmp_path)
    assert (watched.returncode, watched.stdout) == (plain.returncode, plain.stdout) == (9, plain.stdout)
    assert "--help" in plain.stdout


def test_an_installed_command_is_run(tmp_path):
    watched = ran([*PROBE, "pygmentize", "-V"], tmp_path)
    assert watched.returncode == 0 and watched.stdout.startswith("Pygments")


WRONG = {
    "": "nothing to run: give a script",
    "trian.py": "trian.py: no such script, and no installed command; did you mean train.py?",
    "nowhere": "nowhere: no such script, and no installed command",
    ".": "has no __main__.py to run; give a script in it, or -m and a module",
    "archive.zip": "has no __main__.py to run",
    "notes.ipynb": "a notebook; make a script of it first: jupyter nbconvert --to script notes.ipynb",
    "-m package": "'package' is a package and cannot be directly executed",
    "-m nowhere.at.all": "no module 'nowhere.at.all'",
    "-m json.tol": "did you mean json.tool?",
    "-m train.py": "a script, no module's name; leave out -m",
    "-m a/b.py": "is no module's name",
    "--every 0 train.py": "0 is not in the range x>=1",
    "--epochs 1 train.py": "No such option '--epochs'",
    "--reference pair.jsonl train.py": "--reference: pair.jsonl: no such file or folder; did you mean pairs.jsonl?",
    "--reference pairs.jsonl train.py": "--reference: pairs.jsonl: empty; write one object a line",
    "--reference= train.py": "--reference: an empty path; give a file of pairs",
    "--probe embeding train.py": "--probe: unknown probe 'embeding': did you mean 'embedding'?",
    "--probe nowhere.toml train.py": "--probe: nowhere.toml: cannot be read",
    "--run train.py train.py": "is a file, where a folder is needed",
    "torchrun train.py": "let it start this command: torchrun ... -m collapse_probe run train.py",
}


@pytest.mark.parametrize("closed", [None, "closed"])
def test_a_program_from_standard_input_that_is_closed_is_refused_in_one_line(closed, monkeypatch):
    """Bug: a job without standard input was told of a fault of collapse-probe."""
    stream = None if closed is None else io.StringIO()
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(InputError, match=r"^-: standard input is closed; give a script"):
        find_program("-", [])
    assert find_program(__file__, []).name == "test_process"


def test_wrong_use_is_one_line_and_exits_2(tmp_path):
    (tmp_path / "train.py").write_text("print('ran')")
    (tmp_path / "notes.ipynb").write_text("{}")
    (tmp_path / "pairs.jsonl").touch()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as file:
        file.writestr("other.py", "")
    before = sorted(tmp_path.iterdir())
    script = (
        "import sys, subprocess\n"
        "from collapse_probe.cli import main\n"
        "for given in sys.argv[1:]:\n"
        "    child = __import__('os').fork()\n"
        "    if not child:\n"
        "        sys.argv = ['collapse-probe', 'run', *given.split()]\n"
        "        main()\n"
        "    print(__import__('os').waitstatus_to_exitcode(__import__('os').waitpid(child, 0)[1]), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *WRONG], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    said = done.stderr.splitlines()
    assert done.stdout.split() == ["2"] * len(WRONG), done.stderr
    for line, wanted in zip(said, WRONG.values(), strict=True):
        assert line.startswith("collapse-probe: ") and wanted in line, line
    assert sorted(tmp_path.iterdir()) == before
