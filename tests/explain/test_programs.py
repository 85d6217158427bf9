"""Programs in the manner of PyTorch's tutorials: a page for each, and the gradients that they have without it."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.clients.running import HERE
from tests.explain.processes import Ran, python
from tinygrad_rnn.errors import GraphError
from tinygrad_rnn.tape.observe.records import is_whole

PROGRAMS = sorted(HERE.glob("programs/*.py"))
NOTING = pathlib.Path(__file__).with_name("noting.py")


def noted(folder: pathlib.Path, *words: object) -> tuple[Ran, dict[str, Any]]:
    """What a program printed, and its gradients."""
    folder.mkdir()
    first = ["plain"] if not words[:-1] else []
    ran = python(folder, NOTING, *first, folder, *words)
    assert ran.status == 0, ran.errors[-3000:]
    with np.load(folder / "gradients.npz") as found:
        return ran, dict(found)


def check(program: pathlib.Path, folder: pathlib.Path, number: int | None) -> None:
    """A page of one call; all gradients are those of the program alone, and the tape's those of that call."""
    plain, without = noted(folder / "plain", program)
    call = () if number is None else ("--call", number, "--values", "all")
    ran, found = noted(folder / "explained", *call, HERE / "alias.py", program)
    assert ran.output == plain.output and ran.others == plain.errors.rstrip("\n")
    assert without.keys() == found.keys() and sum(g.size for g in found.values()) > 100
    for name, g in without.items():
        assert g.dtype == found[name].dtype and g.tobytes() == found[name].tobytes(), name
    page = folder / "explained" / "page.html"
    shown = found["count"] if number is None else number
    assert ran.said[0].startswith(f"{page}: backward pass {shown} of {found['count']}, ")
    assert "<title" in page.read_text(encoding="utf-8")
    tape = tg.Tape.from_json((folder / "explained" / "tape.json").read_text(encoding="utf-8"))
    assert compared(tape, found, "last" if number is None else str(number)) >= 3


def compared(tape: tg.Tape, found: dict[str, Any], call: str) -> int:
    """How many leaves of a tape have the gradient that a parameter got in that call; fails if one has not."""
    gained = []
    for name, after in found.items():
        if name.startswith(f"after/{call}/") and after.size:
            before = found[name.replace("after", "before")]
            gained.append(after - before if before.size else after)
    count = 0
    for leaf in tape.leaves:
        try:
            total = tape.shares(leaf.name).total()
        except GraphError:  # the sweep did not come to it
            continue
        except TypeError:  # a sum of summaries
            assert leaf.values[0].shape == leaf.shape and not is_whole(leaf.values[0])
            continue
        same = [g for g in gained if g.shape == total.shape and np.allclose(g, total, rtol=1e-4, atol=1e-7)]
        assert same, leaf
        count += bool(np.abs(total).max() > 0)
    return count


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_page_of_a_program_and_its_gradients(program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    check(program, tmp_path, 3)


def test_of_the_last_call(tmp_path: pathlib.Path) -> None:
    check(HERE / "programs" / "sine_lbfgs.py", tmp_path, None)


@pytest.mark.thorough
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_of_the_last_call_of_all(program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    check(program, tmp_path, None)


def test_there_are_seven_programs() -> None:
    assert len(PROGRAMS) == 7
