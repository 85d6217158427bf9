"""The live page without a browser: what its Python makes of programs, and how it is put together."""

from __future__ import annotations

import inspect
import json
import pathlib
import subprocess
import tarfile
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.teaching import engine
from tinygrad_rnn.teaching.mutants import MUTANTS
from tools.site import live
from tools.site.live import session


def ran(program: str) -> Any:
    return json.loads(session.run(program))


@pytest.mark.parametrize("title", live.EXAMPLES)
def test_examples_run(title: str) -> None:
    found = ran(live.EXAMPLES[title])
    steps = [step for sweep in found["sweeps"] for step in sweep["steps"]]
    assert steps and not found["cut"] and not found["hidden"]
    if title == "Going back twice":
        assert found["error"]["line"] == 5 and "was gone before" in found["error"]["text"]
    else:
        assert found["error"] is None and found["output"]


def test_a_gradient_is_the_package_s_own() -> None:
    found = ran(live.EXAMPLES["A recurrent network"])
    w, h = tg.tensor(0.9, dtype=tg.float64, requires_grad=True), tg.tensor(0.0, dtype=tg.float64)
    for x in [1.0, 0.5, -1.0]:
        h = tg.tanh(w * h + x)
    h.backward()
    assert w.grad is not None and float(found["output"].split("=")[1]) == pytest.approx(w.grad.item(), rel=1e-14)


def test_every_line_of_the_sweep_is_noted_with_what_it_sees() -> None:
    found = ran("a = Value(3.0)\nb = mul(a, a)\ny = add(b, a)\nbackward(y)")
    a, b, y = found["values"]
    assert [v["names"] for v in found["values"]] == [["a"], ["b"], ["y"]]
    assert [v["line"] for v in found["values"]] == [1, 2, 3]
    assert [v["operation"] for v in found["values"]] == ["", "mul", "add"]
    assert (a["grad"], b["grad"], y["data"]) == ("7", None, "12")
    (sweep,) = found["sweeps"]
    lines, first = inspect.getsourcelines(engine.backward)
    text = {first + k: line.strip() for k, line in enumerate(lines)}
    adds = [s for s in sweep["steps"] if text.get(s["line"], "").startswith("totals[parent.index] = parent, plus(")]
    # to a, which has 1 of the sum, the product contributes 3 twice
    assert [(s["node"] == b["index"], s["parent"] == a["index"], s["contribution"]) for s in adds] == [
        (True, True, "3"),
        (True, True, "3"),
    ]
    assert [s["totals"][str(a["index"])] for s in adds] == ["1", "4"]
    assert sweep["steps"][-1]["grads"] == {str(a["index"]): "7"} and sweep["steps"][-1]["totals"] == {}


@pytest.mark.parametrize(
    ("program", "line", "text"),
    [
        ("a = Value(1.0\n", 1, "SyntaxError"),
        ("a = 1\nb = nothing", 2, "NameError: name 'nothing' is not defined"),
        ("def f():\n    return 1 / 0\n\nf()", 2, "ZeroDivisionError"),
        ("a = log(Value(-1.0))", 1, "ValueError"),
        ("backward(3)", 1, "AttributeError"),
    ],
)
def test_an_error_is_told_with_the_program_s_line(program: str, line: int, text: str) -> None:
    error = ran(program)["error"]
    assert error["line"] == line and text in error["text"] and "\n" not in error["text"]


def test_what_is_too_much_is_cut_and_said() -> None:
    found = ran("h = Value(1.0)\nfor _ in range(3000):\n    h = tanh(h)\nbackward(h)\nprint('x' * 100_000)")
    assert found["cut"] and len(found["sweeps"][0]["steps"]) <= session.STEPS
    assert found["hidden"] == 3001 - session.VALUES and len(found["output"]) <= session.OUTPUT + 4


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_smallest_program_unmasks_its_mutant(mutant: Any) -> None:
    found = json.loads(session.quiz(mutant.smallest))
    assert found["error"] is None
    assert not next(row for row in found["engines"] if row["name"] == mutant.name)["same"]


def test_a_program_that_all_get_right_unmasks_none() -> None:
    found = json.loads(session.quiz("a = Value(2.0)\nbackward(exp(a))"))
    assert all(row["same"] for row in found["engines"]) and found["honest"] == {"a": "7.3891"}
    assert "call backward" in json.loads(session.quiz("a = Value(2.0)"))["error"]["text"]


def test_the_engine_is_as_it_was_afterwards() -> None:
    before = engine.Value, engine.backward
    session.run("a = Value(1.0)\nbackward(tanh(a))\nraise SystemExit")
    session.run("a = (")
    assert (engine.Value, engine.backward) == before


# how it is put together ----------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A small archive in Pyodide's place, in the cache."""
    cache = tmp_path / "npm"
    cache.mkdir()
    path = cache / f"pyodide-{live.VERSION}.tgz"
    for name in (*live.PARTS, "README.md"):
        (tmp_path / name).write_text(f"this is {name}")
    with tarfile.open(path, "w:gz") as tar:
        for name in (*live.PARTS, "README.md"):
            tar.add(tmp_path / name, f"package/{name}")
    monkeypatch.setattr(live, "CACHE", cache)
    monkeypatch.setattr(live, "DIGEST", live._digest(path))
    return path


def test_the_page_has_the_package_s_files_and_all_parts(archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    page = live.build(tmp_path / "site")
    text = page.read_text()
    assert all(f'src="{part}.js"' in text and (page.parent / f"{part}.js").exists() for part in live.PARTS)
    assert "<!--" not in text and "totals: dict[int, tuple[Value, Data]]" in text
    known = json.loads((page.parent / "data.js").read_text().removeprefix("const LIVE = ").rstrip(";\n"))
    assert known["modules"]["tinygrad_rnn/teaching/engine.py"] == inspect.getsource(engine)
    assert known["examples"] == live.EXAMPLES


def test_without_npm_one_line_is_said(archive: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    archive.write_bytes(b"broken")  # what is in the cache is looked at

    def no_npm(*a: Any, **k: Any) -> Any:
        raise FileNotFoundError("npm")

    monkeypatch.setattr(subprocess, "run", no_npm)
    with pytest.raises(live.Unavailable, match="npm is not installed"):
        live.build(tmp_path / "site")

    def offline(command: Any, **k: Any) -> Any:
        raise subprocess.CalledProcessError(1, command, "", "npm error\nnpm error network getaddrinfo ENOTFOUND\n")

    monkeypatch.setattr(subprocess, "run", offline)
    with pytest.raises(live.Unavailable, match="cannot fetch pyodide .*ENOTFOUND"):
        live.build(tmp_path / "site")

    def other(command: Any, **k: Any) -> Any:
        (pathlib.Path(command[-1]) / "pyodide.tgz").write_bytes(b"another one")

    monkeypatch.setattr(subprocess, "run", other)
    with pytest.raises(live.Unavailable, match="is not what it was"):
        live.build(tmp_path / "site")
