"""The picture in text: bars are the norms, lines fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.taped_programs import PROGRAMS, Program, epochs, packed, sweep_that_fails, tanh_rnn, taped, underflow
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.tape.observe.tape import Tape

BARS = "▁▂▃▄▅▆▇█"


def line_of(text: str, label: str) -> str:
    """What stands behind a label, in the first line that begins with it."""
    line = next(line for line in text.split("\n") if line.strip().startswith(label + "  "))
    return line.strip()[len(label) :].strip()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("width", [40, 100, 173])
def test_lines_fit(program: Program, width: int) -> None:
    text = taped(program).tree(width)
    head = text.split("\n")[0]
    assert head.startswith(f"{len(taped(program)):,} record")
    assert all(len(line) <= width and line == line.rstrip() for line in text.split("\n")), text


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_tape_that_was_read_from_json_has_the_same_text(program: Program) -> None:
    tape = taped(program)
    assert Tape.from_json(tape.to_json()).tree() == tape.tree()


def test_bars_are_as_high_as_the_logarithms_of_the_norms() -> None:
    tape = taped(tanh_rnn)
    bars = line_of(tape.tree(), "h = tanh(a)")
    assert len(bars) == 30 and set(bars) <= set(BARS)
    norms = {step.record.number: float(np.linalg.norm(step.cotangent)) for step in tape.steps if step.record}
    logs = [math.log10(norms[3 + 4 * t]) for t in range(30)]
    for a in range(30):
        for b in range(30):
            if logs[a] > logs[b]:
                assert BARS.index(bars[a]) >= BARS.index(bars[b])
    assert max(bars) != min(bars)


def test_shares_stand_below_the_loop() -> None:
    tape = taped(tanh_rnn)
    lines = tape.tree().split("\n")
    at = next(k for k, line in enumerate(lines) if line.strip().startswith("W.grad"))
    total = float(np.linalg.norm(tape.shares("W").total().astype(np.float64)))
    assert "30 shares" in lines[at + 1] and f"the sum {total:.4g}" in lines[at + 1]


def test_backwards_loops_are_written_by_time() -> None:
    tape = taped(packed)
    text = tape.tree()
    assert "lstm, layer 0, backwards, t = 0 to 4" in text
    norms = {}
    for step in tape.steps:
        if step.record and step.record.direction == 1 and step.record.layer == 0 and step.record.variable == "g":
            norms[step.record.time] = float(np.linalg.norm(step.cotangent))
    block = text.split("lstm, layer 0, backwards")[1]
    bars = line_of(block, 'g = tanh(a["g"])')
    order = sorted(range(5), key=lambda t: norms[t])
    heights = [BARS.index(bars[t]) for t in order]
    assert heights == sorted(heights)


def test_what_is_no_number_has_a_sign_of_its_own() -> None:
    text = taped(underflow).tree()
    assert "0 exactly zero" in text and "~ below the smallest normal number" in text
    bars = line_of(text, "a = cast(·)")
    assert bars.startswith("0") and "~" in bars and bars[-1] == BARS[-1]


def test_several_time_steps_share_a_character_where_there_is_no_room() -> None:
    w, h = tg.tensor(0.9, requires_grad=True), tg.tensor(1.0)
    with tg.Tape() as tape:
        for _ in range(1000):
            h = tg.tanh(w * h)
        h.backward()
    text = tape.tree(80)
    assert "steps a character" in text and all(len(line) <= 80 for line in text.split("\n"))
    assert len(text) < 2000


def test_the_sweep_that_is_asked_for_is_shown() -> None:
    tape = taped(epochs)
    assert line_of(tape.tree(sweep=0), "h * h").startswith("█") and line_of(tape.tree(), "h * h").endswith("█")
    assert tape.tree().count("no gradient came here") == 3  # two loops, and in the legend


def test_an_error_is_told() -> None:
    assert "ended by ValueError" in taped(sweep_that_fails).tree()


@pytest.mark.parametrize("width", [39, 0, -1, "80", True, 80.0])
def test_widths_are_checked(width: Any) -> None:
    with pytest.raises(ArgumentError, match="width must be"):
        taped(tanh_rnn).tree(width)


def test_an_empty_tape_has_a_line() -> None:
    with tg.Tape() as tape:
        pass
    assert tape.tree() == "0 records"
