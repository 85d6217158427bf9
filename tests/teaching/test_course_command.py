"""``tinygrad-rnn course``: the learner's folder, what is said, what is kept, and how it ends."""

from __future__ import annotations

import inspect
import json
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.markdown import ROOT
from tests.support.notebooks import WITHOUT
from tinygrad_rnn.teaching.course.catalogue import UNITS, exercises, find
from tinygrad_rnn.teaching.course.exercise import UNWRITTEN
from tinygrad_rnn.teaching.course.folder import PROGRESS, files_of
from tinygrad_rnn.train.cli import main

RIGHT = "y = np.tanh(x)\n    return g * (1 - y * y)"
WRONG = "return 1 - np.tanh(x) ** 2"


@pytest.fixture
def course(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pathlib.Path:
    """A folder with the course in it, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    assert main(["course", "start"]) == 0
    capsys.readouterr()
    return tmp_path / "course"


def write(course: pathlib.Path, body: str, name: str = "tanh") -> pathlib.Path:
    """Fill in an exercise."""
    path, _ = files_of(find(name), course)
    path.write_text(path.read_text().replace(UNWRITTEN, body))
    return path


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    """What a command prints, which ends with this status."""
    assert main(["course", *words]) == status
    printed = capsys.readouterr()
    assert not printed.err
    return printed.out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that is said to bad input."""
    assert main(["course", *words]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err.count("\n") == 1, printed
    return printed.err


def progress(course: pathlib.Path, name: str = "tanh") -> Any:
    """What is kept of an exercise."""
    return json.loads((course / PROGRESS).read_text())["exercises"].get(name)


def test_thirty_exercises_in_six_units() -> None:
    assert [e.number for e in exercises()] == [*range(1, 31)]
    assert [e.unit for e in exercises()] == sorted(e.unit for e in exercises())
    assert {e.unit for e in exercises()} == {unit.number for unit in UNITS} == {*range(1, 7)}


def test_the_page_lists_them() -> None:
    rows = re.findall(r"^\| (\d+) \| `([\w-]+)` \| (.*) \|$", (ROOT / "docs" / "course.md").read_text(), re.MULTILINE)
    assert rows == [(str(e.number), e.name, e.title) for e in exercises()]


def test_start_writes_a_script_and_a_notebook_each(course: pathlib.Path) -> None:
    assert len([*course.glob("?-*")]) == 6
    for exercise in exercises():
        script, notebook = files_of(exercise, course)
        text = script.read_text()
        compile(text, str(script), "exec")
        assert f"course check {exercise.name}" in text and f"def {exercise.function}(" in text
        body = inspect.getsource(exercise.solution).split('"""')[-1].strip()
        assert body not in text and body not in json.loads(notebook.read_text())["cells"][1]["source"]
        assert max(map(len, text.splitlines())) <= 120


def test_notebooks_are_valid(course: pathlib.Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason=WITHOUT)
    for exercise in exercises():
        nbformat.validate(nbformat.read(files_of(exercise, course)[1], as_version=4))


def test_a_notebook_is_filled_in_and_checks_itself(course: pathlib.Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason=WITHOUT)
    nbclient = pytest.importorskip("nbclient", reason=WITHOUT)
    _, path = files_of(find("tanh"), course)
    for body, finding in [(WRONG, "not yet, the cotangent is missing."), (RIGHT, "right, all 9 cases agree.")]:
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[1].source = notebook.cells[1].source.replace(UNWRITTEN, body)
        client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}})
        client.execute()
        (output,) = notebook.cells[3].outputs
        assert finding in output.data["text/plain"] and finding in output.data["text/html"]
    assert progress(course)["tries"] == 2 and progress(course)["passed"]


def test_start_again_writes_what_is_missing_and_nothing_else(
    course: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, lost = write(course, RIGHT), files_of(find("relu"), course)[0]
    kept = mine.read_text()
    lost.unlink()
    assert "1 files written into course, 59 were there and are as they were" in said(capsys, "start")
    assert mine.read_text() == kept and lost.exists()


def test_start_takes_no_folder_with_something_else(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = course.parent / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("mine")
    assert "thesis holds something else" in refused(capsys, "start", "thesis")
    assert "is a file" in refused(capsys, "start", str(other / "chapter.tex"))
    assert "takes one folder" in refused(capsys, "start", "a", "b")
    assert [p.name for p in other.iterdir()] == ["chapter.tex"]


def test_the_way_of_a_learner(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "check").startswith("Nothing is begun yet. Next: 1, chain-rule, in course/1-")
    path = write(course, WRONG)
    text = said(capsys, "check", "tanh", status=1)
    assert "tanh: not yet, the cotangent is missing." in text and "3 hints left" in text and "worst at dx[0]" in text
    assert progress(course)["tries"] == 1 and not progress(course)["passed"]
    assert said(capsys, "hint", "tanh").count("\n") == 2
    assert said(capsys, "hint", "tanh").count("\n") == 3
    assert "2" in next(line for line in said(capsys, "status").splitlines() if " tanh " in line)
    path.write_text(path.read_text().replace(WRONG, RIGHT))
    assert "tanh: right, all 9 cases agree." in said(capsys, "check", "3")
    assert progress(course)["tries"] == 2 and progress(course)["passed"]
    assert "1 of 30 are right" in said(capsys, "status")
    write(course, "return 0 * x", "relu")
    text = said(capsys, "check", status=1)  # all that is begun
    assert "1 of 2 are right." in text and "chain-rule" in text.splitlines()[-1]


def test_three_hints_and_no_more(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        said(capsys, "hint", "gru-bptt")
    last = said(capsys, "hint", "22")
    assert last.startswith("gru-bptt, 3 of 3 hints") and progress(course, "gru-bptt")["hints"] == 3
    write(course, "return gs", "gru-bptt")
    assert "no hints left" in said(capsys, "check", "gru-bptt", status=1)


def test_a_hint_without_a_name_is_for_the_next_one(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "hint").startswith("chain-rule, 1 of 3")


def test_it_is_found_from_inside_and_by_a_file(
    course: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(course, RIGHT)
    monkeypatch.chdir(path.parent)
    assert "right" in said(capsys, "check", path.name)
    copy = course.parent / path.name
    copy.write_text(path.read_text())
    monkeypatch.chdir(course.parent)
    assert "right" in said(capsys, "check", str(copy), "--folder", "course")


def test_all_of_them_right(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    for exercise in exercises():
        path, _ = files_of(exercise, course)
        source = inspect.getmodule(exercise.solution)
        assert source is not None
        package = source.__name__
        path.write_text(f"from {package} import {exercise.function} as found\n\n{exercise.function} = found.solution\n")
    text = said(capsys, "check")
    assert "30 of 30 are right. That was all of them" in text
    assert "30 of 30 are right" in said(capsys, "status")


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("return (", "is no Python: '(' was never closed in line"),
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return undefined", "name 'undefined' is not defined"),
        ("x += 1; return x", "writes into its argument"),
        ("pass", "it returns None: return dx"),
        ("import sys; sys.setrecursionlimit(90); return tanh_vjp(g, x)", "RecursionError"),
    ],
)
def test_what_is_broken_is_a_finding_and_no_traceback(
    course: pathlib.Path, capsys: pytest.CaptureFixture[str], body: str, finding: str
) -> None:
    before = sys.getrecursionlimit()
    try:
        write(course, body)
        text = said(capsys, "check", "tanh", status=1)
    finally:
        sys.setrecursionlimit(before)
    assert finding in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("import nowhere\n", "raised ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "ended the program by itself"),
        ("tanh = 3\n", "there is no function tanh_vjp in"),
        ("tanh_vjp = 3\n", "there is no function tanh_vjp in"),
        ("\0", "is no Python"),
    ],
)
def test_what_is_no_answer(course: pathlib.Path, capsys: pytest.CaptureFixture[str], text: str, finding: str) -> None:
    files_of(find("tanh"), course)[0].write_text(text)
    assert finding in said(capsys, "check", "tanh", status=1)


def test_a_file_of_other_bytes(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = files_of(find("tanh"), course)
    path.write_bytes(b"\xff\xfe\x00")
    assert "is no Python" in said(capsys, "check", "tanh", status=1)
    assert "is no Python" in said(capsys, "check", status=1)


def test_bad_words_get_one_line(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is it 'tanh'?" in refused(capsys, "check", "tahn")
    assert "there is no exercise '31'" in refused(capsys, "hint", "31")
    assert "takes no names" in refused(capsys, "status", "tanh")
    assert "there is no file lost.py" in refused(capsys, "check", "lost.py")
    assert "is a notebook: its last cell checks it" in refused(capsys, "check", "03-tanh.ipynb")
    assert "takes one name" in refused(capsys, "hint", "tanh", "relu")
    files_of(find("tanh"), course)[0].unlink()
    assert "writes it again" in refused(capsys, "check", "tanh")


def test_no_course_here(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tinygrad-rnn course start" in refused(capsys)
    assert "is no folder of the course" in refused(capsys, "check", "--folder", "elsewhere")


def test_progress_that_is_damaged_loses_no_answer(course: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(course, RIGHT)
    for text in ("{", "[]", '{"version": 1}', '{"version": 1, "exercises": [3]}', '{"version": "?", "exercises": {}}'):
        (course / PROGRESS).write_text(text)
        assert "is damaged" in refused(capsys, "check", "tanh"), text
    (course / PROGRESS).write_text('{"version": 99, "exercises": {}}')
    assert "of a newer version" in refused(capsys, "status")
    (course / PROGRESS).unlink()
    said(capsys, "start")
    assert RIGHT in path.read_text() and "right" in said(capsys, "check", "tanh")


def test_a_check_in_a_program_keeps_the_progress_where_there_is_a_course(
    course: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(course)
    assert not tg.teaching.check("tanh", lambda g, x: 1 - np.tanh(x) ** 2)
    assert progress(course)["said"] == "the cotangent is missing"
    monkeypatch.chdir(course.parent)
    assert tg.teaching.check(3, lambda g, x: g * (1 - np.tanh(x) ** 2))  # beside the course: nothing is kept
    assert progress(course)["tries"] == 1
    with pytest.raises(TypeError, match="an answer is a function, tanh_vjp; got int"):
        tg.teaching.check("tanh", 3)  # type: ignore[arg-type]


def test_ctrl_c_ends_an_endless_answer(course: pathlib.Path) -> None:
    path = write(course, "print('begun', flush=True)\n    while True: pass")
    command = [sys.executable, "-m", "tinygrad_rnn", "course", "check", "tanh"]
    with subprocess.Popen(
        command, cwd=course.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors and "interrupted" in errors
    assert "while True" in path.read_text() and progress(course) is None
