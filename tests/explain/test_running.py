"""A script under explain does what it does under Python: arguments, paths, streams, exit status, tracebacks."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import zipapp

import pytest

from tests.explain.processes import Ran, explain, python, start
from tinygrad_rnn.train.cli import main

WORK = """
import tinygrad_rnn as tg
w = tg.tensor([1.0, -2.0], requires_grad=True)
(w * w).sum().backward()
print(w.grad.tolist())
"""

SHOWS = (
    WORK
    + """
import os, sys
def where(path): return os.path.realpath(path)
main = sys.modules["__main__"]
print(sys.argv, where(sys.path[0]), __name__, __file__, __doc__, __spec__ is None, __package__, os.getcwd())
print(main.__dict__ is globals(), type(__builtins__).__name__, __loader__ is not None, __cached__)
print(sorted(name for name in globals() if not name.startswith("__")))
print(sys.stdin.readline().upper(), end="")
print("to the error stream", file=sys.stderr)
import neighbour
"""
)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "script.py").write_text('"""Its doc."""\n' + SHOWS)
    (tmp_path / "inside" / "neighbour.py").write_text("print('here is', __name__)")
    return tmp_path


def same(folder: pathlib.Path, *words: object, ours: tuple[str, ...] = (), given: str = "") -> tuple[Ran, Ran]:
    """Run it both ways, and compare all but what we say."""
    plain = python(folder, *words, given=given)
    shown = explain(folder, *ours, *words, given=given)
    assert (shown.status, shown.output, shown.others) == (plain.status, plain.output, plain.errors.rstrip("\n"))
    return plain, shown


def test_a_script_finds_what_python_gives_it(folder: pathlib.Path) -> None:
    plain, shown = same(folder, "inside/script.py", "--epochs", "2", "-v", "--", "x", given="hello\n")
    assert plain.output.splitlines()[-2:] == ["HELLO", "here is neighbour"]
    assert shown.said == [f"{folder / 'script.tape.html'}: backward pass 1 of 1, 2 records"]


def test_a_link_to_a_script(folder: pathlib.Path) -> None:
    (folder / "link.py").symlink_to(folder / "inside" / "script.py")
    same(folder, "link.py", given="hello\n")


def test_a_module_of_a_package(folder: pathlib.Path) -> None:
    (folder / "inside" / "__init__.py").touch()
    (folder / "inside" / "__main__.py").write_text("from . import part\nimport sys\nprint(sys.argv, sys.path[0])")
    (folder / "inside" / "part.py").write_text(WORK + "import sys\nprint(__name__, __package__, sys.argv[1:])")
    plain, shown = same(folder, "-m", "inside", "--out", "x", ours=("--out=page.html", "--"))
    assert "inside.part inside ['--out', 'x']" in plain.output
    assert shown.said == [f"{folder / 'page.html'}: backward pass 1 of 1, 2 records"]
    same(folder, "-m", "inside.part", "a", "b")


def test_a_folder_an_archive_and_a_compiled_file(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "neighbour.py").write_text("")
    (source / "__main__.py").write_text(WORK + "import sys, neighbour\nprint(__name__, sys.argv, len(sys.path))")
    zipapp.create_archive(source, tmp_path / "app.pyz", interpreter="/usr/bin/env python3")
    python(tmp_path, "-c", "import py_compile; py_compile.compile('source/__main__.py', 'compiled.pyc')")
    for name in ("source", "app.pyz", "compiled.pyc"):
        if name == "compiled.pyc":
            (tmp_path / "neighbour.py").touch()
        plain, shown = same(tmp_path, name, "x")
        assert plain.status == 0 and shown.said, (name, plain.errors)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit()", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(3)", 3),
        ("sys.exit(-1)", 255),
        ("sys.exit('a reason')", 1),
        ("raise SystemExit(True)", 1),
        ("def f(): raise ValueError('bad <value>')\nf()", 1),
        ("w @ tg.ones(3, 3)", 1),
        ("raise tg.errors.UsageError('of the script')", 1),
        ("raise KeyboardInterrupt", 130),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('second') from e", 1),
        ("sys.excepthook = lambda *what: print('my hook', what[0].__name__, what[2].tb_lineno)\n1 / 0", 1),
        ("import atexit\natexit.register(lambda: print('at exit', sys.argv[0]))\nsys.exit(4)", 4),
        ("import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()", 0),
    ],
)
def test_it_ends_as_it_ends_under_python(tmp_path: pathlib.Path, end: str, status: int) -> None:
    (tmp_path / "script.py").write_text(f"{WORK}\nimport sys\n{end}\nprint('after')\n")
    if "KeyboardInterrupt" in end:  # Python ends itself by the signal, which a shell shows as 130
        plain, shown = python(tmp_path, "script.py"), explain(tmp_path, "script.py")
        assert plain.status in (-signal.SIGINT, 130) and shown.status == 130
        assert (shown.output, shown.others) == (plain.output, plain.errors.rstrip("\n"))
    else:
        _, shown = same(tmp_path, "script.py")
        assert shown.status == status
    stopped = shown.said[0].rpartition("stopped by ")[2]
    assert ("stopped" in shown.said[0]) == (status != 0), shown.said
    assert (tmp_path / "script.tape.html").exists()
    if status not in (0, 130):
        assert stopped in ("SystemExit", "ValueError", "ShapeRuntimeError", "UsageError", "RuntimeError", *KINDS)


KINDS = ("ZeroDivisionError",)


def test_a_script_that_is_no_python(tmp_path: pathlib.Path) -> None:
    (tmp_path / "script.py").write_text("x = 1\ny = = 2\n")
    _, shown = same(tmp_path, "script.py")
    assert shown.status == 1 and shown.said == [
        "no page: script.py recorded nothing: no tensor that requires grad was used in its main thread"
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_gives_the_page_up_to_there(tmp_path: pathlib.Path) -> None:
    script = f"{WORK}\ny = tg.tanh(w)\nprint('ready', flush=True)\nimport time\ntime.sleep(60)\n"
    (tmp_path / "script.py").write_text(script)
    process = start(["-m", "tinygrad_rnn", "explain", "script.py"], tmp_path)
    assert process.stdout is not None
    while "ready" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "KeyboardInterrupt" in errors and "script.py" in errors  # asleep, or on the way there
    assert "1 record after backward pass 1, stopped by KeyboardInterrupt" in errors
    assert (tmp_path / "script.tape.html").exists()


def test_options_may_follow_the_script(tmp_path: pathlib.Path) -> None:
    (tmp_path / "script.py").write_text(WORK + "import sys\nprint(sys.argv[1:])")
    for words, theirs, page in (
        (("script.py", "a", "--out", "p.html", "--lr", "1"), ["a", "--lr", "1"], "p.html"),
        (("--out=p.html", "script.py", "--call=1", "b"), ["b"], "p.html"),
        (("script.py", "--", "--out", "weights"), ["--", "--out", "weights"], "script.tape.html"),
        (("--call", "1", "--", "script.py", "--out", "c"), ["--out", "c"], "script.tape.html"),
    ):
        ran = explain(tmp_path, *words)
        assert ran.status == 0 and ran.output.splitlines()[-1] == str(theirs), ran
        assert (tmp_path / page).exists()
        (tmp_path / page).unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a script is required"),
        (("--call", "2"), "a script is required"),
        (("-m",), "a script is required"),
        (("none.py",), "cannot read the script: No such file or directory: none.py"),
        (("empty",), "empty is a folder without __main__.py"),
        (("-m", "no.such"), "-m no.such: no such module, or a package without __main__"),
        (("-m", "no_such"), "-m no_such: no such module"),
        (("-m", "empty"), "-m empty: no such module, or a package without __main__"),
        (("-m", ".relative"), "-m .relative: no such module"),
        (("script.py", "--out", "none/page.html"), "--out: no such folder: "),
        (("script.py", "--out", "empty"), "empty is a folder"),
        (("script.py", "--call", "0"), "argument --call: expected a number from 1 on, or `all`, got '0'"),
        (("script.py", "--call", "-1"), "argument --call: expected a number from 1 on"),
        (("script.py", "--call=last"), "argument --call: expected a number from 1 on"),
        (("script.py", "--values", "some"), "argument --values: expected `all`, `shapes` or a number of entries"),
        (("--no-such", "script.py"), "unrecognized arguments: --no-such"),
        (("--cal", "2", "script.py"), "unrecognized arguments: --cal"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "script.py").write_text("print('it ran')")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    assert main(["explain", *words]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1
    assert errors.startswith("tinygrad-rnn: error: ") and said in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "script.py"]


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("pass", (), "script.py recorded nothing: no tensor that requires grad was used in its main thread"),
        ("import tinygrad_rnn as tg\ntg.ones(2) * 2", (), "script.py recorded nothing"),
        (WORK, ("--call", "2"), "--call 2: script.py called backward or grad once"),
        (WORK * 2, ("--call", "3"), "--call 3: script.py called backward or grad 2 times"),
        (WORK.replace(".backward()", ""), ("--call", "1"), "--call 1: script.py called backward or grad never"),
    ],
)
def test_a_run_without_what_was_wanted(tmp_path: pathlib.Path, script: str, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "script.py").write_text(script.replace("print(w.grad.tolist())", ""))
    ran = explain(tmp_path, "script.py", *words)
    assert ran.status == 2 and ran.output == ""
    assert ran.errors.startswith(f"tinygrad-rnn: error: {said}") and ran.errors.count("\n") == 1
    assert not (tmp_path / "script.tape.html").exists()


def test_as_text_it_needs_no_page(tmp_path: pathlib.Path) -> None:
    loop = WORK.replace("(w * w).sum()", "h = w\nfor t in range(4):\n    h = tg.tanh(w * h)\nh.sum()")
    (tmp_path / "script.py").write_text(loop + "print('the end')\n")
    ran = explain(tmp_path, "script.py", "--text", "--values", "all")
    assert ran.status == 0 and ran.errors == "" and sorted(os.listdir(tmp_path)) == ["script.py"]
    before, _, after = ran.output.partition("the end\n")
    assert before.count("\n") == 1 and after.startswith("9 records, sweep 0 (backward) of 10 steps")
    assert "h = tanh(·)" in after and "w.grad (float32[2]) is the sum of 5 shares" in after
    ran = explain(
        tmp_path, "script.py", "--text", "--out", "page.html", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert ran.status == 0 and "\\u2581" in ran.output and (tmp_path / "page.html").exists()


def test_the_whole_run_on_one_page(tmp_path: pathlib.Path) -> None:
    (tmp_path / "script.py").write_text("import tinygrad_rnn as tg\n" + WORK.split("\n", 2)[2] * 3)
    ran = explain(tmp_path, "script.py", "--call", "all")
    assert ran.said == [f"{tmp_path / 'script.tape.html'}: all 3 backward passes, 6 records"]


def test_what_a_script_breaks_does_not_break_the_page(tmp_path: pathlib.Path) -> None:
    """Names of the standard library in its folder, warnings as errors, closed streams, another folder."""
    (tmp_path / "inside").mkdir()
    for name in ("json", "base64", "zlib", "html", "textwrap", "webbrowser"):
        (tmp_path / "inside" / f"{name}.py").write_text("raise ImportError('of the script folder')")
    (tmp_path / "inside" / "script.py").write_text(
        WORK + "import os, sys, warnings\nwarnings.simplefilter('error')\nos.chdir('/')\nsys.path.clear()\n"
        "sys.argv.clear()\ntg.set_grad_enabled(False)\ntg.set_default_dtype(tg.float64)\n"
        "import numpy as np\nnp.seterr(all='raise')\nsys.stdout.close()\n"
    )
    ran = explain(tmp_path, "inside/script.py")
    assert ran.status == 0 and ran.said == [f"{tmp_path / 'script.tape.html'}: backward pass 1 of 1, 2 records"], ran
    assert (tmp_path / "script.tape.html").stat().st_size > 1000
