"""docs/architecture.md compared with the package: its layers, packages and answers, and the ways that it describes."""

from __future__ import annotations

import pathlib
import re

import pytest

import tinygrad_rnn as tg
from tests.support import markdown
from tests.support.visits import PACKAGE, visited
from tests.test_layering import LAYERS
from tinygrad_rnn.compat.backends.recurrent import only
from tinygrad_rnn.tape.observe.leaks import past

PAGE = (markdown.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (.*) \|$", re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [line.split(" | ") for line in ROW.findall(section)][1:]


def listed(walk: str) -> list[str]:
    """The files of a way, in its order."""
    section = PAGE.split(f"<!-- walk: {walk} -->\n", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)


# what is where -------------------------------------------------------------------------------------------------------


def test_layers_are_those_that_are_enforced() -> None:
    layers: dict[str, int] = {}
    for number, names, *_ in rows("Import layers"):
        layers |= dict.fromkeys(re.findall(r"`(\w+)`", names), int(number))
    assert layers == LAYERS


def test_every_folder_is_named() -> None:
    folders = {found.parent.relative_to(PACKAGE).as_posix() + "/" for found in PACKAGE.rglob("*/__init__.py")}
    assert folders - set(markdown.code_spans(PAGE)) == set()


def test_every_file_of_the_engine_is_named() -> None:
    files = {f"tape/{file.name}" for file in (PACKAGE / "tape").glob("*.py") if file.name != "__init__.py"}
    assert files - set(markdown.code_spans(PAGE)) == set()


def test_answers_are_in_the_files_that_the_page_gives() -> None:
    answers = [(file.strip("`"), name.strip("`")) for _, file, name in rows("Where is ...?")]
    assert len(answers) >= 10
    for file, name in answers:
        assert markdown.definition(PACKAGE / file, name)


# the ways ------------------------------------------------------------------------------------------------------------


def in_this_order(listed: list[str], visited: list[str]) -> bool:
    """Whether all files of the first are in the second, in this order."""
    rest = iter(visited)
    return len(listed) > 2 and all(file in rest for file in listed)


def loss() -> tg.Tensor:
    w = tg.tensor([0.5], requires_grad=True)
    return tg.tanh(w).sum()


def test_the_way_of_backward_is_all_files_that_it_runs_through() -> None:
    loss().backward()  # what is loaded when it is first used is loaded
    past.calls = 0  # one call of eight also looks for graphs that pile up
    assert list(visited(loss().backward)) == listed("backward")


def test_the_way_of_an_lstm_is_all_files_that_it_runs_through() -> None:
    layer, x = tg.nn.LSTM(3, 4), tg.zeros(5, 2, 3)
    with only("numpy"):
        layer(x)
        assert list(visited(lambda: layer(x))) == listed("lstm")


def test_the_ways_of_a_checkpoint(tmp_path: pathlib.Path) -> None:
    model, path = tg.nn.Linear(2, 2), tmp_path / "checkpoint"
    tg.save(model.state_dict(), path)
    assert in_this_order(listed("save"), list(visited(lambda: tg.save(model.state_dict(), path))))
    assert in_this_order(listed("load"), list(visited(lambda: tg.load(path))))


def test_the_way_of_a_random_draw() -> None:
    layer, x = tg.nn.Dropout(0.5), tg.ones(3, requires_grad=True)
    layer(x)
    assert in_this_order(listed("dropout"), list(visited(lambda: layer(x))))


def test_an_order_that_is_not_that_of_the_call_is_found() -> None:
    assert in_this_order(["a", "c", "d"], ["a", "b", "c", "d"])
    assert not in_this_order(["a", "d", "c"], ["a", "b", "c", "d"])
    assert not in_this_order(["a", "c", "x"], ["a", "b", "c", "d"])


@pytest.mark.parametrize("walk", ["backward", "lstm", "save", "load", "dropout"])
def test_every_way_is_listed(walk: str) -> None:
    assert len(listed(walk)) >= 3
